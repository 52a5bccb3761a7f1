//! What a user agent counts against its sender.

use super::{Browser, Claim, Engine, Flaw, UserAgent};
use crate::{
    signal::{Evidence, Reason, Signal},
    weights,
};

/// Notes what the user agent declares and what is odd about it.
pub fn judge(agent: &UserAgent<'_>, note: &mut impl FnMut(Signal)) {
    if let Some((reason, weight)) = declared(agent) {
        note(Signal::with_evidence(
            reason,
            weight,
            Evidence::Text(agent.entry),
        ));
    }
    if let Some(flaw) = agent.shape.flaw {
        let weight = match flaw {
            Flaw::Bare => weights::BARE_NAME,
            Flaw::Control | Flaw::Template => weights::BROKEN_NAME,
            Flaw::Unbalanced => weights::UNBALANCED_NAME,
        };
        let remark = Evidence::Text(flaw.remark());
        note(Signal::with_evidence(
            Reason::UserAgentMalformed,
            weight,
            remark,
        ));
    }
}

fn declared(agent: &UserAgent<'_>) -> Option<(Reason, f32)> {
    match agent.claim {
        Claim::AiCrawler => Some((Reason::UserAgentAiCrawler, weights::AI_CRAWLER)),
        Claim::Automation => Some((Reason::UserAgentAutomation, weights::AUTOMATION)),
        Claim::DeclaredBot => Some((Reason::UserAgentDeclaredBot, weights::DECLARED_BOT)),
        Claim::HttpLibrary => Some((Reason::UserAgentHttpLibrary, weights::HTTP_LIBRARY)),
        Claim::Missing => Some((Reason::UserAgentMissing, weights::NAMELESS)),
        Claim::Scanner => Some((Reason::UserAgentScanner, weights::SCANNER)),
        Claim::Program(purpose) if purpose.is_for_audience() => None,
        Claim::Program(purpose) => {
            let weight = if purpose.walks() {
                weights::UNVERIFIED_CRAWLER
            } else {
                weights::UNVERIFIED_FETCHER
            };
            Some((Reason::UserAgentUnverifiedCrawler, weight))
        }
        // A broken text that names nothing counts once, as broken.
        Claim::Unknown if agent.shape.flaw.is_none() => {
            Some((Reason::UserAgentUnrecognised, weights::UNRECOGNISED))
        }
        Claim::Browser(browser) if is_outdated(browser) => {
            Some((Reason::UserAgentOutdatedBrowser, weights::OUTDATED))
        }
        Claim::Browser(_) | Claim::TextBrowser | Claim::Unknown => None,
    }
}

/// Versions of 2020 and before: later ones are the last that run on systems still in use.
const fn is_outdated(browser: Browser) -> bool {
    let oldest_in_use = match browser.engine {
        Engine::Blink => 80,
        Engine::Gecko => 78,
        Engine::Retired => return true,
        Engine::WebKit => 13,
    };
    browser.engine_version != 0 && browser.engine_version < oldest_in_use
}
