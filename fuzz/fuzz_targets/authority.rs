//! Any host is none, or has one form, whichever version and field it came in.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("authority")(bytes));
