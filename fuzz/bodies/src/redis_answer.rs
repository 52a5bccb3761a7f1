//! What answers in the place of Redis is read within its bounds, or not at all.

use thornwall_decisions::store::shared::{MOST_ANSWER, weigh_answer};

/// A byte that is no text is shown as U+FFFD.
const MOST_GROWTH: usize = '\u{fffd}'.len_utf8();

pub(crate) fn run(bytes: &[u8]) {
    let kept = weigh_answer(bytes).unwrap_or_default();
    assert!(kept <= MOST_ANSWER.min(bytes.len() * MOST_GROWTH));
}
