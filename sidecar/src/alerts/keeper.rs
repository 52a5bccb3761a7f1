//! Who keeps the tasks of alerts: begins them with what waits on the disk, lets those of a new configuration
//! take their place, and ends them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thornwall_decisions::clock::ProcessTime;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{
    AlertMetrics, Draft,
    desk::{Desk, State},
    notice::timestamp,
    spool::{DeadLetters, Letter, Spool},
    task::{Saving, Steady, Task},
};
use crate::shutdown::stopped;

/// Longest wait for all tasks when they end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Keeps the tasks, once it is started.
pub struct Keeper {
    desks: Desks,
    tasks: Vec<Task>,
    plans: mpsc::Receiver<Vec<Draft>>,
}

/// What every task needs to begin.
#[derive(Clone)]
struct Desks {
    folder: PathBuf,
    dead: Arc<DeadLetters>,
    metrics: AlertMetrics,
    clock: Steady,
}

/// A keeper that runs.
pub struct Running {
    stop: watch::Sender<bool>,
    keeper: JoinHandle<()>,
}

/// Tasks that run.
struct Crew {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Keeper {
    /// Reads what waits for the first plan.
    pub(super) fn open(
        drafts: Vec<Draft>,
        plans: mpsc::Receiver<Vec<Draft>>,
        data_dir: &Path,
        metrics: &AlertMetrics,
        time: ProcessTime,
    ) -> Self {
        let desks = Desks {
            folder: data_dir.join("alerts"),
            dead: Arc::new(DeadLetters::open(data_dir, metrics.dead_letters.clone())),
            metrics: metrics.clone(),
            clock: Steady::new(time),
        };
        Self {
            tasks: desks.seat(drafts),
            desks,
            plans,
        }
    }

    /// Lets the tasks run.
    pub fn start(self, runtime: &Handle) -> Running {
        let (stop, stopping) = watch::channel(false);
        let keeper = runtime.spawn(self.run(stopping));
        Running { stop, keeper }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut crew = Crew::start(self.tasks);
        loop {
            let next = tokio::select! {
                next = self.plans.recv() => next,
                () = stopped(&mut stop) => break,
            };
            let Some(drafts) = next else { break };
            crew = self.desks.replaced(crew, drafts).await;
        }
        // What was offered to a plan that waits is not lost.
        self.plans.close();
        while let Some(drafts) = self.plans.recv().await {
            crew = self.desks.replaced(crew, drafts).await;
        }
        crew.finish().await;
    }
}

impl Running {
    /// Ends the tasks once they have written down what still waits.
    pub async fn finish(self) {
        // A keeper that panicked has said so.
        let _ = self.stop.send(true);
        let _ = self.keeper.await;
    }
}

impl Crew {
    fn start(tasks: Vec<Task>) -> Self {
        let (stop, stopping) = watch::channel(false);
        let start = |task: Task| tokio::spawn(task.run(stopping.clone()));
        let tasks = tasks.into_iter().map(start).collect();
        Self { stop, tasks }
    }

    async fn finish(self) {
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

impl Desks {
    /// The tasks of a new plan, once the ones before have written down what waits.
    async fn replaced(&self, before: Crew, drafts: Vec<Draft>) -> Crew {
        before.finish().await;
        let desks = self.clone();
        let seated = spawn_blocking(move || desks.seat(drafts)).await;
        // Reading that panicked has said so.
        Crew::start(seated.unwrap_or_default())
    }

    /// Tasks with what waits for them. What waits for others is given up.
    fn seat(&self, drafts: Vec<Draft>) -> Vec<Task> {
        let names: Vec<String> = drafts.iter().map(|draft| draft.name.clone()).collect();
        let tasks = drafts.into_iter().map(|draft| self.task(draft)).collect();
        self.bury_others(&names);
        tasks
    }

    fn task(&self, draft: Draft) -> Task {
        let spool = Spool::of(&self.folder, &draft.name);
        let state = spool.load().unwrap_or_else(|error| {
            draft.counts.disk.inc();
            log::error!(
                "waiting alerts cannot be read; alert={} error={error}",
                draft.name
            );
            State::default()
        });
        Task {
            name: draft.name,
            desk: Desk::new(draft.rules, state, self.clock.now().own_ms),
            channel: Arc::new(draft.channel),
            inbox: draft.inbox,
            missed: draft.missed,
            spool: Arc::new(spool),
            dead: Arc::clone(&self.dead),
            counts: draft.counts,
            clock: self.clock,
            saving: Saving::default(),
        }
    }

    /// Makes dead letters of what waits for alerts that are not configured any more. Nothing of that
    /// keeps the others from being sent.
    fn bury_others(&self, known: &[String]) {
        let names = Spool::names(&self.folder).unwrap_or_else(|error| {
            log::error!("waiting alerts cannot be looked for; error={error}");
            Vec::new()
        });
        for name in names.into_iter().filter(|name| !known.contains(name)) {
            let counts = self.metrics.of(&name);
            match self.bury(&name) {
                Ok(messages) => counts.dead.inc_by(messages),
                Err(error) => {
                    counts.disk.inc();
                    log::error!("waiting alerts cannot be given up; alert={name} error={error}");
                }
            }
        }
    }

    fn bury(&self, name: &str) -> io::Result<u64> {
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
                given_up: timestamp(self.clock.now().unix_ms),
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
