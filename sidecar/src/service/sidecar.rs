//! What calls share, and what follows from an assessment: a decision, messages to whoever follows, an entry of
//! the history.

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
    board::Board,
    callers::Callers,
    case::Case,
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
pub struct Sidecar {
    /// Who may call.
    pub callers: ArcSwap<Callers>,
    /// What the sidecar shows and wants to see, where it speaks TLS.
    pub identity: Option<Identity>,
    /// What judges; nothing before the start is done.
    pub assessor: ArcSwap<Assessor>,
    /// What was condemned before, and what people said.
    pub memory: Arc<Memory>,
    /// What language models cost, and said.
    pub paid: Arc<Paid>,
    /// Cases that wait for an answer of others.
    pub waiting: Waiting,
    /// How far cases have grown.
    pub newest: Newest,
    /// Calls that may wait for one.
    pub asking: Arc<Semaphore>,
    /// Gateways and watchers that may be connected.
    pub streams: Arc<Semaphore>,
    /// What is decided.
    pub board: Board,
    /// What is kept.
    pub history: History,
    /// Who is told.
    pub alerts: Alerts,
    /// What is counted.
    pub metrics: Metrics,
    /// Names the numbering of decisions.
    pub name: String,
    /// What the time is.
    pub time: ProcessTime,
    /// Turns true once, when the process is to end: then calls that last do so too.
    pub shutdown: watch::Receiver<bool>,
}

impl Sidecar {
    /// Takes up what an earlier process left.
    pub fn remember(memory: &Memory, inherited: &Inherited) {
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

    /// Assesses a case by what is in memory. The case comes back where somebody is left to ask.
    pub fn settle(&self, case: Case) -> (v1::Assessment, Option<Case>) {
        let now_ms = self.time.now().unix_ms;
        let outcome = self.assessor.load().assess(&case, now_ms);
        self.newest.note(&case);
        let unripe = outcome.assessment.pending.then(|| case.clone());
        (self.publish(case, outcome, now_ms), unripe)
    }

    /// Assesses a case by what is in memory, and lets it wait for whoever is left to ask.
    pub fn begin(&self, case: Case) {
        let (assessment, unripe) = self.settle(case);
        if let Some(case) = unripe {
            let now_ms = self.time.now().unix_ms;
            self.waiting.offer(case, assessment.score, now_ms);
        }
    }

    /// Asks whoever is left to ask about a case.
    pub async fn ripen(&self, case: Case) -> v1::Assessment {
        let assessor = self.assessor.load_full();
        let outcome = assessor.assess_fully(&case, self.time.now().unix_ms).await;
        if !self.newest.is(&case) {
            return outcome.assessment.into();
        }
        self.publish(case, outcome, self.time.now().unix_ms)
    }

    /// Asks about cases that wait, one after the other, until the process is to end.
    pub async fn work(self: Arc<Self>) {
        let mut shutdown = self.shutdown.clone();
        loop {
            let case = tokio::select! {
                case = self.waiting.next(|| self.time.now().unix_ms) => case,
                () = stopped(&mut shutdown) => return,
            };
            // A step that panics ends its own case alone.
            let ripening = tokio::spawn({
                let sidecar = Arc::clone(&self);
                async move { sidecar.ripen(case).await }
            });
            if ripening.await.is_err() {
                log::error!("a step of the ladder failed");
            }
        }
    }

    /// Decides what follows, and tells everybody.
    fn publish(&self, case: Case, outcome: Outcome, now_ms: u64) -> v1::Assessment {
        let mut assessment = outcome.assessment;
        assessment.decision = match outcome.lifetime_ms {
            Some(lifetime_ms) => self.decide(&case, &assessment, now_ms, lifetime_ms),
            None => self.board.current(assessment.subject, &case.site, now_ms),
        };
        self.metrics.assessed(&assessment);
        if !assessment.pending {
            self.alerts.offer(&case, &assessment);
        }
        self.board.tell(&assessment);
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
        let current = self.board.current(assessment.subject, &case.site, now_ms);
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
        let decision = self.board.decide(
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
