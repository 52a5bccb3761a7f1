//! Any request can be judged: user agent, headers, path and features hold for every byte.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("request_shape")(bytes));
