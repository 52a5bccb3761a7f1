//! The id of a request, and the header fields that carry it.

use http::{HeaderName, HeaderValue};
use uuid::Uuid;

/// Header in which the origin and the client read the request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Header with our id of the request, where [`REQUEST_ID`] has the id of a trusted proxy, or of the
/// origin.
pub(crate) const OWN_REQUEST_ID: HeaderName = HeaderName::from_static("x-gateway-request-id");

/// Names one request: a UUID of version 7 (RFC 9562 section 5.7), without hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(Uuid);

impl RequestId {
    /// An id that nothing else has.
    pub(crate) fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads an id as logs and answers write it, with or without hyphens.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The random end of the id.
    pub(crate) const fn low_bits(&self) -> u64 {
        self.0.as_u64_pair().1
    }

    /// The id as a header value.
    pub(crate) fn header_value(&self) -> HeaderValue {
        let mut buffer = [0; 32];
        let text = self.0.as_simple().encode_lower(&mut buffer);
        let mut value =
            HeaderValue::from_str(text).expect("32 hexadecimal digits are a header value");
        // No two are alike: in the table of HTTP/2's compression it would only push out others (RFC
        // 7541 section 7.1.3).
        value.set_sensitive(true);
        value
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_simple().fmt(f)
    }
}
