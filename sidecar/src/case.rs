//! A case as it is judged: checked and bounded.

use std::{fmt, str::FromStr};

use thiserror::Error;
use thornwall_decisions::prefix_set::Prefix;

/// Names a case: the hexadecimal digits that its gateway gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseId(pub u128);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for CaseId {
    type Err = CaseError;

    fn from_str(text: &str) -> Result<Self, CaseError> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let id = (text.len() == 32 && text.bytes().all(digit))
            .then(|| u128::from_str_radix(text, 16).ok());
        id.flatten().map(Self).ok_or(CaseError::Form("case.id"))
    }
}

/// What one client did at one site, as far as its gateway found it dubious.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Names the case.
    pub id: CaseId,
    /// The site's name.
    pub site: String,
    /// The client.
    pub subject: Prefix,
    /// A hash of how the requests look.
    pub shape: u64,
    /// Requests so far.
    pub requests: u32,
    /// When the first one came, in milliseconds of Unix time.
    pub first_ms: u64,
    /// When the last one came.
    pub last_ms: u64,
    /// The highest score that the gateway gave.
    pub score: f32,
    /// The signals that the filters noticed.
    pub signals: Vec<Noticed>,
    /// Some of the requests, in their order.
    pub samples: Vec<Sample>,
    /// Client claims: what the client sent about itself, unverified.
    pub claims: Claims,
    /// Ids of requests.
    pub request_ids: Vec<String>,
}

/// A signal that a filter noticed.
#[derive(Debug, Clone, PartialEq)]
pub struct Noticed {
    /// A reason code, which need not be one of ours.
    pub reason: String,
    /// 0 to 1.
    pub weight: f32,
}

/// One request of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Milliseconds since the case's first request.
    pub after_ms: u32,
    /// The request's method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// Names of the query's parameters.
    pub parameters: Vec<String>,
    /// The gateway's score of it.
    pub score: f32,
}

/// Client claims: what a client sent about itself, unverified.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims {
    /// `User-Agent`.
    pub user_agent: String,
    /// `Accept-Language`.
    pub accept_language: String,
    /// The referrer's host and path.
    pub referer: String,
    /// Names of header fields, in order.
    pub header_names: Vec<String>,
    /// 9, 10, 11, 20 or 30.
    pub http_version: u32,
    /// Whether the client spoke TLS.
    pub tls: bool,
}

/// Error: the message is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CaseError {
    /// A field has not the form that it must have.
    #[error("`{0}` has not the form that the contract says")]
    Form(&'static str),
    /// A field is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A number is not within its range.
    #[error("`{0}` is out of range")]
    Range(&'static str),
    /// A field is longer, or holds more, than the contract allows.
    #[error("`{0}` is longer than the contract allows")]
    TooLong(&'static str),
}
