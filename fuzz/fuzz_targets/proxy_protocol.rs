//! Any bytes are a PROXY header, the start of one, or none; more bytes change none of the ends; and
//! whom we find named there, the crate `ppp` does, too.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("proxy_protocol")(bytes));
