//! What happens to a connection before HTTP.

pub mod head;
