//! One provider: how a question is put to it, and what came back.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use thiserror::Error;
use thornwall_settings::regular_file;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    ledger::{Cost, Ledger, LedgerError, MICROS, Reservation},
    model::Model,
    prompt::Prompt,
    tool::Tool,
    verdict::{self, Opinion, VerdictError},
};
use crate::{
    config::{Budget, LlmProvider},
    http,
};

/// Tokens that a provider adds around a prompt and the schema.
const FRAME_TOKENS: u64 = 400;
/// Of the most that a question can cost, so many times are accepted as the cost that a provider reports.
const BELIEVED: u64 = 4;
/// The wait before a further try, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// When a question was put: tries that come later are paid for later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Unix time, in milliseconds.
    pub at_ms: u64,
    began: Instant,
}

impl Asked {
    /// A question that is put now.
    #[expect(clippy::disallowed_methods, reason = "only what passes since counts")]
    pub(crate) fn new(at_ms: u64) -> Self {
        Self {
            at_ms,
            began: Instant::now(),
        }
    }

    /// What the time is by now.
    pub(crate) fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.began.elapsed().as_millis());
        self.at_ms.saturating_add(passed.unwrap_or(u64::MAX))
    }
}

/// Error: a provider gave no verdict.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// It could cost more than is left.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// Too many questions are under way.
    #[error("too many questions at a time")]
    Busy,
    /// It took too long.
    #[error("no answer within its time")]
    Timeout,
    /// It refused, with this status.
    #[error("status {0}")]
    Status(StatusCode),
    /// It was not reached.
    #[error("not reached")]
    Unreached,
    /// It spoke something else, or broke off.
    #[error("{0}")]
    Failed(&'static str),
    /// It answered, and not what it was asked for.
    #[error("{0}")]
    Verdict(#[from] VerdictError),
}

impl AskError {
    /// Whether the same question may have another outcome soon.
    fn is_passing(&self) -> bool {
        match self {
            Self::Status(status) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Unreached | Self::Failed(_) => true,
            Self::Ledger(_) | Self::Busy | Self::Timeout | Self::Verdict(_) => false,
        }
    }

    /// Whether nothing can have been charged. A timeout may have been, what broke behind a proxy may
    /// have been, and an answer was.
    fn is_free(&self) -> bool {
        match self {
            Self::Status(status) => !status.is_server_error(),
            Self::Ledger(_) | Self::Busy | Self::Unreached => true,
            Self::Timeout | Self::Failed(_) | Self::Verdict(_) => false,
        }
    }

    /// Whether the cause is the provider, and not the question.
    pub(super) const fn is_the_providers(&self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::Status(_) | Self::Unreached | Self::Failed(_)
        )
    }

    /// The error's label in metrics.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Ledger(LedgerError::Spent(_)) => "budget",
            Self::Ledger(_) => "disk",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Status(_) => "status",
            Self::Unreached => "unreachable",
            Self::Failed(_) => "broken",
            Self::Verdict(_) => "malformed",
        }
    }
}

/// Why a provider cannot be used.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// Its key cannot be read.
    #[error("key of provider `{0}`: {path}: {cause}", path = .1.display(), cause = .2)]
    Key(String, PathBuf, io::Error),
    /// Its client cannot be made.
    #[error("provider `{0}`: {1}")]
    Client(String, String),
}

/// How a provider is spoken to.
enum Reached {
    Model(Model),
    Tool(Tool),
}

/// A provider that can be asked.
pub struct Provider {
    /// What is configured.
    pub config: LlmProvider,
    reached: Reached,
    permits: Semaphore,
}

impl Provider {
    /// Reads the key; `key_file` is where it is.
    pub fn new(config: LlmProvider, key_file: Option<PathBuf>) -> Result<Self, ProviderError> {
        let key = key_file.map(|path| key(&config.name, path)).transpose()?;
        let failed = |cause: String| ProviderError::Client(config.name.clone(), cause);
        let web = http::client(Duration::from_secs(config.timeout_secs.into()));
        let web = web.map_err(|error| failed(error.to_string()))?;
        let model = Model::new(web.clone(), &config, key.as_deref());
        let reached = match (model.transpose().map_err(failed)?, &config.endpoint) {
            (Some(model), _) => Reached::Model(model),
            (None, Some(server)) => Reached::Tool(Tool::new(web, server, &config.uri.model, key)),
            (None, None) => {
                return Err(failed("a tool without the server's `endpoint`".to_owned()));
            }
        };
        Ok(Self {
            reached,
            permits: Semaphore::new(config.concurrency),
            config,
        })
    }

