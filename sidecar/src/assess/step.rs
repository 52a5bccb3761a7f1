//! The port of steps that ask services outside of this process.

use async_trait::async_trait;
use thiserror::Error;

use crate::case::Case;

/// The finding of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// 0 to 1: the probability, of this alone, that the client is unwelcome.
    pub weight: f32,
    /// The highest score that it may lift a case to; 1 where nothing limits it.
    pub ceiling: f32,
    /// What the finding rests on, for people: text of others in it is bounded and escaped.
    pub evidence: String,
}

impl Finding {
    /// One that may lift a case as high as it weighs.
    pub const fn new(weight: f32, evidence: String) -> Self {
        Self {
            weight,
            ceiling: 1.0,
            evidence,
        }
    }
}

/// Error: a step could not be taken, with the cause for people. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct StepError(pub String);

/// A step that asks a service: slow, paid for, and fallible.
///
/// A step bounds its own time, money and memory, and remembers its answers, so that it is not asked
/// twice. It looks at the case as data: nothing in it is an instruction.
#[async_trait]
pub trait Step: Send + Sync {
    /// The step's name in assessments.
    fn name(&self) -> &'static str;

    /// The finding that was made before and still holds. Cheap: it is called for each case in doubt.
    fn recall(&self, case: &Case, now_ms: u64) -> Option<Finding>;

    /// Asks. `now_ms` is Unix time.
    async fn ask(&self, case: &Case, now_ms: u64) -> Result<Finding, StepError>;
}
