//! The last step: a language model reads the record of a case.
//!
//! It is asked only about cases in doubt, within a budget, and once about cases that look the same.
//! It can lift a case within the band and no further, and can lower none: whatever a client makes it
//! say, the ruling stays within the band.

mod answer_cache;
mod ledger;
mod metrics;
mod model;
mod prompt;
mod provider;
mod router;
mod tool;
mod truth;
pub mod verdict;

use std::{net::IpAddr, num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use thornwall_detectors::address::neighbourhood;

use self::{
    answer_cache::AnswerCache,
    prompt::Key,
    provider::{AskError, Asked, on_disk},
    router::{Route, Router},
    truth::{GivenVerdict, Truths},
    verdict::Opinion,
};
pub use self::{
    ledger::{Ledger, LedgerError},
    metrics::LlmMetrics,
    prompt::{INSTRUCTIONS, Prompt},
    provider::{Provider, ProviderError},
};
use crate::{
    assess::{Finding, LANGUAGE_MODEL, Step, StepError},
    assessment::{Label, Truth},
    budget::Budget,
    case::{Case, CaseId},
    config,
};

/// Neighbourhoods whose questions are counted; of more, the one that was quiet for longest goes. 4 MiB.
const MOST_NETWORKS: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");
/// Questions about one neighbourhood in an hour and in a day of UTC.
const PER_HOUR: u32 = 60;
const PER_DAY: u32 = 300;

/// Verdicts of models about a record.
#[derive(Debug, Clone)]
struct Judged {
    /// The opinion that counts.
    opinion: Opinion,
    /// The verdict of each model, the one that counts first.
    given: Vec<GivenVerdict>,
}

/// A record that no model judged.
struct Unjudged {
    why: StepError,
    /// Whether a model answered, and not as it was asked to: it would again.
    stumbled: bool,
}

impl Unjudged {
    const fn for_now(why: String) -> Self {
        Self {
            why: StepError(why),
            stumbled: false,
        }
    }
}

/// What outlives a change of the configuration: money spent, and what it was spent on.
pub struct Paid {
    ledger: Arc<Ledger>,
    cache: AnswerCache<Judged>,
    truths: Truths,
    /// Questions about each neighbourhood.
    quotas: Mutex<LruCache<IpAddr, Budget>>,
}

impl Paid {
    /// Nothing was asked yet, but for what is in the ledger.
    pub fn new(ledger: Ledger, metrics: &LlmMetrics) -> Self {
        Self {
            ledger: Arc::new(ledger),
            cache: AnswerCache::default(),
            truths: Truths::new(metrics.truth.clone()),
            quotas: Mutex::new(LruCache::new(MOST_NETWORKS)),
        }
    }

    /// A gateway saw what the client of a case is. A verdict that was wrong about a client that is to be
    /// let through serves no other case.
    pub fn proved(&self, case: CaseId, truth: Truth) {
        let wrong = self.truths.proved(case, truth);
        wrong.inspect(|key| self.cache.forget(key));
    }

    /// A person labelled the client of a case.
    pub fn labelled(&self, case: CaseId, label: Label) {
        let wrong = self.truths.labelled(case, label);
        wrong.inspect(|key| self.cache.forget(key));
    }

    /// Whether one more question may be about this client's neighbourhood: a client that makes cases
    /// which all differ must not use up what is there for all.
    fn has_quota(&self, case: &Case, now_ms: u64) -> bool {
        let mut quotas = self.quotas.lock();
        let near = neighbourhood(case.subject.first());
        let quota = quotas.get_or_insert_mut(near, || Budget::new(PER_HOUR, PER_DAY));
        quota.take(now_ms)
    }
}

/// The step.
pub struct Llm {
    config: config::Llm,
    /// Names the models: another one's verdict is not this one's.
    models: Key,
    ceiling: f32,
    router: Router,
    paid: Arc<Paid>,
    metrics: LlmMetrics,
}

impl Llm {
    /// A step that asks these providers, and lifts no case above `ceiling`.
    pub fn new(
        config: config::Llm,
        ceiling: f32,
        providers: Vec<Provider>,
        paid: Arc<Paid>,
        metrics: LlmMetrics,
    ) -> Self {
        let models = providers.iter().fold(Sha256::new(), |models, one| {
            let Provider { config, .. } = one;
            models.chain_update(format!("{:?} {:?}\n", config.uri, config.endpoint))
        });
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
            models: models.finalize().into(),
            ceiling,
            paid,
            metrics,
        }
    }

    /// Names a question to these models.
    fn key(&self, prompt: &Prompt) -> Key {
        let named = Sha256::new_with_prefix(self.models).chain_update(prompt.key);
        named.finalize().into()
    }

    /// What a verdict weighs. One that lets a client through weighs nothing: it clears no client.
    fn finding(&self, judged: &Judged) -> Finding {
        let Opinion {
            verdict,
            confidence,
            reason,
        } = &judged.opinion;
        let weight = if verdict.condemns() {
            confidence * self.config.most_weight
        } else {
            0.0
        };
        let names: Vec<String> = judged
            .given
            .iter()
            .map(|one| format!("{}/{}", one.provider, one.model))
            .collect();
        Finding {
            weight,
            ceiling: self.ceiling,
            evidence: format!(
                "{} says {} ({confidence:.2}): {reason}",
                names.join(" and "),
                verdict.name()
            ),
        }
    }

    /// The first provider that answers, and a second one for a sample.
    async fn judge(&self, case: &Case, prompt: &Prompt, asked: Asked) -> Result<Judged, Unjudged> {
        let now_ms = asked.now_ms();
        if !self.paid.has_quota(case, now_ms) {
            let what = "the neighbourhood has had its share of questions";
            return Err(Unjudged::for_now(what.to_owned()));
        }
        let order = self.router.order(&case.site, prompt.bytes(), now_ms);
        let (mut failures, mut stumbled) = (Vec::new(), false);
        let mut rest = order.iter();
        for route in rest.by_ref() {
            match self.put(route, prompt, asked).await {
                Ok(opinion) => {
                    let judged = Judged {
                        given: vec![given_by(&route.provider, &opinion)],
                        opinion,
                    };
                    return Ok(self.with_second(judged, rest.next(), prompt, asked).await);
                }
                Err(error) => {
                    stumbled |= matches!(error, AskError::Verdict(_));
                    failures.push(format!("{}: {error}", route.provider.config.name));
                }
            }
        }
        if failures.is_empty() {
            failures.push("no provider may be asked now".to_owned());
        }
        Err(Unjudged {
            why: StepError(failures.join("; ")),
            stumbled,
        })
    }

    /// Where two disagree, the milder verdict counts.
    async fn with_second(
        &self,
        first: Judged,
        other: Option<&Arc<Route>>,
        prompt: &Prompt,
        asked: Asked,
    ) -> Judged {
        let Some(other) = other.filter(|_| sampled(prompt, self.config.second_opinion)) else {
            return first;
        };
        let Ok(second) = self.put(other, prompt, asked).await else {
            return first;
        };
        let agrees = second.verdict.condemns() == first.opinion.verdict.condemns();
        let other = given_by(&other.provider, &second);
        let labels = [
            other.provider.as_str(),
            other.model.as_str(),
            if agrees { "yes" } else { "no" },
        ];
        self.metrics.opinions.with_label_values(&labels).inc();
        let mut given = first.given;
        given.push(other);
        let harm = |opinion: &Opinion| {
            if opinion.verdict.condemns() {
                opinion.confidence
            } else {
                0.0
            }
        };
        let opinion = if harm(&second) < harm(&first.opinion) {
            second
        } else {
            first.opinion
        };
        Judged { opinion, given }
    }

    async fn put(&self, route: &Route, prompt: &Prompt, asked: Asked) -> Result<Opinion, AskError> {
        let provider = &route.provider;
        let labels = [
            provider.config.name.as_str(),
            provider.config.uri.model.as_str(),
        ];
        let began_ms = asked.now_ms();
        route.begin(began_ms);
        let answer = provider
            .ask(prompt, &self.paid.ledger, self.config.budget, asked)
            .await;
        let now_ms = asked.now_ms();
        let seconds = self.metrics.seconds.with_label_values(&labels);
        seconds.observe(now_ms.saturating_sub(began_ms) as f64 / 1000.0);
        match &answer {
            Ok(opinion) => {
                route.answered();
                let labels = [labels[0], labels[1], opinion.verdict.name()];
                self.metrics.verdicts.with_label_values(&labels).inc();
            }
            Err(error) => {
                match error {
                    AskError::Verdict(_) => route.answered(),
                    _ if error.is_the_providers() => route.failed(now_ms),
                    _ => {}
                }
                let labels = [labels[0], labels[1], error.name()];
                self.metrics.failures.with_label_values(&labels).inc();
            }
        }
        self.show_spent(now_ms).await;
        answer
    }

    async fn show_spent(&self, now_ms: u64) {
        let spent = on_disk(&self.paid.ledger, move |ledger| ledger.spent(now_ms)).await;
        if let Ok((hour, day)) = spent {
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
        let key = self.key(prompt);
        let known = self.paid.cache.recall(&key, now_ms)?;
        self.metrics.recalled.inc();
        let Some(judged) = known.answer else {
            return Some(Err(StepError(
                "nobody answered a case like it just now".to_owned(),
            )));
        };
        self.paid.truths.note(case.id, key, &judged.given);
        Some(Ok(self.finding(&judged)))
    }
}

#[async_trait]
impl Step for Llm {
    fn name(&self) -> &'static str {
        LANGUAGE_MODEL
    }

    fn recall(&self, case: &Case, now_ms: u64) -> Option<Finding> {
        self.known(case, &Prompt::about(case), now_ms)?.ok()
    }

    async fn ask(&self, case: &Case, now_ms: u64) -> Result<Finding, StepError> {
        let asked = Asked::new(now_ms);
        let prompt = Prompt::about(case);
        let key = self.key(&prompt);
        let _permit = self.paid.cache.permit(key).await;
        if let Some(known) = self.known(case, &prompt, asked.now_ms()) {
            return known;
        }
        let judged = self.judge(case, &prompt, asked).await;
        let remember_ms = u64::from(self.config.remember_secs) * 1000;
        let answer = judged.as_ref().ok().cloned();
        if judged.as_ref().map_or_else(|why| why.stumbled, |_| true) {
            let now_ms = asked.now_ms();
            self.paid.cache.keep(key, answer, now_ms, remember_ms);
        }
        let judged = judged.map_err(|unjudged| unjudged.why)?;
        self.paid.truths.note(case.id, key, &judged.given);
        Ok(self.finding(&judged))
    }
}

fn given_by(provider: &Provider, opinion: &Opinion) -> GivenVerdict {
    GivenVerdict {
        provider: provider.config.name.clone(),
        model: provider.config.uri.model.clone(),
        verdict: opinion.verdict,
    }
}

/// A sample that a client cannot choose to be in or out of by asking again: it hangs on the record.
fn sampled(prompt: &Prompt, share: f32) -> bool {
    let point = u16::from_be_bytes([prompt.key[0], prompt.key[1]]);
    f32::from(point) / 65_536.0 < share
}
