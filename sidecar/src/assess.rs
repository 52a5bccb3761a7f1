//! The ladder that a case goes up, cheapest step first, until it is sure.
//!
//! A case begins with what its gateway noticed. Each step adds evidence, and never takes any away: the
//! score is the noisy-or of all weights, `1 - Π(1 - w)` (Pearl 1988, section 4.3.2), as in the
//! gateway's own trails. So it is monotone, and its order changes nothing but the cost. Thresholds
//! make an action of it, and what a client came to before makes the action last longer.
//!
//! A person's word about a client ends the ladder: whoever was said to be a person or welcome is let
//! be, whatever the steps would find.

mod history;
mod rules;

use std::time::Instant;

use thornwall_proto::v1;

pub use self::history::{Memory, Past};
use crate::{case::Case, config::Ladder};

/// The score from which no step can make a difference.
const SURE: f32 = 0.995;

/// What a step found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finding {
    /// 0 to 1: the probability, of this alone, that the client is unwelcome.
    pub weight: f32,
    /// What it rests on.
    pub evidence: String,
}

/// Judges cases by what is in memory.
pub struct Assessor {
    ladder: Ladder,
    memory: Memory,
}

/// What a case came to, before anything is told or written.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What is told.
    pub assessment: v1::Assessment,
    /// How long the action lasts; nothing where it is no decision.
    pub lifetime_ms: Option<u64>,
}

impl Assessor {
    /// One with these thresholds, and what was condemned before.
    pub const fn new(ladder: Ladder, memory: Memory) -> Self {
        Self { ladder, memory }
    }

    /// What was condemned before, and what people said.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes the steps that need nothing but memory.
    pub fn assess(&self, case: &Case, now_ms: u64) -> Outcome {
        let past = self.memory.past(case, now_ms);
        if let Some(label) = past.label {
            return self.spared(case, label, now_ms);
        }
        let mut climb = Climb::new(case);
        climb.take("history", || history::judge(&past));
        climb.take("rules", || rules::judge(case));
        self.conclude(case, climb, &past, now_ms)
    }

    fn conclude(&self, case: &Case, climb: Climb, past: &Past, now_ms: u64) -> Outcome {
        let score = climb.score();
        let action = self.ladder.action(score);
        let lifetime_ms = self.ladder.lifetime_ms(action, past.condemned);
        Outcome {
            assessment: v1::Assessment {
                case_id: case.id.to_string(),
                site: case.site.clone(),
                subject: case.subject.to_string(),
                score,
                action: action.into(),
                reason: climb.reason(),
                steps: climb.steps,
                decision: None,
                made_ms: now_ms,
            },
            lifetime_ms,
        }
    }

    fn spared(&self, case: &Case, label: v1::Label, now_ms: u64) -> Outcome {
        let step = v1::Step {
            name: "history".to_owned(),
            score: 0.0,
            evidence: format!("a person said: {}", label.as_str_name()),
            took_us: 0,
            failed: false,
        };
        Outcome {
            assessment: v1::Assessment {
                case_id: case.id.to_string(),
                site: case.site.clone(),
                subject: case.subject.to_string(),
                score: 0.0,
                action: v1::Action::None.into(),
                reason: "sidecar.feedback".to_owned(),
                steps: vec![step],
                decision: None,
                made_ms: now_ms,
            },
            lifetime_ms: None,
        }
    }
}

/// One case on its way up.
struct Climb {
    innocent: f32,
    steps: Vec<v1::Step>,
    strongest: (f32, String),
}

impl Climb {
    /// What the gateway noticed of all its requests together is the first evidence.
    fn new(case: &Case) -> Self {
        let innocent: f32 = case
            .signals
            .iter()
            .map(|signal| 1.0 - signal.weight)
            .product();
        let most = case
            .signals
            .iter()
            .max_by(|a, b| a.weight.total_cmp(&b.weight));
        let strongest = most.map(|signal| (signal.weight, signal.reason.clone()));
        Self {
            innocent: innocent.min(1.0 - case.score),
            steps: Vec::new(),
            strongest: strongest.unwrap_or_else(|| (0.0, "sidecar.score".to_owned())),
        }
    }

    fn score(&self) -> f32 {
        (1.0 - self.innocent).clamp(0.0, 1.0)
    }

    fn reason(&self) -> String {
        self.strongest.1.clone()
    }

    #[expect(clippy::disallowed_methods, reason = "what a step takes is shown")]
    fn take(&mut self, name: &str, step: impl FnOnce() -> Finding) {
        if self.score() >= SURE {
            return;
        }
        let began = Instant::now();
        let found = step();
        let weight = found.weight.clamp(0.0, 1.0);
        self.innocent *= 1.0 - weight;
        if weight > self.strongest.0 {
            self.strongest = (weight, format!("sidecar.{name}"));
        }
        self.steps.push(v1::Step {
            name: name.to_owned(),
            score: self.score(),
            evidence: found.evidence,
            took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            failed: false,
        });
    }
}

#[cfg(test)]
mod tests;
