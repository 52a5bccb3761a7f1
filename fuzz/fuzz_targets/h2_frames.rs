//! Any bytes of an HTTP/2 client, in any chunks, are judged as one by one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("h2_frames")(bytes));
