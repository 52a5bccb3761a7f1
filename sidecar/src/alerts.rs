//! Notifies people and programs of what cases came to: by webhook, in Slack, by mail.
//!
//! An assessment is offered to every alert that wants it and never waits for one: a full queue drops, and
//! what it dropped is reported as a number. Each alert has a task of its own (`task`), so that a receiver that
//! hangs delays no other. What becomes a message and when is decided by its `batcher`, which has no clock.
//!
//! A message is sent until it has arrived or is given up, so that it may come twice, with the same id. What
//! waits is on the disk within 200 ms (`outbox`) and is sent after a restart; which alerts were sent lately is
//! not, so that the same may be sent once more by a new process, or after SIGHUP.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use prometheus::IntCounter;
use thiserror::Error;
use thornwall_decisions::clock::ProcessTime;
use tokio::sync::mpsc;

use self::{batcher::Rules, channel::Channel, metrics::Counts, notice::Notice};
pub use self::{
    keeper::{Keeper, Running},
    metrics::AlertMetrics,
};
use crate::{
    assessment::{Assessment, Severity},
    case::Case,
    config::{ConfigError, ConfigFile},
};

mod batcher;
mod channel;
mod keeper;
mod mail;
mod message;
mod metrics;
mod notice;
mod outbox;
mod slack;
mod task;
pub mod trial;
mod webhook;

/// Alerts that may wait for their task.
const QUEUE: usize = 1024;
/// Configurations that may wait to be taken over.
const MOST_PLANS: usize = 8;

/// Where assessments are offered.
pub struct Alerts {
    inlets: ArcSwap<Vec<Inlet>>,
    plans: mpsc::Sender<Vec<Draft>>,
}

/// Error: earlier plans are still being taken over.
#[derive(Debug, Error)]
#[error("alerts are still being taken over; try again")]
pub struct TakeOverError;

/// The way to one alert's task.
#[derive(Debug)]
struct Inlet {
    least: Severity,
    sites: Vec<String>,
    sender: mpsc::Sender<Notice>,
    missed: Arc<AtomicU64>,
    dropped: IntCounter,
}

/// The other end of that way, before it has a task.
struct Draft {
    name: String,
    rules: Rules,
    channel: Channel,
    inbox: mpsc::Receiver<Notice>,
    missed: Arc<AtomicU64>,
    counts: Counts,
}

/// The alerts of a configuration, built and not begun.
pub struct Plan {
    inlets: Vec<Inlet>,
    drafts: Vec<Draft>,
}

impl Plan {
    /// Builds the alerts of a configuration; reads secrets, and changes nothing.
    pub fn build(file: &ConfigFile, metrics: &AlertMetrics) -> Result<Self, ConfigError> {
        let (mut inlets, mut drafts) = (Vec::new(), Vec::new());
        for alert in file.config.alert.iter().map(|alert| alert.get_ref()) {
            let channel = Channel::build(alert, &file.folder)?;
            let (sender, inbox) = mpsc::channel(QUEUE);
            let (missed, counts) = (Arc::new(AtomicU64::new(0)), metrics.of(&alert.name));
            inlets.push(Inlet {
                least: alert.least,
                sites: alert.sites.clone(),
                sender,
                missed: Arc::clone(&missed),
                dropped: counts.dropped.clone(),
            });
            drafts.push(Draft {
                name: alert.name.clone(),
                rules: alert.into(),
                channel,
                inbox,
                missed,
                counts,
            });
        }
        Ok(Self { inlets, drafts })
    }
}

/// Takes up a plan, with what an earlier process left to send.
pub fn open(
    plan: Plan,
    data_dir: &Path,
    metrics: &AlertMetrics,
    time: ProcessTime,
) -> (Alerts, Keeper) {
    let (plans, awaited) = mpsc::channel(MOST_PLANS);
    let alerts = Alerts {
        inlets: ArcSwap::from_pointee(plan.inlets),
        plans,
    };
    let keeper = Keeper::open(plan.drafts, awaited, data_dir, metrics, time);
    (alerts, keeper)
}

impl Alerts {
    /// Offers what a case came to. Never waits.
    pub fn offer(&self, case: &Case, assessment: &Assessment) {
        let inlets = self.inlets.load();
        let mut notice = None;
        for inlet in inlets.iter().filter(|inlet| inlet.wants(assessment)) {
            let made = notice.get_or_insert_with(|| Notice::of(case, assessment));
            if let Some(made) = made {
                inlet.offer(made.clone());
            }
        }
    }

    /// Lets another plan take the place of the one before, which hands over what waits.
    pub fn take_over(&self, plan: Plan) -> Result<(), TakeOverError> {
        let permit = self.plans.try_reserve();
        let permit = permit.map_err(|_| TakeOverError)?;
        // What is offered from now on waits for the new tasks.
        self.inlets.store(Arc::new(plan.inlets));
        permit.send(plan.drafts);
        Ok(())
    }
}

impl Inlet {
    fn wants(&self, assessment: &Assessment) -> bool {
        let site = self.sites.is_empty() || self.sites.contains(&assessment.site);
        site && Severity::of(assessment.consequence) >= Some(self.least)
    }

    fn offer(&self, notice: Notice) {
        if self.sender.try_send(notice).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
            self.dropped.inc();
        }
    }
}
