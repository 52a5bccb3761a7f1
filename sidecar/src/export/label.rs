//! The label of a case's client, and its source.

use serde::Serialize;

use crate::assessment::{Explanation, Label, Truth};

/// What a client is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) label: Label,
    pub(super) by: By,
}

/// Source of a label, the most trustworthy first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// A person looked at the case.
    Person,
    /// The client followed a link that only the tarpit has.
    Trap,
    /// The client's address was verified as a welcome crawler's.
    Verified,
    /// An operator decided about the subject, for whatever reason.
    Operator,
    /// A language model weighed most in a decision.
    Llm,
    /// The other steps came to a decision.
    Ladder,
}

impl By {
    /// Whether it is this system's own opinion, or not about the case, and so nothing to learn from.
    pub(super) const fn is_weak(self) -> bool {
        matches!(self, Self::Operator | Self::Llm | Self::Ladder)
    }
}

impl Judged {
    /// The most trustworthy label of a case; a case that came to nothing has none, as not to have
    /// been condemned makes no client a person.
    pub(super) fn of(kept: &Explanation) -> Option<Self> {
        let judged = |label, by| Some(Self { label, by });
        if let Some(label) = kept.label {
            return judged(label, By::Person);
        }
        if kept.proved.contains(&Truth::Trap) {
            return judged(Label::Scraper, By::Trap);
        }
        if kept.proved.contains(&Truth::Verified) {
            return judged(Label::WelcomeBot, By::Verified);
        }
        let assessment = kept.assessment.as_ref()?;
        let decision = assessment.decision.as_ref()?;
        let by = match assessment.reason.as_str() {
            _ if decision.by_operator => By::Operator,
            "sidecar.llm" => By::Llm,
            _ => By::Ladder,
        };
        judged(Label::Scraper, by)
    }
}
