//! Any message is a case or is refused; one that is a case makes a prompt whose record nothing ends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("escalated_case")(bytes));
