//! The names that clients give themselves, by what such a client is.
//!
//! Derived from crawler-user-agents (monperrus, MIT), ai.robots.txt (ai-robots-txt, MIT) and the
//! projects' own documentation; sorted into our kinds by hand, ambiguous words left out.
//!
//! An entry is matched without regard to case and as a whole word: the characters beside it are
//! not letters or digits, unless the entry itself ends in another character. `^` binds it to the
//! start of the user agent, `$` to the end. Text in a contact address is an address
//! and no name, but for entries with `@`, which are addresses.

mod crawlers;
mod libraries;
mod programs;
mod services;
mod tokens;
mod words;

use super::{Claim, Purpose};

pub(super) use tokens::{BROWSER_TOKENS, Token};
pub(super) use words::NOT_BOTS;

/// Names that say the same of a client.
pub(super) struct List {
    pub(super) names: &'static [&'static str],
    pub(super) claim: Claim,
    pub(super) purpose: Option<Purpose>,
    /// Where in a text such a name counts.
    pub(super) position: NamePosition,
}

/// Where in a text a name counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamePosition {
    /// As a word, in whatever text.
    Anywhere,
    /// As a word, and not in the name of a browser: that would be an application around a page, or
    /// a part of the browser.
    OutsideBrowsers,
    /// At the end of a word. In the name of a browser only as a product of its own (`ExampleBot/1`)
    /// or where the browser says what it is compatible with.
    WordEnd,
    /// At the end of a word. In the name of a browser only where that says what it is compatible
    /// with.
    WordEndOutsideBrowsers,
}

const fn program(names: &'static [&'static str], purpose: Purpose) -> List {
    List {
        names,
        claim: purpose.claim(),
        purpose: Some(purpose),
        position: NamePosition::Anywhere,
    }
}

const fn outside_browsers(names: &'static [&'static str], purpose: Purpose) -> List {
    List {
        position: NamePosition::OutsideBrowsers,
        ..program(names, purpose)
    }
}

const fn kind(names: &'static [&'static str], claim: Claim, position: NamePosition) -> List {
    List {
        names,
        claim,
        purpose: None,
        position,
    }
}

/// All lists. Where a text carries several names the later list wins: a program is what it says
/// rather than what it is built with, a crawler that renders pages in a headless browser is the
/// crawler it says it is, and a bad name is believed before a good one.
pub(super) const LISTS: &[List] = &[
    kind(words::TOOL_WORDS, Claim::DeclaredBot, NamePosition::WordEndOutsideBrowsers),
    outside_browsers(programs::APP_STACKS, Purpose::App),
    kind(words::BOT_WORDS, Claim::DeclaredBot, NamePosition::WordEnd),
    outside_browsers(programs::APP_PLATFORMS, Purpose::App),
    outside_browsers(programs::DEVICES, Purpose::Device),
    outside_browsers(words::FEED_WORDS, Purpose::FeedReader),
    outside_browsers(words::PODCAST_WORDS, Purpose::Podcast),
    kind(libraries::HTTP_LIBRARIES, Claim::HttpLibrary, NamePosition::OutsideBrowsers),
    outside_browsers(programs::CALL_STACKS, Purpose::App),
    kind(libraries::AUTOMATION, Claim::Automation, NamePosition::Anywhere),
    kind(libraries::TEXT_BROWSERS, Claim::TextBrowser, NamePosition::Anywhere),
    outside_browsers(programs::HOME_AUTOMATION, Purpose::HomeAutomation),
    program(programs::MEDIA_PLAYERS, Purpose::MediaPlayer),
    outside_browsers(programs::PACKAGE_MANAGERS, Purpose::PackageManager),
    outside_browsers(programs::VERSION_CONTROL, Purpose::VersionControl),
    program(programs::SYNC, Purpose::Sync),
    program(programs::MAIL, Purpose::Mail),
    program(programs::OFFICE, Purpose::Office),
    program(programs::PODCASTS, Purpose::Podcast),
    program(programs::FEED_READERS, Purpose::FeedReader),
    outside_browsers(services::WEBHOOKS, Purpose::Webhook),
    program(services::DELIVERY, Purpose::Delivery),
    outside_browsers(services::FEDERATION, Purpose::Federation),
    program(services::SITE_CHECKS, Purpose::SiteCheck),
    program(services::MONITORS, Purpose::Monitor),
    program(services::LINK_PREVIEWS, Purpose::LinkPreview),
    program(crawlers::ARCHIVES, Purpose::Archive),
    program(crawlers::SEARCH_ENGINES, Purpose::SearchEngine),
    program(crawlers::MARKETING, Purpose::Marketing),
    program(crawlers::AI_TRAINING, Purpose::AiTraining),
    program(crawlers::AI_SEARCH, Purpose::AiSearch),
    program(crawlers::AI_ASSISTANTS, Purpose::AiAssistant),
    kind(crawlers::SCANNERS, Claim::Scanner, NamePosition::Anywhere),
];
