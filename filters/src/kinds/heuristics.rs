//! `heuristics`.

use serde::Deserialize;
use toml::Spanned;

use crate::{build::BuildContext, filter::Filter};

/// The table `heuristics`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// Builds the filter, or notes what is wrong.
pub fn build(_spec: &Spanned<Config>, _context: &mut BuildContext) -> Option<Box<dyn Filter>> {
    None
}
