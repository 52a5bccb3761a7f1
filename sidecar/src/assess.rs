//! The steps that a case goes through, cheapest first, until its score is sure.
//!
//! A case begins with what its gateway noticed. Each step adds evidence, and never takes any away: the
//! score is the noisy-or of all weights, `1 - Π(1 - w)` (Pearl 1988, section 4.3.2), as in the
//! gateway's own trails. So it is monotone, and its order changes nothing but the cost. Thresholds
//! make an action of it, and what a client came to before makes the action last longer.
//!
//! Steps that ask others are taken only for cases that the steps before them left in doubt, within the
//! band. One that text of the client may have led astray, a language model, limits how far it may
//! raise a score: `max(s, min(1 - (1 - s)(1 - w), ceiling))`, which is monotone too.
//!
//! A person's label of a client ends the steps: a client that was labelled a person or welcome is let
//! through, whatever the steps would find.

mod evidence;
mod memory;
mod rules;
mod step;

use std::sync::Arc;

pub(crate) use self::memory::Condemnation;
use self::{evidence::Evidence, memory::Past};
pub use self::{
    memory::Memory,
    step::{Finding, Step, StepError},
};
use crate::{
    assessment::{Assessment, Consequence, Label, TakenStep},
    case::Case,
    config::{Band, LadderSpec},
    wire,
};

/// The name in assessments of the step that asks language models: what it adds has a ceiling.
pub const LANGUAGE_MODEL: &str = "llm";

/// Judges cases.
pub struct Assessor {
    ladder: LadderSpec,
    band: Band,
    memory: Arc<Memory>,
    steps: Vec<Arc<dyn Step>>,
}

/// Whether a language model lifted a score. Its verdict about one case is no evidence in another, as that
/// would lead out of the band.
pub(crate) fn is_lifted(steps: &[TakenStep]) -> bool {
    let pairs = steps.windows(2);
    let lifted =
        |pair: &[TakenStep]| pair[1].name == LANGUAGE_MODEL && pair[1].score > pair[0].score;
    pairs.into_iter().any(lifted)
}

/// What a case came to, before anything is sent or written.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The assessment.
    pub assessment: Assessment,
    /// How long the action lasts; nothing where it is no decision.
    pub lifetime_ms: Option<u64>,
}

impl Assessor {
    /// An assessor with these thresholds, the memory of earlier cases, and the steps that ask services,
    /// cheapest first.
    pub fn new(
        ladder: LadderSpec,
        band: Band,
        memory: Arc<Memory>,
        steps: Vec<Arc<dyn Step>>,
    ) -> Self {
        Self {
            ladder,
            band,
            memory,
            steps,
        }
    }

    /// The memory of earlier cases.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes the steps that need nothing but memory, answers that others gave before among them.
    pub fn assess(&self, case: &Case, now_ms: u64) -> Outcome {
        let past = self.memory.past(case, now_ms);
        if let Some(label) = past.label {
            return self.spared(case, label, now_ms);
        }
        let mut evidence = self.begin(case, &past);
        let mut pending = false;
        for step in &self.steps {
            if !self.band.contains(evidence.score()) {
                break;
            }
            match step.recall(case, now_ms) {
                Some(found) => evidence.take(step.name(), || found),
                None => pending = true,
            }
        }
        self.conclude(case, evidence, &past, now_ms, pending)
    }

    /// Takes all steps, those that ask services among them.
    pub async fn assess_fully(&self, case: &Case, now_ms: u64) -> Outcome {
        let past = self.memory.past(case, now_ms);
        if let Some(label) = past.label {
            return self.spared(case, label, now_ms);
        }
        let mut evidence = self.begin(case, &past);
        for step in &self.steps {
            if !self.band.contains(evidence.score()) {
                break;
            }
            evidence.ask(step.as_ref(), case, now_ms).await;
        }
        self.conclude(case, evidence, &past, now_ms, false)
    }

    fn begin(&self, case: &Case, past: &Past) -> Evidence {
        let mut evidence = Evidence::new(case);
        evidence.take("history", || memory::judge(past));
        evidence.take("rules", || rules::judge(case));
        evidence
    }

    fn conclude(
        &self,
        case: &Case,
        evidence: Evidence,
        past: &Past,
        now_ms: u64,
        pending: bool,
    ) -> Outcome {
        let score = evidence.score();
        let consequence = self.ladder.consequence(score);
        let lifetime_ms = self.ladder.lifetime_ms(consequence, past.condemned);
        Outcome {
            assessment: Assessment {
                case: case.id,
                site: case.site.clone(),
                subject: case.subject,
                score,
                consequence,
                reason: evidence.reason(),
                steps: evidence.steps,
                decision: None,
                made_ms: now_ms,
                pending,
            },
            lifetime_ms,
        }
    }

    fn spared(&self, case: &Case, label: Label, now_ms: u64) -> Outcome {
        let step = TakenStep {
            name: "history".to_owned(),
            score: 0.0,
            evidence: format!("a person said: {}", wire::label_name(label)),
            took_us: 0,
            failed: false,
        };
        Outcome {
            assessment: Assessment {
                case: case.id,
                site: case.site.clone(),
                subject: case.subject,
                score: 0.0,
                consequence: Consequence::None,
                reason: "sidecar.feedback".to_owned(),
                steps: vec![step],
                decision: None,
                made_ms: now_ms,
                pending: false,
            },
            lifetime_ms: None,
        }
    }
}

#[cfg(test)]
mod tests;
