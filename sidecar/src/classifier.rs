//! The step `classifier`: a service of its own that judges cases.
//!
//! It gets a case as JSON by POST and answers with a score, which weighs `most_weight` where it is 1
//! and its share of that otherwise. It only ever adds: a low score is no acquittal. What it is sent
//! holds the client's address and what it asked for, so that it is a service of the operator's own, or
//! one that may know that.
//!
//! An answer is kept for the case until its requests have doubled: a case that grew is another one.

mod format;

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{
    Client,
    header::{ACCEPT, AUTHORIZATION, HeaderValue},
};
use thornwall_decisions::prefix_set::Prefix;

use crate::{
    asking::{Asker, Failure, MOST_ANSWER, Services, json_of, key_of},
    assess::{Finding, Step, StepError},
    case::Case,
    config::{ConfigError, ConfigFile, Format},
    http::{self, Address, exchange},
};

/// The step's name in evidence and metrics.
const NAME: &str = "classifier";

/// The step `classifier`.
pub(crate) struct Classifier {
    asker: Asker<Key>,
    client: Client,
    address: Address,
    key: Option<HeaderValue>,
    format: Format,
    most_weight: f32,
}

/// What makes two questions the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    site: String,
    shape: u64,
    subject: Prefix,
    /// The power of two that its requests reached.
    requests: u32,
}

impl Key {
    fn of(case: &Case) -> Self {
        Self {
            site: case.site.clone(),
            shape: case.shape,
            subject: case.subject,
            requests: case.requests.max(1).ilog2(),
        }
    }
}

impl Classifier {
    /// The step, where a file names a service.
    pub(crate) fn build(
        file: &ConfigFile,
        services: &Services,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(service) = &file.config.classifier else {
            return Ok(None);
        };
        let path = service.key_file.as_deref();
        let key = path.map(|path| key_of(file, "classifier.key_file", path, true));
        let limits = service.limits.get_ref();
        let timeout = Duration::from_secs(limits.timeout_secs.into());
        Ok(Some(Self {
            asker: Asker::new(services.service(NAME, limits), limits),
            client: http::client(timeout)?,
            address: service.address.clone(),
            key: key.transpose()?,
            format: service.format,
            most_weight: *service.most_weight.get_ref(),
        }))
    }

    async fn call(&self, case: &Case) -> Result<Finding, Failure> {
        let request = self
            .client
            .post(self.address.url().clone())
            .header(ACCEPT, "application/json");
        let request = match &self.key {
            Some(key) => request.header(AUTHORIZATION, key.clone()),
            None => request,
        };
        let request = match self.format {
            Format::Thornwall => request.json(&format::Question::of(case)),
            Format::Predecessor => request.json(&format::OneRequest::of(case)),
        };
        let read = json_of(&exchange(request, MOST_ANSWER).await?)?;
        let verdict = match self.format {
            Format::Thornwall => format::verdict(read),
            Format::Predecessor => format::is_bot(read),
        };
        let (score, evidence) = verdict?;
        Ok(Finding::new(self.most_weight * score, evidence))
    }
}

#[async_trait]
impl Step for Classifier {
    fn name(&self) -> &'static str {
        NAME
    }

    fn recall(&self, case: &Case, now_ms: u64) -> Option<Finding> {
        self.asker.recall(&Key::of(case), now_ms)
    }

    async fn ask(&self, case: &Case, now_ms: u64) -> Result<Finding, StepError> {
        self.asker.ask(Key::of(case), now_ms, self.call(case)).await
    }
}
