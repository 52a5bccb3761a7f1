//! What building a filter from its configuration needs, and where it puts its complaints.
//!
//! Building has no side effects beyond reading files, so that `check`, start and reload take the
//! same path and a whole configuration can be tried and thrown away.

use std::{
    any::Any,
    collections::HashMap,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::Spanned;

use crate::{
    counters::{Counters, MemoryCounters},
    escalation::Escalation,
    key::KeySeed,
    rate::{SharedLimit, adaptive::Adaptive},
    table_stats::TableStats,
};
use thornwall_decisions::decisions::Decisions;
use thornwall_settings::load::Problem;

/// Everything that filters may need while they are built.
pub struct BuildContext {
    /// Folder of the configuration file: relative paths start here.
    pub folder: PathBuf,
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
    /// State of the running generation, by name, that may live on in the next.
    pub previous: Carried,
    /// State of the generation being built, offered to the one after it.
    pub carried: Carried,
    /// Bounded tables of the generation being built, for their gauges.
    pub tables: Vec<(String, Arc<TableStats>)>,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    /// What works but deserves a second look; `check` prints it.
    pub warnings: Vec<String>,
    /// The file that spans point into.
    pub file: PathBuf,
    /// Name of the pipeline and filter being built, for table names.
    pub scope: String,
}

impl Default for BuildContext {
    /// A context that nothing else shares.
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
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
            previous: Carried::new(),
            carried: Carried::new(),
            tables: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            file: PathBuf::new(),
            scope: String::new(),
        }
    }
}

/// State that outlives a generation, by the name of its owner.
pub type Carried = HashMap<String, Arc<dyn Any + Send + Sync>>;

impl BuildContext {
    /// Notes a mistake at a place in the configuration file.
    pub fn problem(&mut self, span: Range<usize>, what: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            span: Some(span),
            what: what.into(),
        });
    }

    /// The value of a key where there is one, or `None` and a note where it is out of range.
    pub fn within(
        &mut self,
        name: &str,
        value: Option<&Spanned<u64>>,
        range: RangeInclusive<u64>,
    ) -> Option<Option<u64>> {
        let Some(spanned) = value else {
            return Some(None);
        };
        let value = *spanned.get_ref();
        if !range.contains(&value) {
            let (least, most) = range.into_inner();
            let what = format!("`{name}` is {value}; expected {least} to {most}");
            self.problem(spanned.span(), what);
            return None;
        }
        Some(Some(value))
    }

    /// A path from the configuration, relative to the folder of its file.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(Path::new(path))
    }

    /// Takes over the running generation's state of this name where `fits` says that it still
    /// matches its configuration, or makes it anew.
    pub fn carry_over<T: Any + Send + Sync>(
        &mut self,
        name: &str,
        fits: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let key = format!("{}.{name}", self.scope);
        let state = self
            .previous
            .get(&key)
            .and_then(|state| Arc::clone(state).downcast::<T>().ok())
            .filter(|state| fits(state))
            .unwrap_or_else(|| Arc::new(make()));
        let kept: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(&state);
        self.carried.insert(key, kept);
        state
    }

    /// Shows a bounded table's size, capacity and evictions in the metrics.
    pub fn show_table(&mut self, name: &str, stats: Arc<TableStats>) {
        self.tables.push((format!("{}.{name}", self.scope), stats));
    }
}
