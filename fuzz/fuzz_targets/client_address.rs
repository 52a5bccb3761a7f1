//! Any forwarding header gives an address or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thornwall_detectors::address::reported_client;

fuzz_target!(|lines: Vec<&[u8]>| {
    let lines: Vec<_> = lines.into_iter().map(String::from_utf8_lossy).collect();
    let texts = || lines.iter().map(AsRef::as_ref);
    let _ = reported_client(texts(), |address| address.is_loopback());
    let _ = reported_client(texts(), |_| true);
});
