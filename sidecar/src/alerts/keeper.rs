//! The tasks of alerts: begins them with what waits on the disk, lets those of a new configuration
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
    batcher::{Batcher, State},
    notice::timestamp,
    outbox::{DeadLetter, DeadLetters, Outbox},
    task::{Saving, Steady, Task},
};
use crate::shutdown::stopped;

/// Longest wait for all tasks when they end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Keeps the tasks, once it is started.
pub struct Keeper {
    parts: TaskParts,
    tasks: Vec<Task>,
    plans: mpsc::Receiver<Vec<Draft>>,
}

/// What every task needs to begin.
#[derive(Clone)]
struct TaskParts {
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

struct RunningTasks {
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
        let parts = TaskParts {
            folder: data_dir.join("alerts"),
            dead: Arc::new(DeadLetters::open(data_dir, metrics.dead_letters.clone())),
            metrics: metrics.clone(),
            clock: Steady::new(time),
        };
        Self {
            tasks: parts.build_tasks(drafts),
            parts,
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
        let mut tasks = RunningTasks::start(self.tasks);
        loop {
            let next = tokio::select! {
                next = self.plans.recv() => next,
                () = stopped(&mut stop) => break,
            };
            let Some(drafts) = next else { break };
            tasks = self.parts.replaced(tasks, drafts).await;
        }
        // What was offered to a plan that waits is not lost.
        self.plans.close();
        while let Some(drafts) = self.plans.recv().await {
            tasks = self.parts.replaced(tasks, drafts).await;
        }
        tasks.finish().await;
    }
}

impl Running {
    /// Ends the tasks once they have written down what still waits.
    pub async fn finish(self) {
        // A keeper that panicked has logged it.
        let _ = self.stop.send(true);
        let _ = self.keeper.await;
    }
}

impl RunningTasks {
    fn start(tasks: Vec<Task>) -> Self {
        let (stop, stopping) = watch::channel(false);
        let start = |task: Task| tokio::spawn(task.run(stopping.clone()));
        let tasks = tasks.into_iter().map(start).collect();
        Self { stop, tasks }
    }

    async fn finish(self) {
        // Without any alert there is no receiver.
        let _ = self.stop.send(true);
        let all = async {
            for task in self.tasks {
                // A task that panicked has logged it.
                let _ = task.await;
            }
        };
        if timeout(FAREWELL, all).await.is_err() {
            log::warn!("alerts were cut off after {} s", FAREWELL.as_secs());
        }
    }
}

impl TaskParts {
    /// The tasks of a new plan, once the ones before have written down what waits.
    async fn replaced(&self, before: RunningTasks, drafts: Vec<Draft>) -> RunningTasks {
        before.finish().await;
        let parts = self.clone();
        let built = spawn_blocking(move || parts.build_tasks(drafts)).await;
        // Reading that panicked has logged it.
        RunningTasks::start(built.unwrap_or_default())
    }

    /// Tasks with what waits for them. What waits for others is given up.
    fn build_tasks(&self, drafts: Vec<Draft>) -> Vec<Task> {
        let names: Vec<String> = drafts.iter().map(|draft| draft.name.clone()).collect();
        let tasks = drafts.into_iter().map(|draft| self.task(draft)).collect();
        self.give_up_others(&names);
        tasks
    }

    fn task(&self, draft: Draft) -> Task {
        let outbox = Outbox::of(&self.folder, &draft.name);
        let state = outbox.load().unwrap_or_else(|error| {
            draft.counts.disk.inc();
            log::error!(
                "waiting alerts cannot be read; alert={} error={error}",
                draft.name
            );
            State::default()
        });
        Task {
            name: draft.name,
            batcher: Batcher::new(draft.rules, state, self.clock.now().own_ms),
            channel: Arc::new(draft.channel),
            inbox: draft.inbox,
            missed: draft.missed,
            outbox: Arc::new(outbox),
            dead: Arc::clone(&self.dead),
            counts: draft.counts,
            clock: self.clock,
            saving: Saving::default(),
        }
    }

    /// Makes dead letters of what waits for alerts that are not configured any more. Nothing of that
    /// keeps the others from being sent.
    fn give_up_others(&self, known: &[String]) {
        let names = Outbox::names(&self.folder).unwrap_or_else(|error| {
            log::error!("waiting alerts cannot be looked for; error={error}");
            Vec::new()
        });
        for name in names.into_iter().filter(|name| !known.contains(name)) {
            let counts = self.metrics.of(&name);
            match self.give_up(&name) {
                Ok(messages) => counts.dead.inc_by(messages),
                Err(error) => {
                    counts.disk.inc();
                    log::error!("waiting alerts cannot be given up; alert={name} error={error}");
                }
            }
        }
    }

    fn give_up(&self, name: &str) -> io::Result<u64> {
        let outbox = Outbox::of(&self.folder, name);
        let state = outbox.load()?;
        let under_way = state
            .current
            .map(|current| (current.tries, current.message));
        let waiting = (!state.digest.is_empty()).then(|| (0, state.digest.into_message()));
        let mut messages = 0;
        for (tries, message) in under_way.into_iter().chain(waiting) {
            self.dead.add(&DeadLetter {
                alert: name.to_owned(),
                given_up: timestamp(self.clock.now().unix_ms),
                tries,
                why: "the alert is not configured any more".to_owned(),
                message,
            })?;
            messages += 1;
        }
        outbox.remove()?;
        if messages > 0 {
            log::warn!(
                "alerts are given up, since theirs is not configured any more; alert={name} messages={messages}"
            );
        }
        Ok(messages)
    }
}