    /// Asks, with as many further tries as are configured. Each try is paid for.
    pub(crate) async fn ask(
        &self,
        prompt: &Prompt,
        ledger: &Arc<Ledger>,
        budget: Budget,
        asked: Asked,
    ) -> Result<Opinion, AskError> {
        let permit = timeout(self.longest(), self.permits.acquire()).await;
        let _permit = permit.map_err(|_| AskError::Busy)?;
        let mut wait = FIRST_WAIT;
        for _ in 0..self.config.retries {
            match self.try_once(prompt, ledger, budget, asked).await {
                Err(error) if error.is_passing() => tokio::time::sleep(wait).await,
                other => return other,
            }
            wait *= 2;
        }
        self.try_once(prompt, ledger, budget, asked).await
    }

    async fn try_once(
        &self,
        prompt: &Prompt,
        ledger: &Arc<Ledger>,
        budget: Budget,
        asked: Asked,
    ) -> Result<Opinion, AskError> {
        let (most, now_ms) = (self.most(prompt), asked.now_ms());
        let reserved = on_disk(ledger, move |ledger| ledger.reserve(&budget, most, now_ms)).await?;
        let (answer, cost) = match self.chat(prompt).await {
            Ok((text, cost)) => (
                Ok(text),
                cost.map_or(most, |cost| cost.at_most(BELIEVED, most)),
            ),
            Err(error) if error.is_free() => (Err(error), Cost::default()),
            Err(error) => (Err(error), most),
        };
        settle(ledger, reserved, cost).await;
        Ok(verdict::parse(&answer?)?)
    }

    fn longest(&self) -> Duration {
        Duration::from_secs(self.config.timeout_secs.into())
    }

    /// The most that a question can cost: no tokenizer makes more tokens than there are bytes.
    fn most(&self, prompt: &Prompt) -> Cost {
        let input = prompt.bytes() as u64 + FRAME_TOKENS;
        self.cost(input, self.config.max_output_tokens.into())
    }

    fn cost(&self, input: u64, output: u64) -> Cost {
        let price = |tokens: u64, price: f64| tokens as f64 * price / 1e6 * MICROS;
        let price = price(input, self.config.input_price) + price(output, self.config.output_price);
        Cost {
            tokens: input.saturating_add(output),
            micros: price.ceil() as u64,
        }
    }

    /// The answer, and what it did cost where the provider reports it.
    async fn chat(&self, prompt: &Prompt) -> Result<(String, Option<Cost>), AskError> {
        let asked = async {
            match &self.reached {
                Reached::Model(model) => {
                    let reply = model.call(prompt).await?;
                    let tokens = reply.input.zip(reply.output);
                    let cost = tokens.map(|(input, output)| self.cost(input, output));
                    Ok((reply.text, cost))
                }
                Reached::Tool(tool) => Ok((tool.call(prompt).await?, None)),
            }
        };
        timeout(self.longest(), asked)
            .await
            .map_err(|_| AskError::Timeout)?
    }
}

/// A disk may be slow, and the threads that serve must not wait for it.
pub(super) async fn on_disk<T: Send + 'static>(
    ledger: &Arc<Ledger>,
    work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, AskError> {
    let ledger = Arc::clone(ledger);
    let done = tokio::task::spawn_blocking(move || work(&ledger)).await;
    Ok(done.map_err(|_| AskError::Failed("the process ends"))??)
}

/// What cannot be written stays reserved, which is more than it did cost.
async fn settle(ledger: &Arc<Ledger>, reserved: Reservation, cost: Cost) {
    let settled = on_disk(ledger, move |ledger| ledger.settle(reserved, cost)).await;
    if let Err(error) = settled {
        log::warn!("what a language model cost is not written; error={error}");
    }
}

fn key(name: &str, path: PathBuf) -> Result<String, ProviderError> {
    let failed = |error| ProviderError::Key(name.to_owned(), path.clone(), error);
    let text = regular_file::read_text(&path).map_err(failed)?;
    let key = text.trim();
    if key.is_empty() {
        return Err(failed(io::Error::other("no key in it")));
    }
    Ok(key.to_owned())
}
