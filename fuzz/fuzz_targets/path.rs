//! A path is refused or takes one form, in which nothing climbs and nothing is encoded in vain.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("path")(bytes));
