//! One line of an export.

use serde::Serialize;
use serde_json::json;
use thornwall_decisions::prefix_set::Prefix;

use super::label::{By, Judged};
use crate::{
    assessment::Label,
    case::Case,
    facts::Facts,
    llm::{INSTRUCTIONS, Prompt},
};

/// Leading bits of an address that are exported: a network of many subscribers.
const BITS_V4: u8 = 24;
const BITS_V6: u8 = 48;

/// The subject as it is exported: whole, or cut to its network.
pub(super) fn exported(subject: Prefix, whole: bool) -> Prefix {
    let address = subject.first();
    let length = if address.is_ipv4() { BITS_V4 } else { BITS_V6 };
    if whole || subject.length() <= length {
        return subject;
    }
    Prefix::around(address, length).unwrap_or(subject)
}

/// A line of `training`; `thornwall-train` reads it, and both are held to `tests/golden/cases.jsonl`.
#[derive(Serialize)]
struct Training<'a> {
    case: String,
    label: Label,
    by: By,
    weak: bool,
    made_ms: u64,
    facts: Facts<'a>,
}

pub(super) fn training(
    case: &Case,
    subject: Prefix,
    judged: Judged,
    made_ms: u64,
) -> serde_json::Result<String> {
    serde_json::to_string(&Training {
        case: case.id.to_string(),
        label: judged.label,
        by: judged.by,
        weak: judged.by.is_weak(),
        made_ms,
        facts: Facts::of(case, subject),
    })
}

/// A chat as services of fine-tuning take it, of what the step `llm` asks and expects as an answer. Its record
/// holds no address.
pub(super) fn fine_tuning(case: &Case, judged: Judged) -> serde_json::Result<String> {
    let answer = json!({"verdict": judged.label, "confidence": 1.0, "reason": "reviewed"});
    serde_json::to_string(&json!({"messages": [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": Prompt::about(case).text},
        {"role": "assistant", "content": answer.to_string()},
    ]}))
}
