//! A head that the judge lets through is read by an independent parser as the judge reads it, and
//! it does not matter in which pieces it arrived.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("head")(bytes));
