//! Any forwarding header gives an address or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thornwall_detectors::address::reported_client;

fuzz_target!(|lines: Vec<&str>| {
    let _ = reported_client(lines.iter().copied(), |address| address.is_loopback());
    let _ = reported_client(lines.iter().copied(), |_| true);
});
