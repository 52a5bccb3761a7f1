//! What a client can make of an answer: a page for a reader, data for a program, or a line of text at most.
//!
//! Two questions with one root. [`form`] says in which form a client understands that it is
//! refused. [`is_page`] is whether a request is one for a page by a reader: the only kind that may
//! be kept waiting, since any other client takes an answer for the thing itself.

use http::{
    HeaderMap, HeaderName, Method,
    header::{
        AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        IF_RANGE, IF_UNMODIFIED_SINCE, ORIGIN, RANGE, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};

use crate::path::{self, Kind};

mod accept;
mod place;

use accept::Preference;

/// The form that a refusal is understood in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A status of gRPC.
    Grpc,
    /// A status of gRPC-Web, which browsers speak.
    GrpcWeb,
    /// A page.
    Page,
    /// Problem details (RFC 9457).
    Problem,
    /// A line of text.
    Text,
}

const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Fields of requests that ask for a part of something, whether it has changed, or for another
/// protocol; and of programs that are no readers: scripts across origins, git, players of streams.
const NO_READER: [HeaderName; 11] = [
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    ORIGIN,
    RANGE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("git-protocol"),
    HeaderName::from_static("icy-metadata"),
];

/// Programs that report success however an answer breaks off, as measured: wget2 1.99 does so for
/// chunks without an end, for a length that is not kept, and for resets.
const BLIND: [&[u8]; 1] = [b"wget2/"];

/// What a page is shown in, as browsers name it.
const FRAMES: [&[u8]; 5] = [
    b"document",
    b"fencedframe",
    b"frame",
    b"frameset",
    b"iframe",
];

/// In which form a client that asked for this normalised path understands a refusal.
pub fn form(path: &str, headers: &HeaderMap) -> Form {
    let sent = value(headers, &CONTENT_TYPE);
    if starts_with(sent, b"application/grpc-web") {
        return Form::GrpcWeb;
    }
    if starts_with(sent, b"application/grpc") {
        return Form::Grpc;
    }
    if sends_data(headers) {
        return Form::Problem;
    }
    match accept::preference(headers) {
        Preference::Page => Form::Page,
        Preference::Data => Form::Problem,
        Preference::Any if is_script(headers) || place::is_of_programs(path) => Form::Problem,
        Preference::Any if names_page(path) => Form::Page,
        Preference::Any | Preference::Other => Form::Text,
    }
}

/// Whether a reader asks for a page. Not counted are requests that may change something, and those that
/// ask for less than a whole page, for a part of one, a file or data.
pub fn is_page(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    *method == Method::GET
        && matches!(value(headers, &CONTENT_LENGTH), b"" | b"0")
        && !NO_READER.iter().any(|field| headers.contains_key(field))
        && !is_blind(headers)
        && !sends_data(headers)
        && !is_script(headers)
        && is_navigation(headers)
        && matches!(
            accept::preference(headers),
            Preference::Page | Preference::Any
        )
        && names_page(path)
        && !place::is_of_programs(path)
}

/// Whether a path has the name of a page.
fn names_page(path: &str) -> bool {
    path::kind(path) == Kind::Page && place::is_page(path)
}

/// Whether what browsers say of the request, where they say anything, is that a page is opened.
fn is_navigation(headers: &HeaderMap) -> bool {
    let (mode, dest) = (value(headers, &FETCH_MODE), value(headers, &FETCH_DEST));
    matches!(mode, b"" | b"navigate") && (dest.is_empty() || FRAMES.contains(&dest))
}

/// Whether the client cannot distinguish an answer that breaks off from a whole one.
fn is_blind(headers: &HeaderMap) -> bool {
    let agent = value(headers, &USER_AGENT);
    BLIND.iter().any(|name| starts_with(agent, name))
}

/// Whether the client speaks as programs do among themselves.
fn sends_data(headers: &HeaderMap) -> bool {
    accept::is_data(value(headers, &CONTENT_TYPE))
        || starts_with(value(headers, &CONTENT_TYPE), b"application/grpc")
        || starts_with(value(headers, &AUTHORIZATION), b"bearer ")
}

/// Whether a script of a page asks, not the page's reader.
fn is_script(headers: &HeaderMap) -> bool {
    // An app's browser names the app there (Android WebView), with whatever it opens.
    value(headers, &REQUESTED_WITH).eq_ignore_ascii_case(b"xmlhttprequest")
        || value(headers, &FETCH_DEST) == b"empty"
}

fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a [u8] {
    headers.get(name).map_or(b"", |value| value.as_bytes())
}

fn starts_with(value: &[u8], beginning: &[u8]) -> bool {
    let found = value.get(..beginning.len());
    found.is_some_and(|found| found.eq_ignore_ascii_case(beginning))
}

#[cfg(test)]
mod tests;
