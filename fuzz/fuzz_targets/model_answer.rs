//! Any text is a verdict that can be shown and weighed, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| thornwall_fuzz_bodies::body("model_answer")(bytes));
