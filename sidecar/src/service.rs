//! The service: what each call does, and who may make it.

use std::{pin::Pin, sync::Arc};

use arc_swap::ArcSwap;
use thornwall_decisions::{
    clock::{Clock, ProcessTime},
    decision::{LONGEST, MOST_TEXT},
};
use thornwall_proto::v1::{self, escalation_server::Escalation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    alerts::Alerts,
    assess::{Assessor, Condemnation, Memory, Outcome, is_lifted},
    board::Board,
    callers::Callers,
    case::{Case, CaseError, CaseId, LONGEST_NAME, subject_of, text_of},
    config::{Role, Severity},
    history::{History, Inherited, is_page},
    identity::Identity,
    llm::Paid,
    metrics::Metrics,
    shutdown::stopped,
    waiting::{Newest, Waiting},
};

mod stream;

/// Gateways and watchers that are connected at a time.
pub const MOST_STREAMS: usize = 256;
/// Calls of `Assess` that may wait for an answer of others at a time.
pub const MOST_ASKING: usize = 256;

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

/// The service, over what calls share.
#[derive(Clone)]
pub struct Service(pub Arc<Sidecar>);

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
            if case.label != v1::Label::Unspecified {
                memory.label(&case.site, case.subject, case.label);
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
            return outcome.assessment;
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
            None => self.board.current(&assessment.subject, &case.site, now_ms),
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
        assessment: &v1::Assessment,
        now_ms: u64,
        lifetime_ms: u64,
    ) -> Option<v1::Decision> {
        let current = self.board.current(&assessment.subject, &case.site, now_ms);
        if let Some(current) = current {
            let lasts = current.until_ms >= now_ms + lifetime_ms / 2;
            if current.by_operator || (covers(current.action(), assessment.action()) && lasts) {
                return Some(current);
            }
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
            v1::Decision {
                subject: assessment.subject.clone(),
                site: case.site.clone(),
                action: assessment.action,
                reason: assessment.reason.clone(),
                evidence,
                made_ms: now_ms,
                until_ms: now_ms + lifetime_ms,
                request_ids: case.request_ids.clone(),
                ..v1::Decision::default()
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
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Escalation for Service {
    type StreamStream = Boxed<v1::SidecarMessage>;
    type WatchStream = Boxed<v1::Assessment>;

    async fn assess(
        &self,
        request: Request<v1::AssessRequest>,
    ) -> Result<Response<v1::Assessment>, Status> {
        self.0.callers.load().admit(&request, Role::Assess)?;
        let sent = request.into_inner().case;
        let sent = sent.ok_or(CaseError::Missing("case")).map_err(refused)?;
        let case = Case::try_from(sent).map_err(refused)?;
        let (assessment, unripe) = self.0.settle(case);
        let Some(case) = unripe else {
            return Ok(Response::new(assessment));
        };
        let turn = Arc::clone(&self.0.asking).try_acquire_owned();
        let turn = turn.map_err(|_| Status::resource_exhausted("too many calls wait"))?;
        let sidecar = Arc::clone(&self.0);
        // A caller that leaves does not waste what was paid for.
        let ripening = tokio::spawn(async move {
            let _turn = turn;
            sidecar.ripen(case).await
        });
        let ripe = ripening.await;
        ripe.map(Response::new)
            .map_err(|_| Status::internal("a step failed"))
    }

    async fn stream(
        &self,
        request: Request<Streaming<v1::GatewayMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let caller = self
            .0
            .callers
            .load()
            .admit(&request, Role::Assess)?
            .to_owned();
        stream::gateway(Arc::clone(&self.0), caller, request.into_inner()).await
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.0.callers.load().admit(&request, Role::Watch)?;
        stream::watch(&self.0, request.into_inner())
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::Explanation>, Status> {
        self.0.callers.load().admit(&request, Role::Watch)?;
        let id: CaseId = request.into_inner().case_id.parse().map_err(refused)?;
        let found = self
            .0
            .history
            .explain(id)
            .await
            .map_err(Status::unavailable)?;
        found
            .map(Response::new)
            .ok_or_else(|| Status::not_found("no such case"))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        self.0.callers.load().admit(&request, Role::Watch)?;
        let request = request.into_inner();
        if !request.subject.is_empty() {
            subject_of("subject", &request.subject).map_err(refused)?;
        }
        if !request.page.is_empty() && !is_page(&request.page) {
            return Err(refused(CaseError::Range("page")));
        }
        let page = self.0.history.list(request).await;
        let (assessments, next_page) = page.map_err(Status::unavailable)?;
        Ok(Response::new(v1::ListResponse {
            assessments,
            next_page,
        }))
    }

    async fn r#override(
        &self,
        request: Request<v1::OverrideRequest>,
    ) -> Result<Response<v1::OverrideResponse>, Status> {
        let callers = self.0.callers.load();
        let caller = callers.admit(&request, Role::Operate)?;
        let wanted = request.get_ref();
        let action = wanted.action();
        let acts = [v1::Action::Throttle, v1::Action::Tarpit, v1::Action::Deny];
        if !acts.contains(&action) {
            return Err(refused(CaseError::Range("action")));
        }
        if !(1..=LONGEST.as_secs()).contains(&wanted.for_secs.into()) {
            return Err(refused(CaseError::Range("for_secs")));
        }
        let subject = subject_of("subject", &wanted.subject).map_err(refused)?;
        if subject.is_broad() && !wanted.broad {
            return Err(Status::invalid_argument(format!(
                "{subject} is a large part of all addresses: people are likely behind it; \
                 `broad` decides it all the same"
            )));
        }
        let now_ms = self.0.time.now().unix_ms;
        let decision = v1::Decision {
            subject: subject.to_string(),
            site: text_of("site", wanted.site.clone(), LONGEST_NAME).map_err(refused)?,
            action: action.into(),
            reason: "decision.operator".to_owned(),
            evidence: format!("by {caller}"),
            made_ms: now_ms,
            until_ms: now_ms + u64::from(wanted.for_secs) * 1000,
            by_operator: true,
            note: text_of("note", wanted.note.clone(), MOST_TEXT).map_err(refused)?,
            ..v1::Decision::default()
        };
        let decision = self.0.board.decide(decision, now_ms);
        self.0.history.decided(decision.clone());
        Ok(Response::new(v1::OverrideResponse {
            decision: Some(decision),
        }))
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeRequest>,
    ) -> Result<Response<v1::RevokeResponse>, Status> {
        self.0.callers.load().admit(&request, Role::Operate)?;
        let v1::RevokeRequest { subject, site } = request.into_inner();
        let subject = subject_of("subject", &subject)
            .map_err(refused)?
            .to_string();
        let now_ms = self.0.time.now().unix_ms;
        let withdrawn = self.0.board.withdraw(&subject, &site, now_ms);
        let withdrawal =
            withdrawn.ok_or_else(|| Status::not_found("nothing is decided about it"))?;
        self.0.history.withdrawn(withdrawal.clone());
        Ok(Response::new(v1::RevokeResponse {
            withdrawal: Some(withdrawal),
        }))
    }

    async fn feedback(
        &self,
        request: Request<v1::FeedbackRequest>,
    ) -> Result<Response<v1::FeedbackResponse>, Status> {
        let caller = self
            .0
            .callers
            .load()
            .admit(&request, Role::Operate)?
            .to_owned();
        let sent = request.into_inner();
        let id: CaseId = sent.case_id.parse().map_err(refused)?;
        let label = sent.label();
        if label == v1::Label::Unspecified {
            return Err(refused(CaseError::Range("label")));
        }
        let note = text_of("note", sent.note, MOST_TEXT).map_err(refused)?;
        let labelled = self
            .0
            .history
            .label(id, label, format!("{caller}: {note}"))
            .await;
        let case = labelled.map_err(Status::unavailable)?;
        let case = case.and_then(|case| case.case);
        let case = case.ok_or_else(|| Status::not_found("no such case"))?;
        let subject = subject_of("case.subject", &case.subject).map_err(refused)?;
        self.0
            .assessor
            .load()
            .memory()
            .label(&case.site, subject, label);
        self.0.paid.labelled(id, label);
        Ok(Response::new(v1::FeedbackResponse {}))
    }
}

impl Sidecar {
    /// A turn for a call that lasts.
    fn lasting(&self) -> Result<OwnedSemaphorePermit, Status> {
        let turn = Arc::clone(&self.streams).try_acquire_owned();
        turn.map_err(|_| {
            self.metrics
                .turned_away
                .with_label_values(&["streams"])
                .inc();
            Status::resource_exhausted("too many gateways and watchers")
        })
    }
}

/// What a caller is told whose message is none.
fn refused(error: CaseError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Whether one action is as harsh as another, or harsher. An action of another version is none.
fn covers(one: v1::Action, other: v1::Action) -> bool {
    Severity::of(one) >= Severity::of(other)
}

#[cfg(test)]
mod tests {
    use thornwall_proto::v1::Action;

    use super::covers;

    #[test]
    fn an_action_covers_what_is_no_harsher_whatever_their_numbers() {
        let rising = [
            &[Action::Unspecified, Action::None][..],
            &[Action::Alert],
            &[Action::Throttle],
            &[Action::Tarpit],
            &[Action::Deny],
        ];
        for (place, actions) in rising.iter().enumerate() {
            for (other_place, others) in rising.iter().enumerate() {
                for (one, other) in actions
                    .iter()
                    .flat_map(|a| others.iter().map(move |b| (*a, *b)))
                {
                    assert_eq!(
                        covers(one, other),
                        place >= other_place,
                        "{one:?} {other:?}"
                    );
                }
            }
        }
    }

    /// Numbers of the contract are on the wire between versions, and in the history's file.
    #[test]
    fn the_contracts_numbers_stay() {
        let named = |number: i32| Action::try_from(number).map(|action| action.as_str_name());
        let names = (0..=6).map(|number| named(number).unwrap_or("unknown"));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                "ACTION_UNSPECIFIED",
                "ACTION_NONE",
                "ACTION_ALERT",
                "ACTION_THROTTLE",
                "ACTION_TARPIT",
                "ACTION_DENY",
                "unknown",
            ]
        );
    }
}
