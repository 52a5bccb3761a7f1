//! Any text is a verdict that can be shown and weighed, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thornwall_sidecar::llm::verdict;

fuzz_target!(|answer: &str| {
    if let Ok(verdict) = verdict::parse(answer) {
        assert!((0.0..=1.0).contains(&verdict.confidence));
        assert!(!verdict.reason.chars().any(char::is_control));
        assert!(verdict.reason.chars().count() <= 160);
    }
});
