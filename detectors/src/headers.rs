//! What a request's header fields say about its client.

pub mod client_hints;
pub mod fetch_metadata;
pub mod fields;
