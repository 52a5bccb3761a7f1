//! What building the filters needs, and what is carried over to them from the generation before.

use std::{path::PathBuf, sync::Arc};

use thornwall_filters::{
    carry::Carry,
    context::FilterContext,
    counters::{MemoryCounters, SharedCounters},
    key::KeySeed,
};
use thornwall_settings::{file::ConfigFile, report::Report};

use super::{Inputs, cold::threads};
use crate::{config::Config, escalate::Sidecars, robots::Robots};

/// The context that filters are built in, and the counters in it that other gateways keep too.
pub(super) fn context(
    file: &ConfigFile,
    config: &Config,
    inputs: &Inputs<'_>,
) -> (FilterContext, Option<Arc<SharedCounters>>) {
    let folder = file.folder();
    let resolve = |path: &String| folder.join(path);
    let mut context = FilterContext {
        models_dir: config
            .server
            .models_dir
            .as_ref()
            .map_or_else(default_models_dir, resolve),
        onnxruntime: config.server.onnxruntime.as_ref().map(resolve),
        workers: threads(config),
        decisions: Arc::clone(inputs.decisions),
        gateways_share: config.store.url.is_some(),
        key_seed: match config.store.url {
            Some(_) => KeySeed::shared(config.store.tenant.get_ref()),
            None => KeySeed::new(inputs.secret),
        },
        carry: Carry {
            previous: inputs
                .previous
                .map(|previous| previous.carried.clone())
                .unwrap_or_default(),
            ..Carry::default()
        },
        report: Report {
            file: file.path.clone(),
            folder,
            scope: "clients".to_owned(),
            ..Report::default()
        },
        ..FilterContext::default()
    };
    let shared = context
        .gateways_share
        .then(|| context.carry_over("shared_counters", |_| true, SharedCounters::default));
    let stats = match &shared {
        Some(counters) => {
            context.counters = Arc::<SharedCounters>::clone(counters);
            counters.local().stats()
        }
        None => {
            let counters: Arc<MemoryCounters> =
                context.carry_over("counters", |_| true, MemoryCounters::default);
            let stats = counters.stats();
            context.counters = counters;
            stats
        }
    };
    for (name, stats) in stats {
        context.show_table(name, stats);
    }
    (context, shared)
}

/// What is kept for sidecars, over all generations. What is wrong with `[escalation]` is reported
/// where it is resolved.
pub(super) fn sidecars(config: &Config, context: &mut FilterContext) -> Option<Arc<Sidecars>> {
    let spec = config.escalation.as_ref()?;
    let addresses: Vec<&str> = spec.addresses().iter().map(|(text, _)| *text).collect();
    let decisions = Arc::clone(&context.decisions);
    let most = *spec.max_cases.get_ref();
    let fresh = Sidecars::new(&addresses, most, context.key_seed, decisions)?;
    context.report.scope = "escalation".to_owned();
    let sidecars = context.carry_over("sidecars", |_| true, || fresh);
    context.escalation = Some(Arc::<Sidecars>::clone(&sidecars));
    Some(sidecars)
}

/// Where packages put the models.
const INSTALLED_MODELS: &str = "/usr/share/thornwall/models";

fn default_models_dir() -> PathBuf {
    let here = PathBuf::from("models");
    if here.is_dir() {
        return here;
    }
    PathBuf::from(INSTALLED_MODELS)
}

/// What is known of the hosts' robots.txt.
pub(super) fn robots(context: &mut FilterContext) -> Arc<Robots> {
    context.report.scope = "sites".to_owned();
    let robots = context.carry_over("robots", |_| true, Robots::default);
    context.show_table("robots", robots.stats());
    robots
}
