//! Questions to services of others: each is asked once, its answer is kept, and a service that fails
//! or has answered often enough is left alone.
//!
//! A question that is on its way is awaited by all that have the same one. It is counted before it is
//! sent, so that no failure makes more of them than the budget has.

mod answers;
pub(crate) mod circuit_breaker;
mod services;

use std::{hash::Hash, time::Duration};

use reqwest::header::HeaderValue;
use serde_json::Value;
use thornwall_settings::regular_file;

use self::answers::Answers;
pub(crate) use self::services::{Service, Services};
use crate::{
    assess::{Finding, StepError},
    config::{ConfigError, ConfigFile, Limits},
    http::{Answer, HttpError},
};

/// Largest answer that is read.
pub(crate) const MOST_ANSWER: usize = 64 << 10;
/// Longest key of a service.
const MOST_KEY: usize = 4096;
/// Pause of a service that answers that its limit is reached, and not until when.
const ENOUGH: Duration = Duration::from_secs(60);
/// Longest text of a service that people are shown, in bytes.
const MOST_TEXT: usize = 160;

/// What stands between the cases and one service.
pub(crate) struct Asker<K> {
    service: Service,
    answers: Answers<K>,
}

/// A question that a service has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What failed, for people.
    pub what: String,
    /// For how long the service wants no further questions.
    pub pause: Option<Duration>,
}

impl Failure {
    /// One after which the service may be asked again at once.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            pause: None,
        }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::new(error.to_string())
    }
}

impl<K: Hash + Eq> Asker<K> {
    /// One that has asked nothing yet.
    pub(crate) fn new(service: Service, limits: &Limits) -> Self {
        Self {
            service,
            answers: Answers::new(limits),
        }
    }

    pub(crate) fn service(&self) -> &str {
        &self.service.name
    }

    /// An answer that is still kept.
    pub(crate) fn recall(&self, key: &K, now_ms: u64) -> Option<Finding> {
        self.answers.recall(key, now_ms)
    }

    /// The answer to a question, by `call` where none is kept. `now_ms` is Unix time.
    pub(crate) async fn ask(
        &self,
        key: K,
        now_ms: u64,
        call: impl Future<Output = Result<Finding, Failure>>,
    ) -> Result<Finding, StepError> {
        let cell = self.answers.cell(key, now_ms);
        let mut asked = false;
        let kept = cell
            .get_or_try_init(|| async {
                self.admit(now_ms)?;
                asked = true;
                let found = call.await;
                self.note(&found, now_ms);
                let found = found.map_err(|failure| self.error(&failure.what));
                Ok::<_, StepError>(self.answers.kept(found, now_ms))
            })
            .await?;
        let found = kept.found.clone();
        if !asked {
            self.service.metrics.cached.inc();
        }
        found
    }

    fn admit(&self, now_ms: u64) -> Result<(), StepError> {
        let mut limiter = self.service.limiter.lock();
        if let Some(left_ms) = limiter.circuit.is_open(now_ms) {
            self.service.metrics.paused.inc();
            let what = format!(
                "not asked for another {} s after failures",
                left_ms.div_ceil(1000)
            );
            return Err(self.error(&what));
        }
        if !limiter.budget.take(now_ms) {
            self.service.metrics.refused.inc();
            return Err(self.error("its budget is used up"));
        }
        limiter.circuit.begin(now_ms);
        self.service.metrics.asked.inc();
        Ok(())
    }

    fn note(&self, found: &Result<Finding, Failure>, now_ms: u64) {
        let mut limiter = self.service.limiter.lock();
        match found {
            Ok(_) => {
                limiter.circuit.succeeded();
                self.service.metrics.answered.inc();
            }
            Err(failure) => {
                limiter.circuit.failed(now_ms, failure.pause);
                self.service.metrics.failed.inc();
                log::debug!(
                    "not answered; service={} {}",
                    self.service.name,
                    failure.what
                );
            }
        }
    }

    fn error(&self, what: &str) -> StepError {
        StepError(format!("{}: {what}", self.service.name))
    }
}

/// The JSON of an answer that is one.
pub(crate) fn json_of(answer: &Answer) -> Result<Value, Failure> {
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::new("an answer that is no JSON"));
    }
    let is_enough = matches!(answer.status.as_u16(), 429 | 503);
    Err(Failure {
        what: format!("status {}", answer.status.as_u16()),
        pause: is_enough.then(|| answer.retry_after.unwrap_or(ENOUGH)),
    })
}

/// Text of a service as people may see it: bounded, and without what a terminal would obey.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MOST_TEXT)
        .flat_map(char::escape_debug)
        .collect();
    shown.truncate(shown.floor_char_boundary(MOST_TEXT));
    shown
}

/// The key in a file, as the value of a header field that logs do not show; as a bearer token where `bearer` is set.
pub(crate) fn key_of(
    file: &ConfigFile,
    name: &'static str,
    path: &str,
    bearer: bool,
) -> Result<HeaderValue, ConfigError> {
    let path = file.resolve(path);
    let wrong = |what: &str| ConfigError::Key(name, path.clone(), what.to_owned());
    let bytes = regular_file::read(&path).map_err(|error| wrong(&error.to_string()))?;
    // Errors name what is wrong with a key, and never show the key.
    let key = str::from_utf8(&bytes)
        .map_err(|_| wrong("expected text"))?
        .trim();
    if key.is_empty() || key.len() > MOST_KEY {
        return Err(wrong("no key in it"));
    }
    let value = if bearer {
        format!("Bearer {key}")
    } else {
        key.to_owned()
    };
    let mut value =
        HeaderValue::try_from(value).map_err(|_| wrong("expected a key on one line"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
