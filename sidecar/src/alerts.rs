//! Tells people and programs what cases came to: by webhook, in Slack, by mail.
//!
//! An assessment is offered to every alert that wants it and never waits for one: a full queue drops, and
//! what it dropped is told as a number. Each alert has a task of its own (`task`), so that a receiver that
//! hangs delays no other. What becomes a message and when is decided by its `desk`, which has no clock.
//!
//! A message is sent until it has arrived or is given up, so that it may come twice, with the same id. What
//! waits is on the disk within 200 ms (`spool`) and is sent after a restart; which alerts were told lately is
//! not, so that the same may be told once more by a new process.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus::IntCounter;
use thornwall_filters::clock::ProcessTime;
use thornwall_proto::v1;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

pub use self::metrics::AlertMetrics;
use self::{
    channel::Channel,
    desk::{Desk, State},
    notice::{Notice, timestamp},
    spool::{DeadLetters, Letter, Spool},
    task::{Steady, Task},
};
use crate::{
    case::Case,
    config::{self, ConfigFile, Severity},
};

mod channel;
mod desk;
mod mail;
mod message;
mod metrics;
mod notice;
mod slack;
mod spool;
mod task;
pub mod trial;
mod webhook;

/// Alerts that may wait for their task.
const QUEUE: usize = 1024;
/// Longest wait for all tasks when the process ends.
const FAREWELL: Duration = Duration::from_secs(10);

/// Where assessments are offered.
#[derive(Debug, Default)]
pub struct Alerts(Vec<Inlet>);

/// The way to one alert's task.
#[derive(Debug)]
struct Inlet {
    least: Severity,
    sites: Vec<String>,
    tell: mpsc::Sender<Notice>,
    missed: Arc<AtomicU64>,
    dropped: IntCounter,
}

impl Alerts {
    /// Offers what a case came to. Never waits.
    pub fn offer(&self, case: &Case, assessment: &v1::Assessment) {
        let wanted = self.0.iter().filter(|inlet| inlet.wants(assessment));
        let mut notice = None;
        for inlet in wanted {
            let made = notice.get_or_insert_with(|| Notice::of(case, assessment));
            if let Some(made) = made {
                inlet.offer(made.clone());
            }
        }
    }
}

impl Inlet {
    fn wants(&self, assessment: &v1::Assessment) -> bool {
        let site = self.sites.is_empty() || self.sites.contains(&assessment.site);
        site && Severity::of(assessment.action()).is_some_and(|action| action >= self.least)
    }

    fn offer(&self, notice: Notice) {
        if self.tell.try_send(notice).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
            self.dropped.inc();
        }
    }
}

/// Tasks that have not begun.
pub struct Tasks(Vec<Task>);

/// Tasks that run.
pub struct Running {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Builds what the file says, with what an earlier process left to send.
pub fn build(
    file: &ConfigFile,
    data_dir: &Path,
    metrics: &AlertMetrics,
    time: ProcessTime,
) -> Result<(Alerts, Tasks), String> {
    let clock = Steady::new(time);
    let dead = Arc::new(DeadLetters::open(data_dir, metrics.dead_letters.clone()));
    let folder = data_dir.join("alerts");
    let (mut inlets, mut tasks) = (Vec::new(), Vec::new());
    for alert in file.config.alert.iter().map(|alert| alert.get_ref()) {
        let (tell, inbox) = mpsc::channel(QUEUE);
        let (missed, counts) = (Arc::new(AtomicU64::new(0)), metrics.of(&alert.name));
        let spool = Spool::of(&folder, &alert.name);
        let state = spool.load().unwrap_or_else(|error| {
            counts.disk.inc();
            log::error!(
                "waiting alerts cannot be read; alert={} error={error}",
                alert.name
            );
            State::default()
        });
        inlets.push(Inlet {
            least: alert.least,
            sites: alert.sites.clone(),
            tell,
            missed: Arc::clone(&missed),
            dropped: counts.dropped.clone(),
        });
        tasks.push(Task {
            name: alert.name.clone(),
            desk: Desk::new(alert.into(), state, clock.now().own_ms),
            channel: Arc::new(Channel::build(alert, &file.folder)?),
            inbox,
            missed,
            spool: Arc::new(spool),
            dead: Arc::clone(&dead),
            counts,
            clock,
            saving: task::Saving::default(),
        });
    }
    let orphans = Orphans {
        folder,
        dead,
        given_up: timestamp(clock.now().unix_ms),
    };
    orphans.bury(&file.config.alert, metrics);
    Ok((Alerts(inlets), Tasks(tasks)))
}

/// What waits for alerts that are no longer configured.
struct Orphans {
    folder: PathBuf,
    dead: Arc<DeadLetters>,
    given_up: String,
}

impl Orphans {
    /// Makes dead letters of it. Nothing of that keeps the process from starting.
    fn bury(&self, alerts: &[toml::Spanned<config::Alert>], metrics: &AlertMetrics) {
        let names = Spool::names(&self.folder).unwrap_or_else(|error| {
            log::error!("waiting alerts cannot be looked for; error={error}");
            Vec::new()
        });
        let is_known = |name: &String| alerts.iter().any(|alert| alert.get_ref().name == *name);
        for name in names.into_iter().filter(|name| !is_known(name)) {
            let counts = metrics.of(&name);
            match self.bury_one(&name) {
                Ok(messages) => counts.dead.inc_by(messages),
                Err(error) => {
                    counts.disk.inc();
                    log::error!("waiting alerts cannot be given up; alert={name} error={error}");
                }
            }
        }
    }

    fn bury_one(&self, name: &str) -> std::io::Result<u64> {
        let spool = Spool::of(&self.folder, name);
        let state = spool.load()?;
        let under_way = state
            .current
            .map(|current| (current.tries, current.message));
        let waiting = (!state.pile.is_empty()).then(|| (0, state.pile.into_message()));
        let mut messages = 0;
        for (tries, message) in under_way.into_iter().chain(waiting) {
            self.dead.add(&Letter {
                alert: name.to_owned(),
                given_up: self.given_up.clone(),
                tries,
                why: "the alert is not configured any more".to_owned(),
                message,
            })?;
            messages += 1;
        }
        spool.remove()?;
        if messages > 0 {
            log::warn!(
                "alerts are given up, since theirs is not configured any more; alert={name} messages={messages}"
            );
        }
        Ok(messages)
    }
}

impl Tasks {
    /// Lets them run.
    pub fn start(self, runtime: &Handle) -> Running {
        let (stop, stopping) = watch::channel(false);
        let start = |task: Task| runtime.spawn(task.run(stopping.clone()));
        let tasks = self.0.into_iter().map(start).collect();
        Running { stop, tasks }
    }
}

impl Running {
    /// Ends them once they have written down what still waits.
    pub async fn finish(self) {
        // Without any alert nobody listens.
        let _ = self.stop.send(true);
        let all = async {
            for task in self.tasks {
                // A task that panicked has said so.
                let _ = task.await;
            }
        };
        if timeout(FAREWELL, all).await.is_err() {
            log::warn!("alerts were cut off after {} s", FAREWELL.as_secs());
        }
    }
}
