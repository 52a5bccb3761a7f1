//! The steps that a configuration wants beyond what is in memory, cheapest first.

use std::sync::Arc;

use thiserror::Error;

use crate::{
    assess::Step,
    classifier::Classifier,
    config::{self, ConfigError, ConfigFile},
    llm::{Llm, LlmMetrics, Paid, Provider, ProviderError},
    metrics::Metrics,
    reputation::Reputation,
};

/// Error: the steps of a configuration cannot be built.
#[derive(Debug, Error)]
pub enum StepsError {
    /// A service's settings, or a file that they name, cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A provider of a language model cannot be used.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// The steps of a file. What was paid for outlives a change of it.
pub(crate) fn build(
    file: &ConfigFile,
    paid: &Arc<Paid>,
    metrics: &Metrics,
) -> Result<Vec<Arc<dyn Step>>, StepsError> {
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    if let Some(step) = Reputation::build(file, &metrics.services)? {
        steps.push(Arc::new(step));
    }
    if let Some(step) = Classifier::build(file, &metrics.services)? {
        steps.push(Arc::new(step));
    }
    if let Some(llm) = &file.config.llm {
        let llm = model(file, llm.get_ref(), paid, &metrics.llm);
        steps.extend(llm?);
    }
    Ok(steps)
}

/// The step that asks language models, where there is one to ask.
fn model(
    file: &ConfigFile,
    llm: &config::Llm,
    paid: &Arc<Paid>,
    metrics: &LlmMetrics,
) -> Result<Option<Arc<dyn Step>>, ProviderError> {
    let providers = llm.provider.iter().map(|written| {
        let written = written.get_ref();
        let key_file = written.key_file.as_deref().map(|path| file.resolve(path));
        Provider::new(written.clone(), key_file)
    });
    let providers = providers.collect::<Result<Vec<_>, _>>()?;
    if providers.is_empty() {
        return Ok(None);
    }
    let ceiling = file.config.band.get_ref().to;
    let (paid, metrics) = (Arc::clone(paid), metrics.clone());
    let step = Llm::new(llm.clone(), ceiling, providers, paid, metrics);
    Ok(Some(Arc::new(step)))
}
