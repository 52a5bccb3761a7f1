//! What a language model answers, once it is checked: a verdict of a fixed list, and how certain it is.

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

/// Longest answer that is looked at, in bytes. Ten times what the schema needs.
const MOST_BYTES: usize = 4_096;
/// Longest reason that is kept, in characters.
const MOST_REASON: usize = 160;

/// What a client is, as a model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A person with a browser.
    Person,
    /// A crawler that a site gains by.
    WelcomeBot,
    /// Something that takes the site's content away.
    Scraper,
    /// Something that looks for holes, or does harm.
    Malicious,
    /// Not decidable from the record.
    Unsure,
}

impl Verdict {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::WelcomeBot => "welcome_bot",
            Self::Scraper => "scraper",
            Self::Malicious => "malicious",
            Self::Unsure => "unsure",
        }
    }

    /// Whether the verdict condemns the client.
    pub(crate) const fn condemns(self) -> bool {
        matches!(self, Self::Scraper | Self::Malicious)
    }
}

/// A checked answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// The verdict.
    pub verdict: Verdict,
    /// How certain the verdict is, 0 to 1.
    pub confidence: f32,
    /// The model's reason, for people: of printable characters, and short.
    pub reason: String,
}

/// Error: the answer is not valid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VerdictError {
    /// It is longer than an answer can be.
    #[error("an answer of {0} bytes")]
    TooLong(usize),
    /// The answer is empty.
    #[error("an empty answer")]
    Empty,
    /// It is not what was asked for.
    #[error("not the JSON that was asked for")]
    Form,
    /// The confidence is no share.
    #[error("a confidence that is not from 0 to 1")]
    Confidence,
}

/// The answer's schema, as providers take it. All fields are required, as OpenAI's strict mode wants.
pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "verdict": {
                "type": "string",
                "enum": ["person", "welcome_bot", "scraper", "malicious", "unsure"],
            },
            "confidence": { "type": "number" },
            "reason": { "type": "string" },
        },
        "required": ["verdict", "confidence", "reason"],
        "additionalProperties": false,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    verdict: Verdict,
    confidence: f32,
    reason: String,
}

/// Reads an answer. Prose around the object is refused: only JSON was asked for.
pub fn parse(answer: &str) -> Result<Opinion, VerdictError> {
    if answer.len() > MOST_BYTES {
        return Err(VerdictError::TooLong(answer.len()));
    }
    let text = unfenced(answer.trim());
    if text.is_empty() {
        return Err(VerdictError::Empty);
    }
    let written: Written = serde_json::from_str(text).map_err(|_| VerdictError::Form)?;
    if !(0.0..=1.0).contains(&written.confidence) {
        return Err(VerdictError::Confidence);
    }
    Ok(Opinion {
        verdict: written.verdict,
        confidence: written.confidence,
        reason: printable(&written.reason),
    })
}

/// What a fence of Markdown holds: models without structured output put one around JSON.
fn unfenced(text: &str) -> &str {
    let inside = text
        .strip_prefix("```json")
        .or_else(|| text.strip_prefix("```"));
    let inside = inside.and_then(|rest| rest.strip_suffix("```"));
    inside.map_or(text, str::trim)
}

/// Text that can neither break a line nor turn one around: it may be an attacker's.
pub(super) fn printable(text: &str) -> String {
    let shown = |character: char| {
        if character.is_alphanumeric() || (character.is_ascii() && !character.is_ascii_control()) {
            character
        } else {
            ' '
        }
    };
    text.chars().take(MOST_REASON).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_an_answer() {
        let good = r#"{"verdict":"scraper","confidence":0.9,"reason":"reads every page"}"#;
        let opinion = parse(good).unwrap();
        assert_eq!(
            (opinion.verdict, opinion.confidence),
            (Verdict::Scraper, 0.9)
        );
        assert_eq!(parse(&format!("```json\n{good}\n```")).unwrap(), opinion);
        let check = |answer: &str, expected: VerdictError| {
            assert_eq!(parse(answer).unwrap_err(), expected, "{answer}");
        };
        check("", VerdictError::Empty);
        check("``````", VerdictError::Empty);
        check("It is a person.", VerdictError::Form);
        check(&format!("Sure! {good}"), VerdictError::Form);
        check(&format!("{good} {good}"), VerdictError::Form);
        check("null", VerdictError::Form);
        check("[]", VerdictError::Form);
        check(&good.replace("scraper", "SCRAPER"), VerdictError::Form);
        check(&good.replace("scraper", "allow"), VerdictError::Form);
        check(
            &good.replace('}', ",\"action\":\"deny\"}"),
            VerdictError::Form,
        );
        check(&good.replace("0.9", "\"0.9\""), VerdictError::Form);
        check(&good.replace("0.9", "1.1"), VerdictError::Confidence);
        check(&good.replace("0.9", "-1"), VerdictError::Confidence);
        check(&good.replace("0.9", "null"), VerdictError::Form);
        check(&"x".repeat(1 << 20), VerdictError::TooLong(1 << 20));
        check(&"[".repeat(4_000), VerdictError::Form);
    }

    #[test]
    fn a_reason_is_short_and_of_one_line() {
        let answer = json!({
            "verdict": "person",
            "confidence": 1,
            "reason": format!("a\r\nb\u{202e}c\u{1b}[31m{}", "x".repeat(500)),
        });
        let reason = parse(&answer.to_string()).unwrap().reason;
        assert!(reason.starts_with("a  b c [31mx"), "{reason}");
        assert_eq!(reason.chars().count(), MOST_REASON);
    }

    #[test]
    fn the_schema_and_the_parser_name_the_same_words() {
        for word in schema()["properties"]["verdict"]["enum"]
            .as_array()
            .unwrap()
        {
            let answer = json!({ "verdict": word, "confidence": 0, "reason": "" });
            let parsed = parse(&answer.to_string()).unwrap();
            assert_eq!(parsed.verdict.name(), word.as_str().unwrap());
        }
    }
}
