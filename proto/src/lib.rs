//! The contract between gateways and sidecars: `thornwall/escalation/v1/escalation.proto`, and the
//! code that is generated from it.
//!
//! Nothing else belongs here. The generated files are committed; `cargo test -p thornwall-proto`
//! makes them again and fails where they were not up to date.

/// Version 1 of the escalation service.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    rustdoc::all,
    reason = "generated"
)]
pub mod v1 {
    include!("generated/thornwall.escalation.v1.rs");

    /// The whole contract, for the reflection service.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/thornwall.escalation.v1.bin");
}

/// Largest message that either side takes, in bytes.
pub const MOST_MESSAGE_BYTES: usize = 64 << 10;
