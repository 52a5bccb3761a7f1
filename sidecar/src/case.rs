//! A case as it is judged: what came over the wire, checked and bounded.

use std::{fmt, str::FromStr};

use thiserror::Error;
use thornwall_decisions::prefix_set::Prefix;
use thornwall_proto::v1;

/// Most signals of a case.
pub const MOST_SIGNALS: usize = 32;
/// Most requests that a case shows.
pub const MOST_SAMPLES: usize = 32;
/// Most names of header fields.
const MOST_HEADER_NAMES: usize = 64;
/// Most parameters of one request.
const MOST_PARAMETERS: usize = 8;
/// Most ids of requests.
const MOST_REQUEST_IDS: usize = 8;
/// Longest name of a site, a signal or a header field, and longest `Accept-Language`.
pub const LONGEST_NAME: usize = 64;
/// Longest path, user agent or referrer.
pub const LONGEST_TEXT: usize = 256;

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
    /// Its name.
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
    /// What its filters noticed.
    pub signals: Vec<Noticed>,
    /// Some of the requests, in order.
    pub samples: Vec<Sample>,
    /// What the client says of itself.
    pub claims: Claims,
    /// Ids of requests.
    pub request_ids: Vec<String>,
}

/// What a filter noticed.
#[derive(Debug, Clone, PartialEq)]
pub struct Noticed {
    /// A reason code, which need not be one of ours.
    pub reason: String,
    /// 0 to 1.
    pub weight: f32,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Milliseconds since the case's first request.
    pub after_ms: u32,
    /// The method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// Names of the query's parameters.
    pub parameters: Vec<String>,
    /// The gateway's score of it.
    pub score: f32,
}

/// What a client says of itself.
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

/// Why a case is none.
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

impl TryFrom<v1::Case> for Case {
    type Error = CaseError;

    fn try_from(sent: v1::Case) -> Result<Self, CaseError> {
        if sent.site.is_empty() {
            return Err(CaseError::Missing("case.site"));
        }
        if sent.requests == 0 || sent.first_ms > sent.last_ms {
            return Err(CaseError::Range("case.requests"));
        }
        bounded("case.signals", sent.signals.len(), MOST_SIGNALS)?;
        bounded("case.samples", sent.samples.len(), MOST_SAMPLES)?;
        bounded("case.request_ids", sent.request_ids.len(), MOST_REQUEST_IDS)?;
        let id = |text: String| text_of("case.request_ids", text, LONGEST_NAME);
        Ok(Self {
            id: sent.id.parse()?,
            site: text_of("case.site", sent.site, LONGEST_NAME)?,
            subject: client_of(&sent.subject)?,
            shape: sent.shape,
            requests: sent.requests,
            first_ms: sent.first_ms,
            last_ms: sent.last_ms,
            score: share_of("case.score", sent.score)?,
            signals: sent
                .signals
                .into_iter()
                .map(noticed)
                .collect::<Result<_, _>>()?,
            samples: sent
                .samples
                .into_iter()
                .map(sample)
                .collect::<Result<_, _>>()?,
            claims: claims(sent.claims.unwrap_or_default())?,
            request_ids: sent
                .request_ids
                .into_iter()
                .map(id)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<Case> for v1::Case {
    fn from(case: Case) -> Self {
        let signal = |noticed: Noticed| v1::Signal {
            reason: noticed.reason,
            weight: noticed.weight,
        };
        let request = |sample: Sample| v1::Request {
            after_ms: sample.after_ms,
            method: sample.method,
            path: sample.path,
            parameters: sample.parameters,
            score: sample.score,
        };
        let claims = case.claims;
        Self {
            id: case.id.to_string(),
            site: case.site,
            subject: case.subject.to_string(),
            shape: case.shape,
            requests: case.requests,
            first_ms: case.first_ms,
            last_ms: case.last_ms,
            score: case.score,
            signals: case.signals.into_iter().map(signal).collect(),
            samples: case.samples.into_iter().map(request).collect(),
            claims: Some(v1::Claims {
                user_agent: claims.user_agent,
                accept_language: claims.accept_language,
                referer: claims.referer,
                header_names: claims.header_names,
                http_version: claims.http_version,
                tls: claims.tls,
            }),
            request_ids: case.request_ids,
        }
    }
}

/// An address or a network, as callers name it.
pub fn subject_of(field: &'static str, text: &str) -> Result<Prefix, CaseError> {
    text.parse().map_err(|_| CaseError::Form(field))
}

/// One client: an address, or the /64 of an IPv6 one. Nobody is assessed for their neighbours.
fn client_of(text: &str) -> Result<Prefix, CaseError> {
    let subject = subject_of("case.subject", text)?;
    let widest = if subject.first().is_ipv4() { 32 } else { 64 };
    if subject.length() < widest {
        return Err(CaseError::Range("case.subject"));
    }
    Ok(subject)
}

/// A text of at most `most` bytes.
pub fn text_of(field: &'static str, text: String, most: usize) -> Result<String, CaseError> {
    bounded(field, text.len(), most)?;
    Ok(text)
}

fn bounded(field: &'static str, length: usize, most: usize) -> Result<(), CaseError> {
    if length > most {
        return Err(CaseError::TooLong(field));
    }
    Ok(())
}

fn share_of(field: &'static str, number: f32) -> Result<f32, CaseError> {
    if !(0.0..=1.0).contains(&number) {
        return Err(CaseError::Range(field));
    }
    Ok(number)
}

fn noticed(signal: v1::Signal) -> Result<Noticed, CaseError> {
    Ok(Noticed {
        reason: text_of("signal.reason", signal.reason, LONGEST_NAME)?,
        weight: share_of("signal.weight", signal.weight)?,
    })
}

fn sample(request: v1::Request) -> Result<Sample, CaseError> {
    bounded(
        "request.parameters",
        request.parameters.len(),
        MOST_PARAMETERS,
    )?;
    let parameter = |name: String| text_of("request.parameters", name, 32);
    let parameters = request.parameters.into_iter().map(parameter);
    Ok(Sample {
        after_ms: request.after_ms,
        method: text_of("request.method", request.method, 16)?,
        path: text_of("request.path", request.path, LONGEST_TEXT)?,
        parameters: parameters.collect::<Result<_, _>>()?,
        score: share_of("request.score", request.score)?,
    })
}

fn claims(sent: v1::Claims) -> Result<Claims, CaseError> {
    bounded(
        "claims.header_names",
        sent.header_names.len(),
        MOST_HEADER_NAMES,
    )?;
    let name = |name: String| text_of("claims.header_names", name, LONGEST_NAME);
    let header_names = sent.header_names.into_iter().map(name);
    Ok(Claims {
        user_agent: text_of("claims.user_agent", sent.user_agent, LONGEST_TEXT)?,
        accept_language: text_of("claims.accept_language", sent.accept_language, LONGEST_NAME)?,
        referer: text_of("claims.referer", sent.referer, LONGEST_TEXT)?,
        header_names: header_names.collect::<Result<_, _>>()?,
        http_version: sent.http_version,
        tls: sent.tls,
    })
}
