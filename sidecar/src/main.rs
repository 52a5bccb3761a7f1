//! The command `thornwall-sidecar`.

fn main() {}
