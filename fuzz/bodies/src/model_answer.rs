//! Any text is a verdict that can be shown and weighed, or none.

use thornwall_sidecar::llm::verdict;

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let answer = text(bytes);
    if let Ok(verdict) = verdict::parse(answer) {
        assert!((0.0..=1.0).contains(&verdict.confidence));
        assert!(!verdict.reason.chars().any(char::is_control));
        assert!(verdict.reason.chars().count() <= 160);
    }
}
