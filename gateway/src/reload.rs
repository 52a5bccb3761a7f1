//! Taking a changed configuration into service, all of it or nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use crate::{
    generation::{Cold, Generation, Inputs},
    state::State,
    upstream::settle,
};
use thornwall_settings::file::ConfigFile;

mod losses;

/// Builds the next generation from the same file.
pub(crate) struct Reloader {
    path: PathBuf,
    secret: [u8; 32],
    state: Arc<State>,
    applied: watch::Sender<u64>,
}

impl Reloader {
    /// A reloader of the file that the running generation came from.
    pub(crate) fn new(path: &Path, secret: [u8; 32], state: Arc<State>) -> Self {
        let (applied, _) = watch::channel(1);
        Self {
            path: path.to_path_buf(),
            secret,
            state,
            applied,
        }
    }

    /// Notifies of every reload that took effect.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Reads the file again. Where anything is wrong with it, everything stays as it is.
    pub(crate) async fn reload(&self) {
        let built = match settle_file(&self.path).await {
            Ok(()) => self.build().await,
            Err(unsettled) => Err(unsettled),
        };
        self.state.metrics.reload(built.is_ok());
        match built {
            Ok(generation) => {
                settle(generation.upstreams()).await;
                let number = generation.number;
                for warning in &generation.warnings {
                    log::warn!("{warning}");
                }
                let running = self.state.generation.load_full();
                for lost in losses::losses(&running, &generation) {
                    log::warn!("the reload takes protection away: {lost}");
                }
                self.state.take_up(generation);
                self.applied.send_replace(number);
                log::info!("configuration reloaded; generation={number}");
            }
            Err(problems) => {
                log::error!("configuration not reloaded, the running one stays:\n{problems}");
            }
        }
    }

    async fn build(&self) -> Result<Generation, String> {
        let (path, secret, state) = (self.path.clone(), self.secret, Arc::clone(&self.state));
        let built = spawn_blocking(move || next_generation(&path, &secret, &state)).await;
        built.unwrap_or_else(|error| Err(format!("building it failed: {error}")))
    }
}

/// How long a file must be unchanged before it is read.
const SETTLED: Duration = Duration::from_millis(500);
/// How often a file is looked at that is being written to: 10 s.
const MOST_LOOKS: usize = 20;

/// Waits until a file is no longer being written: half of it may be a valid one.
async fn settle_file(path: &Path) -> Result<(), String> {
    for _ in 0..MOST_LOOKS {
        let written = fs::metadata(path).and_then(|file| file.modified());
        // What cannot be looked at is reported by its reader, and a time to come is another clock's.
        let since = written.ok().and_then(|written| written.elapsed().ok());
        match since.and_then(|since| SETTLED.checked_sub(since)) {
            Some(left) => sleep(left).await,
            None => return Ok(()),
        }
    }
    Err(format!(
        "{}: somebody is writing to it still",
        path.display()
    ))
}

fn next_generation(path: &Path, secret: &[u8; 32], state: &State) -> Result<Generation, String> {
    let file = ConfigFile::read(path).map_err(|problem| problem.to_string())?;
    let running = state.generation.load();
    let inputs = Inputs {
        metrics: &state.metrics.filters,
        secret,
        decisions: state.store.decisions(),
        previous: Some(&running),
    };
    let next = Generation::build(&file, &inputs).map_err(|problems| file.describe(&problems))?;
    let changed = running.cold.changes(&next.cold);
    if changed.is_empty() {
        return Ok(next);
    }
    Err(format!(
        "{}: only a restart or `thornwall upgrade` can change {}",
        path.display(),
        changed.join(", ")
    ))
}

impl Cold {
    /// Names of the settings in which `next` differs.
    fn changes(&self, next: &Self) -> Vec<&'static str> {
        // A new setting has to be named here.
        let Self {
            listeners,
            admin,
            threads,
            data_dir,
            token_file,
            viewer_token_file,
            store,
            shared,
            escalation,
            max_decisions,
            access_log,
            recent_decisions,
            privacy,
            nftables_file,
            fail2ban_log,
            onnxruntime,
        } = self;
        let differs = [
            ("listener.address", *listeners != next.listeners),
            ("admin.address", *admin != next.admin),
            ("admin.token_file", *token_file != next.token_file),
            (
                "admin.viewer_token_file",
                *viewer_token_file != next.viewer_token_file,
            ),
            ("store.kind", *store != next.store),
            (
                "another key of [store] than max_decisions",
                *store == next.store && *shared != next.shared,
            ),
            ("store.max_decisions", *max_decisions != next.max_decisions),
            ("[escalation]", *escalation != next.escalation),
            ("privacy.mode", *privacy != next.privacy),
            ("server.threads", *threads != next.threads),
            ("server.onnxruntime", *onnxruntime != next.onnxruntime),
            ("server.data_dir", *data_dir != next.data_dir),
            (
                "server.recent_decisions",
                *recent_decisions != next.recent_decisions,
            ),
            ("export.nftables_file", *nftables_file != next.nftables_file),
            ("export.fail2ban_log", *fail2ban_log != next.fail2ban_log),
            ("access_log.file", *access_log != next.access_log),
        ];
        differs
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect()
    }
}
