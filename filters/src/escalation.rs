//! The port to a second opinion: which facts of a request are sent to a sidecar.
//!
//! A filter finds out cheaply which case a request belongs to, and makes a [`Question`] of it only
//! where the other side of the port wants one. Filters ask from memory: an implementation of
//! [`Escalation`] does not wait, and sends nothing before the gateway hands the question on.
//!
//! A question never holds a body, a cookie, a credential, the value of a query or of a header field
//! other than those that it names. Everything in it is bounded.

use std::{fmt, hash::Hasher, net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderName, Version, header};
use siphasher::sip128::Hasher128;
use thornwall_detectors::{
    address::{canonical, subscriber},
    request::RequestView,
    signal::{Reason, Trail},
};

use crate::key::KeySeed;

/// Longest user agent, path and referrer, in bytes.
pub const LONGEST_TEXT: usize = 256;
/// Longest name of a header field, and longest `Accept-Language`.
pub const LONGEST_NAME: usize = 64;
/// Longest name of a query's parameter.
pub(crate) const LONGEST_PARAMETER: usize = 32;
/// Longest method.
pub const LONGEST_METHOD: usize = 16;
/// Most names of header fields.
pub const MOST_HEADER_NAMES: usize = 64;
/// Most names of a query's parameters.
pub const MOST_PARAMETERS: usize = 8;

/// Collects requests into cases and has them assessed.
pub trait Escalation: Send + Sync {
    /// Counts a request, and returns which case it belongs to and whether more of it is wanted. Never
    /// waits, and allocates nothing for a case that is known.
    fn sight(&self, sighting: &Sighting) -> Interest;
}

/// Names a case at its gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseId(pub u128);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What ids of cases are made with. Each process has its own, so that no two gateways call
/// different cases the same.
#[derive(Debug, Default)]
pub struct CaseSeed(KeySeed);

impl CaseSeed {
    /// The case of these requests: one client that asks one site in one way.
    pub fn case(&self, sighting: &Sighting) -> CaseId {
        let mut hash = self.0.hasher();
        hash.write_u16(sighting.site);
        hash.write_u64(sighting.shape);
        match sighting.client {
            IpAddr::V4(v4) => hash.write(&v4.octets()),
            IpAddr::V6(v6) => hash.write(&v6.octets()),
        }
        CaseId(hash.finish128().as_u128())
    }
}

/// A request, as far as it takes to find its case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    /// The site's number.
    pub site: u16,
    /// The client: what [`subscriber`] leaves of its address.
    pub client: IpAddr,
    /// A hash of how the request looks, independent of its client.
    pub shape: u64,
    /// The score so far.
    pub score: f32,
    /// Monotonic time since the gateway started.
    pub now: Duration,
}

impl Sighting {
    /// What is seen of a request.
    pub fn of(request: &RequestView<'_>, score: f32, seed: &KeySeed) -> Self {
        Self {
            site: request.site.id,
            client: subscriber(canonical(request.client)),
            shape: shape(request.headers, seed),
            score,
            now: request.now,
        }
    }
}

/// What is made of a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// The case that the request belongs to.
    pub case: CaseId,
    /// Whether the facts of the request are wanted.
    pub facts: bool,
}

/// A request that a second opinion is asked about.
#[derive(Debug)]
pub struct Referral {
    /// The case that it belongs to.
    pub case: CaseId,
    /// Facts of the request for the sidecar, where they are wanted.
    pub question: Option<Box<Question>>,
    /// How long the request may wait for the case's assessment.
    pub wait: Duration,
}

/// Facts of one request that are sent for a second opinion.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The case that it belongs to.
    pub case: CaseId,
    /// What the case was found by.
    pub sighting: Sighting,
    /// What was noticed and counts, each reason once with its greatest weight.
    pub signals: Vec<(Reason, f32)>,
    /// The method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// Names of the query's parameters.
    pub parameters: Vec<String>,
    /// `User-Agent`.
    pub user_agent: String,
    /// `Accept-Language`.
    pub accept_language: String,
    /// The referrer's host and path.
    pub referer: String,
    /// Names of the header fields, in their order.
    pub header_names: Vec<String>,
    /// 9 (0.9), 10, 11, 20 or 30.
    pub http_version: u8,
    /// Whether the client spoke TLS.
    pub tls: bool,
}

