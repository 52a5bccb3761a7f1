//! The last step of the ladder: a language model reads the record of a case.
//!
//! It is asked only about cases in doubt, within a budget, and once about cases that look the same.
//! It can lift a case within the band and no further, and can lower none: whatever a client makes it
//! say, the ruling stays within the band.

mod ledger;
mod memo;
mod metrics;
mod prompt;
mod provider;
mod router;
mod tool;
mod truth;
pub mod verdict;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::{
    ledger::{Cost, Ledger, LedgerError},
    metrics::LlmMetrics,
    prompt::{INSTRUCTIONS, Prompt},
    provider::{Provider, ProviderError},
    router::{Route, Router},
    truth::{Saying, Truths},
};
use self::{memo::Memo, provider::AskError, verdict::Verdict};
use crate::{
    assess::{Finding, Step, StepError},
    case::Case,
    config,
};

/// What models said of a record.
#[derive(Debug, Clone)]
struct Judged {
    /// The verdict that counts.
    verdict: Verdict,
    /// Who said what, whoever counts first.
    sayings: Vec<Saying>,
}

/// What outlives a change of the configuration: money spent, and what it was spent on.
pub struct Paid {
    ledger: Arc<Ledger>,
    memo: Memo<Judged>,
    /// Who said what of which case.
    pub truths: Truths,
}

impl Paid {
    /// Nothing was asked yet, but for what is in the ledger.
    pub fn new(ledger: Ledger, metrics: &LlmMetrics) -> Self {
        Self {
            ledger: Arc::new(ledger),
            memo: Memo::default(),
            truths: Truths::new(metrics.truth.clone()),
        }
    }
}

/// The step.
pub struct Llm {
    config: config::Llm,
    ceiling: f32,
    router: Router,
    paid: Arc<Paid>,
    metrics: LlmMetrics,
}

impl Llm {
    /// Asks these providers; lifts no case above `ceiling`.
    pub fn new(
        config: config::Llm,
        ceiling: f32,
        providers: Vec<Provider>,
        paid: Arc<Paid>,
        metrics: LlmMetrics,
    ) -> Self {
        let routes = providers
            .into_iter()
            .map(|provider| Arc::new(Route::new(provider)));
        Self {
            router: Router::new(
                routes.collect(),
                config.short_bytes,
                config.private_sites.clone(),
            ),
            config,
            ceiling,
            paid,
            metrics,
        }
    }

    /// What a verdict weighs. One that lets a client be weighs nothing: it clears nobody.
    fn finding(&self, judged: &Judged) -> Finding {
        let Verdict {
            word,
            confidence,
            reason,
        } = &judged.verdict;
        let weight = if word.condemns() {
            confidence * self.config.most_weight
        } else {
            0.0
        };
        let names: Vec<String> = judged
            .sayings
            .iter()
            .map(|said| format!("{}/{}", said.provider, said.model))
            .collect();
        Finding {
            weight,
            ceiling: self.ceiling,
            evidence: format!(
                "{} says {} ({confidence:.2}): {reason}",
                names.join(" and "),
                word.name()
            ),
        }
    }

    /// The first provider that answers, and a second one for a sample.
    async fn judge(&self, case: &Case, prompt: &Prompt, now_ms: u64) -> Result<Judged, StepError> {
        let order = self.router.order(&case.site, prompt.bytes(), now_ms);
        let mut failures = Vec::new();
        let mut rest = order.iter();
        for route in rest.by_ref() {
            match self.put(route, prompt, now_ms).await {
                Ok(verdict) => {
                    let judged = Judged {
                        sayings: vec![saying(&route.provider, &verdict)],
                        verdict,
                    };
                    return Ok(self.with_second(judged, rest.next(), prompt, now_ms).await);
                }
                Err(error) => failures.push(format!("{}: {error}", route.provider.config.name)),
            }
        }
        if failures.is_empty() {
            return Err(StepError("no provider may be asked now".to_owned()));
        }
        Err(StepError(failures.join("; ")))
    }

