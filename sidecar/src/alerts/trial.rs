//! `alert-test`: a message through every alert, at once and past all rules, to see whether it arrives.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use thornwall_decisions::clock::{Clock, ProcessTime};

use super::{
    channel::Channel,
    message::{Digest, Message},
    notice::Notice,
};
use crate::config::{self, ConfigError, ConfigFile};

/// Error: no message is sent.
#[derive(Debug, Error)]
pub enum TrialError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no alert of that name.
    #[error("{path}: there is no alert {name:?}", path = .0.display(), name = .1)]
    Unknown(PathBuf, String),
    /// The configuration has no alert.
    #[error("{path}: there is no [[alert]]", path = .0.display())]
    NoAlert(PathBuf),
    /// Threads cannot be had.
    #[error("threads: {0}")]
    Threads(io::Error),
}

/// The outcome of the message of one alert.
#[derive(Debug)]
pub struct Trial {
    /// The alert's name.
    pub alert: String,
    /// What was wrong, where something was.
    pub sent: Result<(), String>,
}

/// Sends a message through the named alert, or through all of them.
pub fn run(path: &Path, only: Option<&str>) -> Result<Vec<Trial>, TrialError> {
    let file = ConfigFile::read(path)?;
    let alerts = file.config.alert.iter().map(|alert| alert.get_ref());
    let chosen: Vec<&config::Alert> = alerts
        .filter(|alert| only.is_none_or(|only| alert.name == only))
        .collect();
    if chosen.is_empty() {
        let path = path.to_path_buf();
        return Err(match only {
            Some(name) => TrialError::Unknown(path, name.to_owned()),
            None => TrialError::NoAlert(path),
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(TrialError::Threads)?;
    let now_ms = ProcessTime::start().now().unix_ms;
    let mut trials = Vec::new();
    for alert in chosen {
        let sent = runtime.block_on(send(alert, &file.folder, now_ms));
        trials.push(Trial {
            alert: alert.name.clone(),
            sent,
        });
    }
    Ok(trials)
}

async fn send(alert: &config::Alert, folder: &Path, now_ms: u64) -> Result<(), String> {
    let channel = Channel::build(alert, folder).map_err(|error| error.to_string())?;
    let sent = channel.send(&message(now_ms), now_ms).await;
    sent.map_err(|failure| failure.why)
}

fn message(now_ms: u64) -> Message {
    let mut digest = Digest::default();
    digest.add(Notice::test(now_ms), now_ms);
    digest.into_message()
}