impl Question {
    /// The facts of a request that may be sent.
    pub fn of(request: &RequestView<'_>, trail: &Trail, sighting: Sighting, case: CaseId) -> Self {
        let headers = request.headers;
        let names = headers.keys().take(MOST_HEADER_NAMES);
        Self {
            case,
            sighting,
            signals: counted(trail),
            method: clip(request.method.as_str(), LONGEST_METHOD),
            path: clip(&request.path, LONGEST_TEXT),
            parameters: parameters(request.uri.query().unwrap_or_default()),
            user_agent: text(headers, &header::USER_AGENT, LONGEST_TEXT),
            accept_language: text(headers, &header::ACCEPT_LANGUAGE, LONGEST_NAME),
            referer: referer(request.header(&header::REFERER).unwrap_or_default()),
            header_names: names
                .map(|name| clip(name.as_str(), LONGEST_NAME))
                .collect(),
            http_version: version(request.version),
            tls: request.secure,
        }
    }
}

/// Fields that come and go between requests of one client, and make no other shape of it.
static PASSING: [HeaderName; 10] = [
    header::CACHE_CONTROL,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::ORIGIN,
    header::PRAGMA,
    header::RANGE,
    header::REFERER,
];

/// A hash of how a client's requests look: user agent, languages, and names of header fields.
fn shape(headers: &HeaderMap, seed: &KeySeed) -> u64 {
    let mut hash = seed.hasher();
    for name in [header::USER_AGENT, header::ACCEPT_LANGUAGE] {
        let value = headers.get(name).map_or(&b""[..], |value| value.as_bytes());
        hash.write_usize(value.len());
        hash.write(value);
    }
    for name in headers.keys().filter(|name| !PASSING.contains(name)) {
        hash.write(name.as_str().as_bytes());
        hash.write_u8(0);
    }
    hash.finish128().h1
}

fn counted(trail: &Trail) -> Vec<(Reason, f32)> {
    let mut counted: Vec<(Reason, f32)> = Vec::with_capacity(trail.signals().len());
    for signal in trail.signals().iter().filter(|signal| !signal.observed) {
        match counted
            .iter_mut()
            .find(|(reason, _)| *reason == signal.reason)
        {
            Some((_, weight)) => *weight = weight.max(signal.weight),
            None => counted.push((signal.reason, signal.weight)),
        }
    }
    counted
}

/// Names of a query's parameters. A part without `=` may be a value, such as a token, and is left
/// out.
fn parameters(query: &str) -> Vec<String> {
    let parts = query.split(['&', ';']);
    let names = parts.filter_map(|part| part.split_once('=').map(|(name, _)| name));
    names
        .filter(|name| !name.is_empty())
        .take(MOST_PARAMETERS)
        .map(|name| clip(name, LONGEST_PARAMETER))
        .collect()
}

/// Host and path of a referrer: nothing of its user, its query and its fragment.
fn referer(sent: &str) -> String {
    let Some((_, rest)) = sent.split_once("://") else {
        return String::new();
    };
    let end = rest.find(['?', '#', ';']).unwrap_or(rest.len());
    let (authority, path) = match rest[..end].find('/') {
        Some(slash) => rest[..end].split_at(slash),
        None => (&rest[..end], ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    clip(&format!("{host}{path}"), LONGEST_TEXT)
}

fn text(headers: &HeaderMap, name: &HeaderName, most: usize) -> String {
    let Some(value) = headers.get(name) else {
        return String::new();
    };
    clip(&String::from_utf8_lossy(value.as_bytes()), most)
}

fn clip(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

fn version(version: Version) -> u8 {
    match version {
        Version::HTTP_09 => 9,
        Version::HTTP_10 => 10,
        Version::HTTP_2 => 20,
        Version::HTTP_3 => 30,
        _ => 11,
    }
}

#[cfg(test)]
mod tests;
