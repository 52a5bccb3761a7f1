//! The steps that a configuration wants beyond what is in memory, cheapest first.

use std::sync::Arc;

use crate::{assess::Step, config::ConfigFile};

/// The steps of a file.
pub fn build(_file: &ConfigFile) -> Result<Vec<Arc<dyn Step>>, String> {
    Ok(Vec::new())
}
