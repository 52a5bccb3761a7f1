//! Everything that one request says of its client, judged without memory.

use crate::{
    headers::{self, fields::Fields},
    path,
    request::RequestView,
    robots,
    signal::{Reason, Signal},
    user_agent::{self, UserAgent},
};

/// Everything that [`judge`] may note.
pub const FINDINGS: &[Reason] = &[
    Reason::HeadersAcceptEncodingMissing,
    Reason::HeadersAcceptLanguageMissing,
    Reason::HeadersAcceptMissing,
    Reason::HeadersAcceptWildcard,
    Reason::HeadersClientHintMismatch,
    Reason::HeadersFetchMetadataMismatch,
    Reason::HeadersFetchMetadataMissing,
    Reason::HeadersRefererMissing,
    Reason::MethodUnusual,
    Reason::PathProbe,
    Reason::PathTraversal,
    Reason::RobotsDisallowed,
    Reason::UserAgentAiCrawler,
    Reason::UserAgentAutomation,
    Reason::UserAgentDeclaredBot,
    Reason::UserAgentHttpLibrary,
    Reason::UserAgentKnownProgram,
    Reason::UserAgentMalformed,
    Reason::UserAgentMissing,
    Reason::UserAgentOutdatedBrowser,
    Reason::UserAgentScanner,
    Reason::UserAgentUnrecognised,
    Reason::UserAgentUnverifiedCrawler,
];

/// Notes what is odd about a request. `/robots.txt` is never judged: a robot must be able to read
/// what binds it.
pub fn judge(view: &RequestView<'_>, note: &mut impl FnMut(Signal)) {
    if view.path == "/robots.txt" {
        return;
    }
    let fields = Fields::of(view.headers);
    let agent = UserAgent::parse_bytes(fields.user_agent.unwrap_or_default());
    user_agent::judge(&agent, note);
    headers::judge(view, &fields, &agent, note);
    path::judge(view, &agent, note);
    robots::judge(view, &agent, note);
}

#[cfg(test)]
mod tests;
