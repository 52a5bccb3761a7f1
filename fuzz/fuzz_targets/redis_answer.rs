//! What answers in the place of Redis is read within its bounds, or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("redis_answer")(bytes));
