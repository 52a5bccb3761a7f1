//! The files that a process is set up by, and what it may show of strangers' text.
//!
//! TOML is read so that every mistake is reported at once with its place; secrets and tokens are read
//! from files that only their owner can read. This crate knows no key of any configuration.

pub mod file;
pub mod load;
pub mod pem;
pub mod printable;
pub mod regular_file;
pub mod report;
pub mod secret_file;
pub mod token;
