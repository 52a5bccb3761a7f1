//! Any text is a configuration or a list of mistakes with their places.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("configuration")(bytes));
