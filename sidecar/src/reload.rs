//! A new configuration for a process that serves: SIGHUP.
//!
//! Steps, callers and alerts are exchanged as a whole, or not at all: a file with a mistake changes
//! nothing. Sockets, folders and sizes of what is kept are decided at the start, and a file that
//! changes them is refused by their names.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use thornwall_settings::token::TokenError;

use crate::{
    alerts::{Plan, TakeOverError},
    assess::Assessor,
    callers::Callers,
    config::{Config, ConfigError, ConfigFile},
    identity,
    service::Sidecar,
    step_builder::{self, StepsError},
};

/// Settings that a process cannot change, as they were when it started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    /// Those of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let server = &config.server;
        Self(vec![
            ("server.address", server.address.get_ref().clone()),
            ("server.data_dir", server.data_dir.clone()),
            ("server.tls", server.tls.is_some().to_string()),
            (
                "server.shutdown_grace_secs",
                server.shutdown_grace_secs.to_string(),
            ),
            ("admin.address", config.admin.address.to_string()),
            ("queue", format!("{:?}", config.queue.get_ref())),
            ("history", format!("{:?}", config.history)),
        ])
    }

    /// Names of those that are different.
    fn changed(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        let different = pairs.filter(|(before, after)| before != after);
        different.map(|(before, _)| before.0).collect()
    }
}

/// Error: a configuration is not taken over.
#[derive(Debug, Error)]
pub(crate) enum ReloadError {
    /// The configuration, or a file that it names, cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The steps of the configuration cannot be built.
    #[error(transparent)]
    Steps(#[from] StepsError),
    /// A caller's token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Settings differ that a process cannot change.
    #[error("{path}: `{names}` cannot change while the sidecar runs; restart it", path = .0.display(), names = .1)]
    Fixed(PathBuf, String),
    /// Earlier alerts are still being taken over.
    #[error(transparent)]
    Alerts(#[from] TakeOverError),
}

/// Takes over the configuration as it is now; the error names every mistake, and then nothing has changed.
pub(crate) fn reload(path: &Path, fixed: &Fixed, sidecar: &Sidecar) -> Result<(), ReloadError> {
    let file = ConfigFile::read(path)?;
    let changed = fixed.changed(&Fixed::of(&file.config));
    if !changed.is_empty() {
        return Err(ReloadError::Fixed(path.to_path_buf(), changed.join("`, `")));
    }
    let data_dir = file.resolve(&file.config.server.data_dir);
    let callers = Callers::build(&file, &data_dir)?;
    let (ladder, band) = (*file.config.ladder.get_ref(), *file.config.band.get_ref());
    let steps = step_builder::build(&file, &sidecar.paid, &sidecar.metrics)?;
    let assessor = Assessor::new(ladder, band, Arc::clone(&sidecar.memory), steps);
    let tls = file.config.server.tls.as_ref();
    let identity = tls.map(|tls| identity::identity(&file, tls)).transpose()?;
    sidecar
        .alerts
        .take_over(Plan::build(&file, &sidecar.metrics.alerts)?)?;
    sidecar.callers.store(Arc::new(callers));
    if let (Some(held), Some(identity)) = (&sidecar.identity, identity) {
        held.store(Arc::new(identity));
    }
    sidecar.assessor.store(Arc::new(assessor));
    Ok(())
}