    /// Where two disagree, the milder verdict counts.
    async fn with_second(
        &self,
        first: Judged,
        other: Option<&Arc<Route>>,
        prompt: &Prompt,
        now_ms: u64,
    ) -> Judged {
        let Some(other) = other.filter(|_| sampled(prompt, self.config.second_opinion)) else {
            return first;
        };
        let Ok(second) = self.put(other, prompt, now_ms).await else {
            return first;
        };
        let agrees = second.word.condemns() == first.verdict.word.condemns();
        let said = saying(&other.provider, &second);
        let labels = [
            said.provider.as_str(),
            said.model.as_str(),
            if agrees { "yes" } else { "no" },
        ];
        self.metrics.opinions.with_label_values(&labels).inc();
        let mut sayings = first.sayings;
        sayings.push(said);
        let harm = |verdict: &Verdict| {
            if verdict.word.condemns() {
                verdict.confidence
            } else {
                0.0
            }
        };
        let verdict = if harm(&second) < harm(&first.verdict) {
            second
        } else {
            first.verdict
        };
        Judged { verdict, sayings }
    }

    #[expect(clippy::disallowed_methods, reason = "what an answer takes is shown")]
    async fn put(&self, route: &Route, prompt: &Prompt, now_ms: u64) -> Result<Verdict, AskError> {
        let provider = &route.provider;
        let labels = [
            provider.config.name.as_str(),
            provider.config.uri.model.as_str(),
        ];
        let began = std::time::Instant::now();
        let answer = provider
            .ask(prompt, &self.paid.ledger, self.config.budget, now_ms)
            .await;
        let seconds = self.metrics.seconds.with_label_values(&labels);
        seconds.observe(began.elapsed().as_secs_f64());
        match &answer {
            Ok(verdict) => {
                route.answered();
                let labels = [labels[0], labels[1], verdict.word.name()];
                self.metrics.verdicts.with_label_values(&labels).inc();
            }
            Err(error) => {
                if error.is_the_providers() {
                    route.failed(now_ms);
                }
                let labels = [labels[0], labels[1], error.name()];
                self.metrics.failures.with_label_values(&labels).inc();
            }
        }
        self.show_spent(now_ms);
        answer
    }

    fn show_spent(&self, now_ms: u64) {
        if let Ok((hour, day)) = self.paid.ledger.spent(now_ms) {
            self.metrics.show("hour", hour);
            self.metrics.show("day", day);
        }
    }

    fn known(
        &self,
        case: &Case,
        prompt: &Prompt,
        now_ms: u64,
    ) -> Option<Result<Finding, StepError>> {
        let known = self.paid.memo.recall(&prompt.key, now_ms)?;
        self.metrics.recalled.inc();
        let Some(judged) = known.answer else {
            return Some(Err(StepError(
                "nobody answered a case like it just now".to_owned(),
            )));
        };
        self.paid.truths.note(case.id, &judged.sayings);
        Some(Ok(self.finding(&judged)))
    }
}

#[async_trait]
impl Step for Llm {
    fn name(&self) -> &'static str {
        "llm"
    }

    fn recall(&self, case: &Case, now_ms: u64) -> Option<Finding> {
        self.known(case, &Prompt::about(case), now_ms)?.ok()
    }

    async fn ask(&self, case: &Case, now_ms: u64) -> Result<Finding, StepError> {
        let prompt = Prompt::about(case);
        let _turn = self.paid.memo.turn(prompt.key).await;
        if let Some(known) = self.known(case, &prompt, now_ms) {
            return known;
        }
        let judged = self.judge(case, &prompt, now_ms).await;
        let remember_ms = u64::from(self.config.remember_secs) * 1000;
        let answer = judged.as_ref().ok().cloned();
        self.paid.memo.keep(prompt.key, answer, now_ms, remember_ms);
        let judged = judged?;
        self.paid.truths.note(case.id, &judged.sayings);
        Ok(self.finding(&judged))
    }
}

fn saying(provider: &Provider, verdict: &Verdict) -> Saying {
    Saying {
        provider: provider.config.name.clone(),
        model: provider.config.uri.model.clone(),
        word: verdict.word,
    }
}

/// A sample that a client cannot choose to be in or out of by asking again: it hangs on the record.
fn sampled(prompt: &Prompt, share: f32) -> bool {
    let point = u16::from_be_bytes([prompt.key[0], prompt.key[1]]);
    f32::from(point) / 65_536.0 < share
}
