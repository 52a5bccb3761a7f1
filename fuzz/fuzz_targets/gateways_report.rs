//! What another gateway tells is a report or an error, and is counted without harm.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("gateways_report")(bytes));
