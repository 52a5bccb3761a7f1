//! What others wrote into the shared store is refused, or becomes a change within all bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("shared_store")(bytes));
