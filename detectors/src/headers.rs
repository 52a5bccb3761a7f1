//! What a request's header fields say about its client.
//!
//! Only a client that claims to be a browser, or that gives no name, is held to what browsers
//! send. A bot that says what it is, a text browser or a feed reader need not look like Chrome, nor
//! need a robot that shows pages in a browser and says in its name where its owner is reached.

pub mod client_hints;
pub mod errand;
pub mod fetch_metadata;
pub mod fields;

use http::Method;

use crate::{
    path,
    request::RequestView,
    signal::{Evidence, Reason, Signal},
    user_agent::{Browser, Claim, UserAgent},
    weights,
};

use client_hints::Agreement;
use errand::Errand;
use fields::Fields;

/// Notes what is odd about the header fields.
pub fn judge(
    view: &RequestView<'_>,
    fields: &Fields<'_>,
    agent: &UserAgent<'_>,
    note: &mut impl FnMut(Signal),
) {
    let errand = Errand::of(view, fields);
    let expected = match agent.claim {
        // Whoever can be reached need not look like its browser, and must not contradict it.
        Claim::Browser(browser) if agent.shape.contact => {
            let metadata = Metadata {
                oddity: fetch_metadata::contradiction(fields),
                lacking: false,
            };
            return judge_browser(view, fields, browser, metadata, note);
        }
        Claim::Browser(browser) => {
            let metadata = Metadata {
                oddity: fetch_metadata::contradiction(fields),
                lacking: is_metadata_lacking(view, fields, errand, browser),
            };
            judge_browser(view, fields, browser, metadata, note);
            if metadata.lacking || metadata.oddity.is_some() {
                &DOUBTED_BROWSER
            } else {
                &BROWSER
            }
        }
        Claim::Missing => judge_nameless(fields, note),
        _ => return,
    };
    if errand.has_usual_fields() {
        judge_negotiation(view, fields, expected, note);
    }
}

/// What is wrong with a browser's fetch metadata.
#[derive(Clone, Copy)]
struct Metadata {
    oddity: Option<&'static str>,
    lacking: bool,
}

/// What the lack of each negotiation field counts.
struct Expectations {
    accept_missing: f32,
    accept_wildcard: f32,
    language: f32,
    encoding: f32,
}

const BROWSER: Expectations = Expectations {
    accept_missing: weights::ACCEPT_MISSING,
    accept_wildcard: weights::ACCEPT_WILDCARD,
    language: weights::LANGUAGE_MISSING,
    encoding: weights::ENCODING_MISSING,
};

const DOUBTED_BROWSER: Expectations = Expectations {
    accept_wildcard: weights::ACCEPT_WILDCARD_AGAIN,
    ..BROWSER
};

const NAMELESS: Expectations = Expectations {
    accept_missing: weights::NAMELESS_ACCEPT,
    accept_wildcard: weights::NAMELESS_ACCEPT,
    language: weights::NAMELESS_LANGUAGE,
    encoding: weights::NAMELESS_ENCODING,
};

/// Notes that there is no name, and says what else is expected: fetch metadata is a browser's own,
/// so that who sends it is held to no more than a browser.
fn judge_nameless(fields: &Fields<'_>, note: &mut impl FnMut(Signal)) -> &'static Expectations {
    let told =
        fetch_metadata::is_present(fields) && fetch_metadata::contradiction(fields).is_none();
    let (weight, expected) = if told {
        (weights::NAMELESS_BROWSER, &BROWSER)
    } else {
        (weights::NAMELESS, &NAMELESS)
    };
    note(Signal::new(Reason::UserAgentMissing, weight));
    expected
}

/// Whether this browser would have sent fetch metadata with this request and did not.
pub(crate) fn is_metadata_lacking(
    view: &RequestView<'_>,
    fields: &Fields<'_>,
    errand: Errand,
    browser: Browser,
) -> bool {
    view.secure
        && !fetch_metadata::is_present(fields)
        && errand.has_usual_fields()
        && fetch_metadata::is_expected(browser)
}

fn judge_negotiation(
    view: &RequestView<'_>,
    fields: &Fields<'_>,
    expected: &Expectations,
    note: &mut impl FnMut(Signal),
) {
    match fields.accept {
        None => note(Signal::new(
            Reason::HeadersAcceptMissing,
            expected.accept_missing,
        )),
        Some(b"*/*") if is_bare_page(view, fields) => {
            note(Signal::new(
                Reason::HeadersAcceptWildcard,
                expected.accept_wildcard,
            ));
        }
        _ => {}
    }
    match fields.accept_language {
        None => note(Signal::new(
            Reason::HeadersAcceptLanguageMissing,
            expected.language,
        )),
        // Node's fetch sends this, and no browser does.
        Some(b"*") => note(Signal::with_evidence(
            Reason::HeadersAcceptLanguageMissing,
            expected.language,
            Evidence::Text("any language"),
        )),
        Some(_) => {}
    }
    // Media and other files are asked for as they are, without an encoding.
    let whole = fields.range.is_none() && path::kind(&view.path) != path::Kind::Asset;
    if fields.accept_encoding.is_none() && whole {
        note(Signal::new(
            Reason::HeadersAcceptEncodingMissing,
            expected.encoding,
        ));
    }
}

fn judge_browser(
    view: &RequestView<'_>,
    fields: &Fields<'_>,
    browser: Browser,
    metadata: Metadata,
    note: &mut impl FnMut(Signal),
) {
    if let Agreement::Contradict(difference) = client_hints::compare(browser, fields) {
        note(Signal::with_evidence(
            Reason::HeadersClientHintMismatch,
            weights::HINT_MISMATCH,
            Evidence::Text(difference),
        ));
    }
    if let Some(oddity) = metadata.oddity {
        note(Signal::with_evidence(
            Reason::HeadersFetchMetadataMismatch,
            weights::FETCH_METADATA_ODD,
            Evidence::Text(oddity),
        ));
    }
    if metadata.lacking {
        note(Signal::new(
            Reason::HeadersFetchMetadataMissing,
            weights::FETCH_METADATA_MISSING,
        ));
    }
    // Fetch metadata distinguishes a pasted link from a followed one; without it both look alike.
    let deep = path::kind(&view.path) == path::Kind::Page && path::depth(&view.path) >= 2;
    let told = fetch_metadata::is_present(fields);
    if deep && !told && view.method == Method::GET && fields.referer.is_none() {
        note(Signal::new(
            Reason::HeadersRefererMissing,
            weights::REFERER_MISSING,
        ));
    }
}

/// Whether encodings stand as browsers have them over TLS. A script of a page without referrers, whose fetch
/// metadata and language were taken away, leaves this alone; libraries leave Brotli out or put it first.
fn is_a_browsers_encoding(encodings: &[u8]) -> bool {
    encodings.starts_with(b"gzip, deflate, br")
}

/// Whether a page is asked for with no trace of a page behind the request: scripts ask
/// for anything too, but leave their origin, their referrer or fetch metadata.
pub(crate) fn is_bare_page(view: &RequestView<'_>, fields: &Fields<'_>) -> bool {
    let told =
        fetch_metadata::is_present(fields) && fetch_metadata::contradiction(fields).is_none();
    let traces = [
        fields.origin,
        fields.purpose,
        fields.range,
        fields.referer,
        fields.sec_purpose,
        fields.service_worker,
        fields.x_requested_with,
    ];
    view.method == Method::GET
        && path::kind(&view.path) == path::Kind::Page
        && !told
        && traces.iter().all(Option::is_none)
        && !(view.secure && fields.accept_encoding.is_some_and(is_a_browsers_encoding))
}
