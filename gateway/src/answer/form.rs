//! The form of an answer to a client: the one place where it is decided.
//!
//! Whatever wants a client held, [`may_hold`] says whether it is one that reads pages. All others,
//! and all refusals, get the status, in words that the client's kind understands.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri, Version, header};
use pingora::{Result, http::ResponseHeader, proxy::Session};
use thornwall_detectors::{
    asked::{self, Form},
    request::{normalise_path, plain_path},
};

use super::add_own_headers;
use crate::{
    exchange::Exchange,
    refusal::{METHODS, page},
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a client that is to be held is one that can be: who does not read pages would take the
/// stream for what it asked for, or for success.
pub(super) fn may_hold(session: &Session) -> bool {
    let request = session.req_header();
    asked::is_page(&request.method, &path(&request.uri), &request.headers)
}

/// The path as rules see it. One that no origin is asked for names nothing.
fn path(uri: &Uri) -> Cow<'_, str> {
    match normalise_path(uri.path()) {
        Ok(_) => plain_path(uri.path()),
        Err(_) => Cow::Borrowed("/"),
    }
}

/// Head and body of a refusal with this status, in the form that the client understands.
pub(super) fn refusal(
    session: &Session,
    exchange: &Exchange,
    status: u16,
) -> Result<(ResponseHeader, Bytes)> {
    let request = session.req_header();
    let form = asked::form(&path(&request.uri), &request.headers);
    let mut response = ResponseHeader::build_no_case(status, Some(8))?;
    let content_type = HeaderValue::from_static(content_type(form));
    response.insert_header(header::CONTENT_TYPE, content_type)?;
    response.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    let words = page::words(status);
    let body = match form {
        Form::Grpc | Form::GrpcWeb => {
            // An answer without messages may have its trailers in its head ("Trailers-Only").
            response.insert_header(GRPC_STATUS, grpc_status(status))?;
            response.insert_header(GRPC_MESSAGE, HeaderValue::from_static(words.message))?;
            ""
        }
        Form::Page => words.page,
        Form::Problem => words.problem,
        Form::Text => words.line,
    };
    if !body.is_empty() || request.version < Version::HTTP_2 {
        response.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    if status == 405 {
        response.insert_header(header::ALLOW, HeaderValue::from_static(METHODS))?;
    }
    if matches!(status, 429 | 503) {
        response.insert_header(header::RETRY_AFTER, HeaderValue::from_static("1"))?;
    }
    add_own_headers(&mut response, exchange)?;
    Ok((response, Bytes::from_static(body.as_bytes())))
}

/// Whether the answer to a request has no body, whatever its head says.
pub(super) fn is_bodiless(session: &Session) -> bool {
    session.req_header().method == Method::HEAD
}

const fn content_type(form: Form) -> &'static str {
    match form {
        Form::Grpc => "application/grpc",
        Form::GrpcWeb => "application/grpc-web",
        Form::Page => "text/html; charset=utf-8",
        Form::Problem => "application/problem+json",
        Form::Text => "text/plain; charset=utf-8",
    }
}

/// The status of gRPC for one of HTTP. Clients would derive one themselves (gRPC, "HTTP to gRPC
/// Status Code Mapping"), but know no limit and no size there.
fn grpc_status(status: u16) -> HeaderValue {
    HeaderValue::from_static(match status {
        // RESOURCE_EXHAUSTED
        413 | 429 => "8",
        // PERMISSION_DENIED
        403 => "7",
        // UNIMPLEMENTED
        404 | 405 | 421 | 501 => "12",
        // UNAVAILABLE
        408 | 502..=504 => "14",
        // INTERNAL
        400 | 500 => "13",
        // UNKNOWN
        _ => "2",
    })
}
