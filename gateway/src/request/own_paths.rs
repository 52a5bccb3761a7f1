//! The paths that the gateway answers itself: the one list of them, asked once for each request.

use http::Method;
use thornwall_detectors::request::RequestView;
use thornwall_filters::deception::links::Marked;

use crate::{generation::Site, robots};

/// A path of the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnPath {
    /// A path below the prefix that only tarpit pages contain: a client that asks for it needs no
    /// further look.
    Marked(Marked),
    /// The host's robots.txt, for those that the pipeline lets pass.
    Robots,
}

/// Which of the gateway's own paths a request asks for.
pub(super) fn find(site: &Site, request: &RequestView<'_>) -> Option<OwnPath> {
    if let Some(marked) = site.links.read(&request.path) {
        return Some(OwnPath::Marked(marked));
    }
    let reads = matches!(*request.method, Method::GET | Method::HEAD);
    (reads && request.path == robots::PATH).then_some(OwnPath::Robots)
}
