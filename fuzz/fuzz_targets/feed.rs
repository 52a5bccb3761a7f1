//! Any bytes are a feed or an error, in every form; what is taken is small enough, and of the internet.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("feed")(bytes));
