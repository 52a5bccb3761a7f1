//! What a user agent counts against its sender.

use super::{Browser, Claim, Engine, Flaw, UserAgent};
use crate::{
    signal::{Evidence, Reason, Signal},
    weights,
};

/// Notes what the user agent declares and what is odd about it.
pub fn judge(agent: &UserAgent<'_>, note: &mut impl FnMut(Signal)) {
    if let Some((reason, weight)) = declared(agent) {
        let evidence = match agent.purpose {
            Some(purpose) => Evidence::Named(purpose.name(), agent.entry),
            None => Evidence::Text(agent.entry),
        };
        note(Signal::with_evidence(reason, weight, evidence));
    }
    if let Some(flaw) = agent.shape.flaw {
        let weight = match flaw {
            // A program that the catalogue knows is no less itself for a stray character.
            _ if matches!(agent.claim, Claim::Program(_)) => weights::UNBALANCED_NAME,
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
        Claim::DeclaredBot => {
            let reachable = agent.shape.contact && agent.purpose.is_none();
            let weight = if reachable {
                weights::REACHABLE_BOT
            } else {
                weights::DECLARED_BOT
            };
            Some((Reason::UserAgentDeclaredBot, weight))
        }
        Claim::HttpLibrary => Some((Reason::UserAgentHttpLibrary, weights::HTTP_LIBRARY)),
        Claim::Program(purpose) if purpose.walks() => Some((
            Reason::UserAgentUnverifiedCrawler,
            weights::UNVERIFIED_CRAWLER,
        )),
        Claim::Program(_) => Some((Reason::UserAgentKnownProgram, weights::KNOWN_PROGRAM)),
        Claim::Scanner => Some((Reason::UserAgentScanner, weights::SCANNER)),
        // A broken text that names nothing counts once, as broken. Who can be reached can be asked.
        Claim::Unknown if agent.shape.flaw.is_none() && !agent.shape.contact => {
            Some((Reason::UserAgentUnrecognised, weights::UNRECOGNISED))
        }
        Claim::Browser(browser) if is_outdated(browser) => {
            Some((Reason::UserAgentOutdatedBrowser, weights::OUTDATED))
        }
        // What namelessness counts depends on the other fields: `headers` has it.
        Claim::Browser(_) | Claim::Missing | Claim::TextBrowser | Claim::Unknown => None,
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
