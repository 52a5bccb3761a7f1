//! `alert-test`: a message through every alert, at once and past all rules, to see whether it arrives.

use std::path::Path;

use thornwall_decisions::clock::{Clock, ProcessTime};

use super::{
    channel::Channel,
    message::{Message, Pile},
    notice::Notice,
};
use crate::config::{self, ConfigFile};

/// What came of the message of one alert.
#[derive(Debug)]
pub struct Trial {
    /// The alert's name.
    pub alert: String,
    /// What was wrong, where something was.
    pub sent: Result<(), String>,
}

/// Sends a message through the named alert, or through all of them.
pub fn run(path: &Path, only: Option<&str>) -> Result<Vec<Trial>, String> {
    let file = ConfigFile::read(path)?;
    let alerts = file.config.alert.iter().map(|alert| alert.get_ref());
    let chosen: Vec<&config::Alert> = alerts
        .filter(|alert| only.is_none_or(|only| alert.name == only))
        .collect();
    if chosen.is_empty() {
        return Err(match only {
            Some(name) => format!("{}: there is no alert {name:?}", path.display()),
            None => format!("{}: there is no [[alert]]", path.display()),
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("threads: {error}"))?;
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
    let channel = Channel::build(alert, folder)?;
    let sent = channel.send(&message(now_ms), now_ms).await;
    sent.map_err(|failure| failure.why)
}

fn message(now_ms: u64) -> Message {
    let mut pile = Pile::default();
    pile.add(Notice::test(now_ms), now_ms);
    pile.into_message()
}
