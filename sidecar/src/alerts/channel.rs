//! A way to a receiver: a webhook, Slack, or mail.

use std::{path::Path, time::Duration};

use reqwest::{Client, StatusCode};
use toml::Spanned;

use super::{mail::Mail, message::Message, slack::Slack, webhook::Webhook};
use crate::{
    config::{self, ConfigError, authorities},
    http::{self, Answer, HttpError},
};

/// Longest answer that is read. Its content does not matter.
pub(super) const MOST_ANSWER: usize = 64 << 10;

/// A message that did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What is wrong, for people. It never holds a secret.
    pub(super) why: String,
    /// After which time another try is welcome; nothing where none is of any use.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    /// One that another try may mend.
    pub(super) const fn passing(why: String) -> Self {
        Self {
            why,
            retry_after: Some(Duration::ZERO),
        }
    }

    /// One that stays.
    pub(super) const fn lasting(why: String) -> Self {
        Self {
            why,
            retry_after: None,
        }
    }
}

/// A way to a receiver.
#[derive(Debug)]
pub(super) enum Channel {
    /// JSON over HTTP, signed.
    Webhook(Webhook),
    /// An incoming webhook of Slack.
    Slack(Slack),
    /// SMTP.
    Mail(Mail),
}

impl Channel {
    /// The way that a table describes; its files are looked for in `folder`. The error names what cannot
    /// be used, without any secret.
    pub(super) fn build(alert: &config::Alert, folder: &Path) -> Result<Self, ConfigError> {
        let path = |named: &Spanned<String>| folder.join(named.get_ref());
        let trusted = alert
            .ca_file
            .as_ref()
            .map(|named| authorities(&path(named)));
        let trusted = trusted.transpose()?;
        let timeout = Duration::from_secs(alert.timeout_secs.into());
        if let (Some(address), Some(key)) = (&alert.webhook, &alert.secret_file) {
            let client = client(trusted.as_deref(), timeout)?;
            let key = config::key(&path(key))?;
            return Ok(Self::Webhook(Webhook::new(client, address.clone(), key)));
        }
        if let Some(address) = &alert.slack_file {
            let client = client(trusted.as_deref(), timeout)?;
            let address = config::secret_address(&path(address))?;
            return Ok(Self::Slack(Slack::new(client, address)));
        }
        let password = alert.password_file.as_ref();
        let password = password
            .map(|named| config::secret(&path(named)))
            .transpose()?;
        Mail::build(alert, password, trusted.as_deref()).map(Self::Mail)
    }

    /// Sends a message. `now_ms` is Unix time.
    pub(super) async fn send(&self, message: &Message, now_ms: u64) -> Result<(), Failure> {
        match self {
            Self::Webhook(webhook) => webhook.send(message, now_ms).await,
            Self::Slack(slack) => slack.send(message).await,
            Self::Mail(mail) => mail.send(message, now_ms).await,
        }
    }
}

fn client(trusted: Option<&[u8]>, timeout: Duration) -> Result<Client, HttpError> {
    match trusted {
        Some(authorities) => http::client_trusting(authorities, timeout),
        None => http::client(timeout),
    }
}

/// Whether the message arrived, and else whether another try is of use.
pub(super) fn judged(answer: Result<Answer, HttpError>) -> Result<(), Failure> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error @ (HttpError::Timeout | HttpError::Unreachable(_))) => {
            return Err(Failure::passing(error.to_string()));
        }
        // The message arrived, and would only arrive again.
        Err(error @ HttpError::TooLong(_)) => return Err(Failure::lasting(error.to_string())),
    };
    let status = answer.status;
    let why = format!("answered {}", status.as_u16());
    let later = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    if status.is_success() {
        Ok(())
    } else if status.is_server_error() || later.contains(&status) {
        let retry_after = Some(answer.retry_after.unwrap_or_default());
        Err(Failure { why, retry_after })
    } else if status.is_redirection() {
        Err(Failure::lasting(format!(
            "{why}; redirects are not followed"
        )))
    } else {
        Err(Failure::lasting(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whether_another_try_is_of_use() {
        let check = |status: u16, retry_after: Option<u64>, expected: Result<(), Option<u64>>| {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                body: Vec::new(),
                retry_after: retry_after.map(Duration::from_secs),
            };
            let judged = judged(Ok(answer));
            let judged = judged.map_err(|failure| failure.retry_after.map(|wait| wait.as_secs()));
            assert_eq!(judged, expected, "{status}");
        };
        check(200, None, Ok(()));
        check(204, None, Ok(()));
        check(302, None, Err(None));
        check(400, None, Err(None));
        check(410, Some(5), Err(None));
        check(408, None, Err(Some(0)));
        check(429, Some(30), Err(Some(30)));
        check(500, None, Err(Some(0)));
        check(503, Some(7), Err(Some(7)));
        let failure = judged(Err(HttpError::Timeout)).unwrap_err();
        assert_eq!(failure.retry_after, Some(Duration::ZERO));
        assert_eq!(
            judged(Err(HttpError::TooLong(9))).unwrap_err().retry_after,
            None
        );
    }
}
