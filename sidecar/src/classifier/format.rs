//! What a classifier is sent, and what is understood of its answer.
//!
//! Ours, version 1. Everything is bounded as the contract of cases bounds it, some 30 KiB of common text at most:
//!
//! ```json
//! {"version": 1, "site": "shop", "subject": "192.0.2.7", "shape": "00000000000000ff",
//!  "requests": 12, "seconds": 34.5, "score": 0.6,
//!  "signals": [{"reason": "user_agent.http_library", "weight": 0.5}],
//!  "samples": [{"after_ms": 0, "method": "GET", "path": "/", "parameters": ["q"], "score": 0.6}],
//!  "claims": {"user_agent": "...", "accept_language": "...", "referer": "...",
//!             "header_names": ["host"], "http_version": 11, "tls": true}}
//! ```
//!
//! The answer is `{"score": 0.9, "reason": "..."}`: 0 is a person, 1 a bot, the reason may be left out,
//! and what else stands there is ignored. Anything else is a failure, a score out of range too.
//!
//! The predecessor's: `{"ipAddress", "userAgent", "referer", "requestPath", "headers"}` of the last
//! request, answered with `{"is_bot": true}`. Gateways do not send values of header fields, so that
//! `headers` holds those two that they do send, and the names of the others with empty values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    asking::{Failure, shown},
    case::Case,
    facts::Facts,
};

/// The version that is sent.
const VERSION: u32 = 1;

#[derive(Serialize)]
pub(super) struct Question<'a> {
    version: u32,
    #[serde(flatten)]
    facts: Facts<'a>,
}

impl<'a> Question<'a> {
    pub(super) fn of(case: &'a Case) -> Self {
        Self {
            version: VERSION,
            facts: Facts::of(case, case.subject),
        }
    }
}

/// One request, as the predecessor sent it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneRequest<'a> {
    ip_address: String,
    user_agent: &'a str,
    referer: &'a str,
    request_path: &'a str,
    headers: BTreeMap<String, &'a str>,
}

impl<'a> OneRequest<'a> {
    pub(super) fn of(case: &'a Case) -> Self {
        let claims = &case.claims;
        let value = |name: &str| match name {
            "user-agent" => claims.user_agent.as_str(),
            "accept-language" => claims.accept_language.as_str(),
            "referer" => claims.referer.as_str(),
            _ => "",
        };
        let names = claims.header_names.iter();
        let headers = names.map(|name| name.to_ascii_lowercase());
        Self {
            ip_address: case.subject.first().to_string(),
            user_agent: &claims.user_agent,
            referer: &claims.referer,
            request_path: case.samples.last().map_or("/", |sample| &sample.path),
            headers: headers.map(|name| (name.clone(), value(&name))).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Verdict {
    score: f32,
    #[serde(default)]
    reason: String,
}

/// What our own format answers.
pub(super) fn verdict(read: Value) -> Result<(f32, String), Failure> {
    let Verdict { score, reason } = serde_json::from_value(read)
        .map_err(|_| Failure::new("an answer of another form than {\"score\", \"reason\"}"))?;
    if !(0.0..=1.0).contains(&score) {
        return Err(Failure::new("a score that is out of range"));
    }
    Ok((score, format!("score {score:.3}: {}", shown(&reason))))
}

#[derive(Deserialize)]
struct IsBot {
    is_bot: bool,
}

/// What the predecessor's answers.
pub(super) fn is_bot(read: Value) -> Result<(f32, String), Failure> {
    let IsBot { is_bot } = serde_json::from_value(read)
        .map_err(|_| Failure::new("an answer of another form than {\"is_bot\"}"))?;
    let score = if is_bot { 1.0 } else { 0.0 };
    Ok((score, format!("is_bot {is_bot}")))
}
