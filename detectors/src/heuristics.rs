//! Everything that one request says of its client, judged without memory.

mod robots;

use crate::{
    headers::{self, fields::Fields},
    path,
    request::RequestView,
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

/// Findings that are there only where a client that claims to be a browser sent what no browser
/// sends: what contradicts the claim, and not what is merely missing. Privacy settings, extensions,
/// proxies and old machines take fields away; none of them makes up fetch metadata that cannot be,
/// or asks for a page as `*/*`. Client hints that contradict the name are here too, although an
/// extension that changes the name forgets them: a model must have learned of those before it may
/// lean on this list.
pub const CONTRADICTIONS: &[Reason] = &[
    Reason::HeadersAcceptWildcard,
    Reason::HeadersClientHintMismatch,
    Reason::HeadersFetchMetadataMismatch,
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
