//! What calls share, and what follows from an assessment: a decision, messages to
//! subscribers, an entry of the history.

use std::sync::Arc;

use arc_swap::ArcSwap;
use thornwall_decisions::{
    clock::{Clock, ProcessTime},
    decision::MOST_TEXT,
};
use thornwall_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::Status;

use crate::{
    alerts::Alerts,
    assess::{Assessor, Condemnation, Memory, Outcome, is_lifted},
    assessment::{Assessment, Decision},
    callers::Callers,
    case::Case,
    decision_log::DecisionLog,
    history::{History, Inherited},
    identity::Identity,
    llm::Paid,
    metrics::Metrics,
    shutdown::stopped,
    waiting::{Newest, Waiting},
};

/// Gateways and watchers that are connected at a time.
pub(crate) const MOST_STREAMS: usize = 256;
/// Calls of `Assess` that may wait for an answer of others at a time.
pub(crate) const MOST_ASKING: usize = 256;

/// Everything that calls share.
pub(crate) struct Sidecar {
    pub callers: ArcSwap<Callers>,
    /// What the sidecar shows and wants to see, where it speaks TLS.
    pub identity: Option<Identity>,
    /// The assessor of the current configuration.
    pub assessor: ArcSwap<Assessor>,
    /// Earlier condemnations, and labels that people gave.
    pub memory: Arc<Memory>,
    /// Costs and verdicts of language models.
    pub paid: Arc<Paid>,
    /// Cases that wait for an answer of others.
    pub waiting: Waiting,
    /// How far cases have grown.
    pub newest: Newest,
    /// Permits of calls that wait for an answer of others.
    pub asking: Arc<Semaphore>,
    /// Permits of gateways and watchers that are connected.
    pub streams: Arc<Semaphore>,
    /// The decisions that hold.
    pub decisions: DecisionLog,
    pub history: History,
    pub alerts: Alerts,
    pub metrics: Metrics,
    /// Names the numbering of decisions.
    pub name: String,
    pub time: ProcessTime,
    /// Turns true once, when the process is to end: then calls that last do so too.
    pub shutdown: watch::Receiver<bool>,
}

impl Sidecar {
    /// Takes up what an earlier process left.
    pub(crate) fn remember(memory: &Memory, inherited: &Inherited) {
        for case in &inherited.remembered {
            if let Some(until_ms) = case.condemned_until_ms {
                memory.condemn(&Condemnation {
                    id: case.id,
                    site: &case.site,
                    subject: case.subject,
                    shape: case.shape,
                    when_ms: case.when_ms,
                    until_ms,
                });
            }
            if let Some(label) = case.label {
                memory.label(&case.site, case.subject, label);
            }
        }
    }

    /// Assesses a case by what is in memory. The case comes back where
    /// steps that ask services are left.
    pub(crate) fn settle(&self, case: Case) -> (v1::Assessment, Option<Case>) {
        let now_ms = self.time.now().unix_ms;
        let outcome = self.assessor.load().assess(&case, now_ms);
        self.newest.note(&case);
        let pending = outcome.assessment.pending.then(|| case.clone());
        (self.publish(case, outcome, now_ms), pending)
    }

    /// Assesses a case by what is in memory, and lets it wait for the
    /// steps that ask services.
    pub(crate) fn begin(&self, case: Case) {
        let (assessment, pending) = self.settle(case);
        if let Some(case) = pending {
            let now_ms = self.time.now().unix_ms;
            self.waiting.offer(case, assessment.score, now_ms);
        }
    }

    /// Takes the steps that ask services.
    pub(crate) async fn assess_fully(&self, case: Case) -> v1::Assessment {
        let assessor = self.assessor.load_full();
        let outcome = assessor.assess_fully(&case, self.time.now().unix_ms).await;
        if !self.newest.is(&case) {
            return outcome.assessment.into();
        }
        self.publish(case, outcome, self.time.now().unix_ms)
    }

    /// Asks about cases that wait, one after the other, until the process is to end.
    pub(crate) async fn work(self: Arc<Self>) {
        let mut shutdown = self.shutdown.clone();
        loop {
            let case = tokio::select! {
                case = self.waiting.next(|| self.time.now().unix_ms) => case,
                () = stopped(&mut shutdown) => return,
            };
            // A step that panics ends its own case alone.
            let asking = tokio::spawn({
                let sidecar = Arc::clone(&self);
                async move { sidecar.assess_fully(case).await }
            });
            if asking.await.is_err() {
                log::error!("a step failed");
            }
        }
    }

    /// Decides what follows, notifies subscribers and people, and keeps the case.
    fn publish(&self, case: Case, outcome: Outcome, now_ms: u64) -> v1::Assessment {
        let mut assessment = outcome.assessment;
        assessment.decision = match outcome.lifetime_ms {
            Some(lifetime_ms) => self.decide(&case, &assessment, now_ms, lifetime_ms),
            None => self
                .decisions
                .current(assessment.subject, &case.site, now_ms),
        };
        self.metrics.assessed(&assessment);
        if !assessment.pending {
            self.alerts.offer(&case, &assessment);
        }
        self.decisions.announce(&assessment);
        self.history.keep(case, assessment)
    }

    /// Decides, unless as much or more is decided already for as long as half of the new time.
    fn decide(
        &self,
        case: &Case,
        assessment: &Assessment,
        now_ms: u64,
        lifetime_ms: u64,
    ) -> Option<Decision> {
        let consequence = assessment.consequence;
        let current = self
            .decisions
            .current(assessment.subject, &case.site, now_ms);
        if let Some(current) = current
            && current.stands_against(consequence, now_ms, lifetime_ms)
        {
            return Some(current);
        }
        let last = assessment.steps.iter().rev().find(|step| !step.failed);
        let mut evidence = format!(
            "score {:.3} after {} requests; {}",
            assessment.score,
            case.requests,
            last.map_or("", |step| step.evidence.as_str())
        );
        evidence.truncate(evidence.floor_char_boundary(MOST_TEXT));
        let decision = self.decisions.decide(
            Decision {
                number: 0,
                subject: assessment.subject,
                site: case.site.clone(),
                consequence,
                reason: assessment.reason.clone(),
                evidence,
                made_ms: now_ms,
                until_ms: now_ms + lifetime_ms,
                request_ids: case.request_ids.clone(),
                by_operator: false,
                note: String::new(),
            },
            now_ms,
        );
        if !is_lifted(&assessment.steps) {
            self.memory.condemn(&Condemnation {
                id: case.id,
                site: &case.site,
                subject: case.subject,
                shape: case.shape,
                when_ms: now_ms,
                until_ms: decision.until_ms,
            });
        }
        self.history.decided(decision.clone());
        Some(decision)
    }

    /// The permit of a call that lasts.
    pub(super) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        permit.map_err(|_| {
            self.metrics
                .turned_away
                .with_label_values(&["streams"])
                .inc();
            Status::resource_exhausted("too many gateways and watchers")
        })
    }
}
