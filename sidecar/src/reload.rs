//! A new configuration for a process that serves: SIGHUP.
//!
//! What judges, who may call and who is told is exchanged as a whole, or not at all: a file with a mistake changes
//! nothing. Sockets, folders and sizes of what is kept are decided at the start, and a file that
//! changes them is refused by their names.

use std::{path::Path, sync::Arc};

use crate::{
    alerts::Plan,
    assess::Assessor,
    callers::Callers,
    config::{Config, ConfigFile},
    identity,
    service::Sidecar,
    steps,
};

/// Settings that a process cannot change, as they were when it started.
#[derive(Debug, PartialEq, Eq)]
pub struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
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

/// Takes over what a file says now; the error names every mistake, and then nothing has changed.
pub fn reload(path: &Path, fixed: &Fixed, sidecar: &Sidecar) -> Result<(), String> {
    let file = ConfigFile::read(path)?;
    let changed = fixed.changed(&Fixed::of(&file.config));
    if !changed.is_empty() {
        return Err(format!(
            "{}: `{}` cannot change while the sidecar runs; restart it",
            path.display(),
            changed.join("`, `")
        ));
    }
    let data_dir = file.resolve(&file.config.server.data_dir);
    let callers = Callers::build(&file, &data_dir).map_err(|error| error.to_string())?;
    let (ladder, band) = (*file.config.ladder.get_ref(), *file.config.band.get_ref());
    let steps = steps::build(&file, &sidecar.paid, &sidecar.metrics)?;
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
