//! Any bytes are a ClientHello, the start of one, or none; more bytes change none of the ends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("client_hello")(bytes));
