//! A classifier that another service runs: `[classifier]`.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::Limits;
use crate::http::Address;

/// The service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classifier {
    /// Where cases are posted to.
    pub address: Address,
    /// File with its key, which is sent as a bearer's.
    pub key_file: Option<String>,
    /// Format of questions and answers.
    #[serde(default)]
    pub format: Format,
    /// What its surest answer weighs.
    #[serde(default = "most_weight")]
    pub most_weight: Spanned<f32>,
    /// What asking the classifier may cost.
    #[serde(default = "limits")]
    pub limits: Spanned<Limits>,
}

/// Format of questions and answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A whole case; a score and a reason come back.
    #[default]
    Thornwall,
    /// One request as the predecessor sent it; `is_bot` comes back.
    Predecessor,
}

fn most_weight() -> Spanned<f32> {
    Spanned::new(0..0, 0.6)
}

fn limits() -> Spanned<Limits> {
    Spanned::new(0..0, Limits::default())
}

impl Classifier {
    /// What is wrong with it, and where.
    pub(super) fn complaints(&self) -> Vec<(Range<usize>, String)> {
        let mut found = Vec::new();
        if !(0.0..=1.0).contains(self.most_weight.get_ref()) {
            let what = "`classifier.most_weight`: expected 0 to 1".to_owned();
            found.push((self.most_weight.span(), what));
        }
        if let Some(what) = self.limits.get_ref().complaint() {
            found.push((self.limits.span(), format!("`classifier.limits`: {what}")));
        }
        found
    }
}
