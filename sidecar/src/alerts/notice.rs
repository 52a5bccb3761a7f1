//! What one case came to, as it is sent: bounded, and harmless to show.
//!
//! The fields are those of the predecessor's webhook, so that what reads them goes on. It wrote
//! `AI_DEFENSE_BLOCK` into every message; here denials alone have it, and other severities
//! have a type of their own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    assessment::{Assessment, Severity, TakenStep},
    case::Case,
};

/// Longest text of others that is sent, in bytes and as it is escaped.
const LONGEST_TEXT: usize = 300;
/// Most steps that are sent.
const MOST_STEPS: usize = 16;

/// One case in a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Notice {
    /// `AI_DEFENSE_BLOCK` of denials, else `AI_DEFENSE_ALERT`, `_THROTTLE`, `_TARPIT` or `_TEST`.
    pub(super) alert_type: String,
    /// The reason code of what weighed most.
    pub(super) reason: String,
    /// When the case was assessed (RFC 3339, UTC).
    pub(super) timestamp: String,
    /// The client: an address, or the network of an IPv6 one.
    pub(super) ip_address: String,
    /// The `User-Agent` that the client sent.
    pub(super) user_agent: String,
    /// Further facts, which the predecessor left open.
    pub(super) details: Details,
}

/// Further facts of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Details {
    pub(super) site: String,
    /// 0 to 1.
    pub(super) score: f32,
    pub(super) action: Severity,
    /// The steps that were taken.
    pub(super) steps: Vec<StepScore>,
    /// Names the case, for `Explain`.
    pub(super) case_id: String,
    pub(super) requests: u32,
    /// Until when the decision holds (RFC 3339, UTC), where something was decided.
    pub(super) decision_until: Option<String>,
}

/// A step, and the score after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StepScore {
    pub(super) name: String,
    /// 0 to 1.
    pub(super) score: f32,
}

impl Notice {
    /// The notice of a case; `None` where the case has no consequence.
    pub(super) fn of(case: &Case, assessment: &Assessment) -> Option<Self> {
        let action = Severity::of(assessment.consequence)?;
        let step = |step: &TakenStep| StepScore {
            name: clean(&step.name),
            score: step.score,
        };
        let decision = assessment.decision.as_ref();
        Some(Self {
            alert_type: alert_type(action).to_owned(),
            reason: clean(&assessment.reason),
            timestamp: timestamp(assessment.made_ms),
            ip_address: assessment.subject.to_string(),
            user_agent: clean(&case.claims.user_agent),
            details: Details {
                site: clean(&assessment.site),
                score: assessment.score,
                action,
                steps: assessment.steps.iter().take(MOST_STEPS).map(step).collect(),
                case_id: assessment.case.to_string(),
                requests: case.requests,
                decision_until: decision.map(|decision| timestamp(decision.until_ms)),
            },
        })
    }

    /// A notice to test whether alerts arrive. Its address is one of those set aside for documents.
    pub(super) fn test(now_ms: u64) -> Self {
        Self {
            alert_type: "AI_DEFENSE_TEST".to_owned(),
            reason: "sidecar.alert_test".to_owned(),
            timestamp: timestamp(now_ms),
            ip_address: "192.0.2.1".to_owned(),
            user_agent: "a test of thornwall-sidecar".to_owned(),
            details: Details {
                site: "test".to_owned(),
                score: 0.0,
                action: Severity::Alert,
                steps: Vec::new(),
                case_id: format!("{:032x}", 0),
                requests: 1,
                decision_until: None,
            },
        }
    }
}

const fn alert_type(action: Severity) -> &'static str {
    match action {
        Severity::Alert => "AI_DEFENSE_ALERT",
        Severity::Throttle => "AI_DEFENSE_THROTTLE",
        Severity::Tarpit => "AI_DEFENSE_TARPIT",
        Severity::Deny => "AI_DEFENSE_BLOCK",
    }
}

/// Milliseconds of Unix time as people read them. A time beyond all calendars is the first one.
pub(super) fn timestamp(unix_ms: u64) -> String {
    let millis = i64::try_from(unix_ms).unwrap_or_default();
    Timestamp::from_millisecond(millis)
        .unwrap_or_default()
        .to_string()
}

/// Text of others, on one line and of bounded length: whatever is not plainly visible is escaped, signs
/// that turn the direction of writing among it.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::new();
    for letter in text.chars() {
        let before = cleaned.len();
        match letter {
            '"' | '\'' => cleaned.push(letter),
            _ => cleaned.extend(letter.escape_debug()),
        }
        if cleaned.len() > LONGEST_TEXT {
            cleaned.truncate(before);
            cleaned.push('…');
            break;
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_bounded_and_on_one_line() {
        assert_eq!(
            clean("curl/8.5.0 (it's \"me\")"),
            "curl/8.5.0 (it's \"me\")"
        );
        assert_eq!(clean("a\r\nBcc: x\0"), "a\\r\\nBcc: x\\0");
        assert_eq!(
            clean("a\u{202e}b\u{200b}c\u{2028}"),
            "a\\u{202e}b\\u{200b}c\\u{2028}"
        );
        assert_eq!(clean("é 中 <b>"), "é 中 <b>");
        assert!(clean(&"x".repeat(10_000)).len() <= LONGEST_TEXT + 3);
        assert!(clean(&"\u{7}".repeat(10_000)).len() <= LONGEST_TEXT + 3);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(timestamp(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(timestamp(u64::MAX), "1970-01-01T00:00:00Z");
    }
}
