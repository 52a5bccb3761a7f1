//! Any forwarding header gives an address or none.

use thornwall_detectors::address::reported_client;

/// Each line is one of the header.
pub(crate) fn run(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines: Vec<_> = lines.map(String::from_utf8_lossy).collect();
    let texts = || lines.iter().map(AsRef::as_ref);
    let _ = reported_client(texts(), |address| address.is_loopback());
    let _ = reported_client(texts(), |_| true);
}
