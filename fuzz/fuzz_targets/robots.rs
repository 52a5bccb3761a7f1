//! Any robots.txt can be asked about, and what crawlers are shown always forbids the prefix.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("robots")(bytes));
