//! What a refusal says, in every form, and as the whole response of a head that never became a request.

pub(crate) mod page;
pub(crate) mod raw;

/// What a 405 must name (RFC 9110 section 15.5.6): origins may take more, or less.
pub(crate) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
