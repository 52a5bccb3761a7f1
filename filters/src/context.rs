//! What building filters from their configuration needs.
//!
//! Building has no side effects beyond reading files, so that `check`, start and reload take the
//! same path and a whole configuration can be tried and thrown away.

use std::{any::Any, path::PathBuf, sync::Arc};

use thornwall_decisions::decisions::Decisions;
use thornwall_settings::report::Report;

use crate::{
    carry::Carry,
    counters::{Counters, MemoryCounters},
    escalation::Escalation,
    key::KeySeed,
    rate::{SharedLimit, adaptive::Adaptive},
    table_stats::TableStats,
};

/// Everything that filters may need while they are built.
pub struct FilterContext {
    /// What is wrong with the configuration. Its scope names the pipeline and filter being built.
    pub report: Report,
    /// State that outlives the generation.
    pub carry: Carry,
    /// Where models and their cards lie.
    pub models_dir: PathBuf,
    /// ONNX Runtime's shared library, where the configuration names it.
    pub onnxruntime: Option<PathBuf>,
    /// What is counted about clients.
    pub counters: Arc<dyn Counters>,
    /// What is decided at run time.
    pub decisions: Arc<Decisions>,
    /// The way to a second opinion, where there is one.
    pub escalation: Option<Arc<dyn Escalation>>,
    /// What the keys of limits are made with: the same in every generation.
    pub key_seed: KeySeed,
    /// Whether gateways share a store, and keep limits together.
    pub gateways_share: bool,
    /// Limits that they keep together.
    pub shared_limits: Vec<SharedLimit>,
    /// Limits of the pipeline being built that change with the origin, by the scopes of their
    /// filters.
    pub adaptive: Vec<(String, Arc<Adaptive>)>,
    /// Worker threads that will judge at the same time.
    pub workers: usize,
    /// Bounded tables of the generation being built, for their gauges.
    pub tables: Vec<(String, Arc<TableStats>)>,
}

impl Default for FilterContext {
    /// A context that nothing else shares.
    fn default() -> Self {
        Self {
            report: Report::default(),
            carry: Carry::default(),
            models_dir: PathBuf::new(),
            onnxruntime: None,
            counters: Arc::new(MemoryCounters::default()),
            decisions: Arc::default(),
            escalation: None,
            key_seed: KeySeed::default(),
            gateways_share: false,
            shared_limits: Vec::new(),
            adaptive: Vec::new(),
            workers: 0,
            tables: Vec::new(),
        }
    }
}

impl FilterContext {
    /// State of the filter being built, by name, taken over where it `fits`: see [`Carry::over`].
    pub fn carry_over<T: Any + Send + Sync>(
        &mut self,
        name: &str,
        fits: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        self.carry.over((&self.report.scope, name), fits, make)
    }

    /// Shows a bounded table's size, capacity and evictions in the metrics.
    pub fn show_table(&mut self, name: &str, stats: Arc<TableStats>) {
        self.tables
            .push((format!("{}.{name}", self.report.scope), stats));
    }
}
