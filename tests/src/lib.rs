//! Programs that measure Thornwall, and what they share; the tests are in `tests/black_box`.

pub mod authority;
pub mod tls_client;
