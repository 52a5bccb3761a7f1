//! What becomes of a filter's verdicts.

use serde::Deserialize;

/// Whether a filter acts or only watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Its verdicts and signals count.
    #[default]
    Enforce,
    /// Its verdicts and signals are counted in metrics and shown, and change nothing.
    Observe,
}

impl Mode {
    /// The label of metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// What happens to a request that a filter failed to judge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It is refused.
    Deny,
    /// The next filter decides.
    #[default]
    Pass,
}
