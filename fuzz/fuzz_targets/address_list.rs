//! Any bytes are a list of prefixes or of broken lines; a list can always be looked into.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("address_list")(bytes));
