//! What goes on beside the requests: looking up names and checking health.

use std::{collections::HashSet, sync::Arc, time::Duration};

use thornwall_decisions::clock::ProcessTime;
use tokio::task::JoinSet;

use super::{Upstream, health::keep_checking, resolve::keep_looking_up};

impl Upstream {
    /// Begins to look up its names and to check its servers, for the generation that serves alone.
    pub(crate) fn tend(self: Arc<Self>, time: ProcessTime, tasks: &mut JoinSet<()>) {
        self.forget_what_is_gone(time.since_start());
        self.forget_checks(time.since_start());
        if self.named().next().is_some() {
            tasks.spawn(keep_looking_up(Arc::clone(&self), time));
        }
        if self.settings.health_check.is_some() {
            tasks.spawn(keep_checking(self, time));
        }
    }

    /// For the generation that serves alone: another one may have other servers.
    pub(super) fn forget_what_is_gone(&self, now: Duration) {
        let table = self.table.load();
        let keys: HashSet<_> = table
            .endpoints
            .iter()
            .map(|endpoint| endpoint.key)
            .collect();
        self.learned.keep_health(&keys, now);
        let names = self.named().map(|(label, _, _)| &**label).collect();
        self.learned.keep_answers(&names, now);
    }
}
