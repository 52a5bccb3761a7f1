//! The steps that a configuration wants beyond what is in memory, cheapest first.

use std::sync::Arc;

use crate::{
    assess::Step, classifier::Classifier, config::ConfigFile, metrics::Metrics,
    reputation::Reputation,
};

/// The steps of a file.
pub fn build(file: &ConfigFile, metrics: &Metrics) -> Result<Vec<Arc<dyn Step>>, String> {
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    if let Some(step) = Reputation::build(file, &metrics.asking)? {
        steps.push(Arc::new(step));
    }
    if let Some(step) = Classifier::build(file, &metrics.asking)? {
        steps.push(Arc::new(step));
    }
    Ok(steps)
}
