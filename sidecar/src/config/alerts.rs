//! `[[alert]]`: who is notified of what cases came to, and how often.

use std::path::Path;

use serde::Deserialize;
use thornwall_settings::load::Problem;
use toml::Spanned;

use super::error::ConfigError;
use crate::{assessment::Severity, http::Address};

mod mail;
mod secret;

pub use mail::{MailAddress, MailServer, Secrecy};
pub(crate) use secret::{authorities, key, secret, secret_address};

/// Longest name of an alert: it names a file, and a series of metrics.
const LONGEST_NAME: usize = 32;
/// Most receivers of one mail.
const MOST_RECEIVERS: usize = 32;
/// Longest of any time that is given in seconds: a week.
const LONGEST_SECS: u32 = 7 * 24 * 3600;

/// One `[[alert]]`: exactly one of `webhook`, `slack_file` and `smtp` names its kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alert {
    /// The alert's name in logs, metrics and files.
    pub name: String,
    /// Where JSON is posted to.
    pub webhook: Option<Address>,
    /// File with the key that a webhook's messages are signed by.
    pub secret_file: Option<Spanned<String>>,
    /// File with the address of an incoming webhook of Slack, which is a secret.
    pub slack_file: Option<Spanned<String>>,
    /// The mail server.
    pub smtp: Option<MailServer>,
    /// User name at the mail server; without one there is no login.
    pub user: Option<String>,
    /// File with that user's password.
    pub password_file: Option<Spanned<String>>,
    /// The sender of mails.
    pub from: Option<MailAddress>,
    /// The receivers of mails.
    pub to: Vec<MailAddress>,
    /// Certificates (PEM) that the receiver's is trusted by, instead of the system's.
    pub ca_file: Option<Spanned<String>>,
    /// The lowest severity that is sent.
    pub least: Severity,
    /// Sites that the alert is about; all where none is named.
    pub sites: Vec<String>,
    /// Seconds in which the same action about the same client of a site is sent once.
    pub dedup_secs: u32,
    /// Seconds in which alerts are gathered into one message; with 0 each goes at once.
    pub digest_secs: u32,
    /// Most messages within an hour; what is more waits, and goes with a later one.
    pub most_per_hour: u32,
    /// Seconds after which a message that cannot be sent is a dead letter.
    pub retry_secs: u32,
    /// Seconds that one try may take.
    pub timeout_secs: u32,
}

impl Default for Alert {
    fn default() -> Self {
        Self {
            name: String::new(),
            webhook: None,
            secret_file: None,
            slack_file: None,
            smtp: None,
            user: None,
            password_file: None,
            from: None,
            to: Vec::new(),
            ca_file: None,
            least: Severity::Alert,
            sites: Vec::new(),
            dedup_secs: 3600,
            digest_secs: 60,
            most_per_hour: 30,
            retry_secs: 14_400,
            timeout_secs: 10,
        }
    }
}

/// What is wrong with alerts beyond their form.
pub(super) fn complaints(file: &Path, alerts: &[Spanned<Alert>]) -> Vec<Problem> {
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let mut problems = Vec::new();
    let mut problem = |span, what: String| {
        problems.push(Problem {
            file: file.to_path_buf(),
            span: Some(span),
            what,
        });
    };
    for (at, spanned) in alerts.iter().enumerate() {
        let alert = spanned.get_ref();
        let taken = alerts[..at]
            .iter()
            .any(|other| other.get_ref().name == alert.name);
        if !is_name(&alert.name) || taken {
            let what = "expected a name of its own, of a-z, 0-9, `-` and `_`";
            problem(
                spanned.span(),
                format!("`alert.name` is {:?}; {what}", alert.name),
            );
        }
        for what in [alert.form(), alert.amounts()].into_iter().flatten() {
            problem(spanned.span(), format!("`alert` {:?}: {what}", alert.name));
        }
        for (key, span, what) in alert.files(folder) {
            problem(span, format!("`alert.{key}`: {what}"));
        }
    }
    problems
}

fn is_name(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

/// A key with its place, and what is wrong with the file that it names.
type FileProblem = (&'static str, std::ops::Range<usize>, String);

impl Alert {
    /// Whether the keys are those of one kind.
    fn form(&self) -> Option<&'static str> {
        let (webhook, slack) = (self.webhook.is_some(), self.slack_file.is_some());
        if [webhook, slack, self.smtp.is_some()]
            .iter()
            .filter(|is| **is)
            .count()
            != 1
        {
            return Some("expected exactly one of `webhook`, `slack_file` and `smtp`");
        }
        if webhook != self.secret_file.is_some() {
            return Some("expected `secret_file` with `webhook`, and nowhere else");
        }
        let login = (self.user.is_some(), self.password_file.is_some());
        let letter = (self.from.is_some(), !self.to.is_empty());
        if self.smtp.is_none() {
            let none = login == (false, false) && letter == (false, false);
            return (!none).then_some("`user`, `password_file`, `from` and `to` are for `smtp`");
        }
        if letter != (true, true) || self.to.len() > MOST_RECEIVERS {
            return Some("expected `from`, and up to 32 addresses in `to`");
        }
        (login.0 != login.1).then_some("expected both of `user` and `password_file`, or neither")
    }

    fn amounts(&self) -> Option<&'static str> {
        let times = [self.dedup_secs, self.digest_secs, self.retry_secs];
        if times.iter().any(|secs| *secs > LONGEST_SECS) {
            return Some("expected times of at most a week");
        }
        let pace =
            (1..=3600).contains(&self.most_per_hour) && (1..=60).contains(&self.timeout_secs);
        (!pace).then_some("expected `most_per_hour` of 1 to 3600, `timeout_secs` of 1 to 60")
    }

    /// What is wrong with the files that it names.
    fn files(&self, folder: &Path) -> Vec<FileProblem> {
        type Check = fn(&Path) -> Result<(), ConfigError>;
        let checks: [(&'static str, &Option<Spanned<String>>, Check); 4] = [
            ("secret_file", &self.secret_file, |path| key(path).map(drop)),
            ("slack_file", &self.slack_file, |path| {
                secret_address(path).map(drop)
            }),
            ("password_file", &self.password_file, |path| {
                secret(path).map(drop)
            }),
            ("ca_file", &self.ca_file, |path| authorities(path).map(drop)),
        ];
        let mut problems = Vec::new();
        for (key, named, check) in checks {
            let Some(named) = named else { continue };
            let path = folder.join(named.get_ref());
            let wrong = check(&path).err();
            problems.extend(wrong.map(|error| (key, named.span(), error.to_string())));
        }
        problems
    }
}

#[cfg(test)]
mod tests;
