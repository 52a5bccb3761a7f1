//! The store of the process, whose file one process has at a time.

use std::{io, path::PathBuf, sync::Arc, thread::JoinHandle};

use parking_lot::Mutex;
use thornwall_decisions::{
    clock::{Clock, ProcessTime},
    decisions::Decisions,
    store::{Loaded, Options, Store, StoreMetrics},
};

use super::ServeError;
use crate::{
    config::PrivacyMode,
    generation::Cold,
    handover::HandedOver,
    shared_store::{Replication, StoreStates},
};

/// Gives the file up for a successor, and takes it up again where that one fails. Decisions are
/// enforced and taken meanwhile; what comes after the file was given up is left beside it.
pub(super) struct Keeper {
    pub(super) store: Store,
    file: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Starts the store, without its file.
    pub(super) fn start(
        decisions: Arc<Decisions>,
        time: ProcessTime,
        cold: &Cold,
        metrics: StoreMetrics,
    ) -> Result<Arc<Self>, ServeError> {
        let options = Options {
            capacity: cold.max_decisions,
            shared: cold.shared.is_on(),
            coarse_only: cold.privacy != PrivacyMode::Full,
        };
        let (store, thread) = Store::start(decisions, Arc::new(time), options, metrics)
            .map_err(ServeError::io("thread of the store"))?;
        Ok(Arc::new(Self {
            store,
            file: cold.data_dir.join("decisions.redb"),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// The tasks that keep the store in step with others, and how they will do.
    pub(super) fn share(
        &self,
        cold: &Cold,
        time: ProcessTime,
    ) -> Result<(Replication, StoreStates), ServeError> {
        let clock: Arc<dyn Clock> = Arc::new(time);
        Ok(cold.shared.replication(&self.store, &clock)?)
    }

    /// Opens the file, and logs what was found in it.
    pub(super) fn open(&self) -> Result<(), ServeError> {
        self.take_up()
            .map_err(ServeError::io(self.file.display().to_string()))
    }

    fn take_up(&self) -> io::Result<()> {
        let Loaded {
            decisions,
            broken,
            set_aside,
        } = self
            .store
            .open(self.file.clone())
            .map_err(io::Error::other)?;
        if let Some(aside) = set_aside {
            log::error!(
                "the file of decisions was damaged, a new one is begun; old={}",
                aside.display()
            );
        }
        if broken > 0 {
            log::error!("decisions could not be read; count={broken}");
        }
        if decisions > 0 {
            log::info!("decisions taken up; count={decisions}");
        }
        Ok(())
    }

    /// Waits until everything that was decided is written.
    pub(super) fn end(&self) {
        self.store.stop();
        if let Some(thread) = self.thread.lock().take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl HandedOver for Keeper {
    fn name(&self) -> &'static str {
        "decisions"
    }

    fn hand_over(&self) -> io::Result<Vec<u8>> {
        self.store.close();
        Ok(Vec::new())
    }

    fn take_back(&self) -> io::Result<()> {
        self.take_up()
    }
}
