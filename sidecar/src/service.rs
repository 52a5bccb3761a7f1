//! The service: what each call does, and who may make it.

use std::{pin::Pin, sync::Arc};

use thornwall_decisions::{
    clock::Clock,
    decision::{LONGEST, MOST_TEXT},
};
use thornwall_proto::v1::{self, escalation_server::Escalation};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::sidecar::{MOST_ASKING, MOST_STREAMS, Sidecar};
use crate::{
    assessment::{Consequence, Decision},
    case::{Case, CaseError, CaseId},
    config::Role,
    history::{HistoryError, is_page},
    wire::{LONGEST_NAME, consequence_of, label_of, subject_of, text_of},
};

mod sidecar;
mod stream;

/// The service, over what calls share.
#[derive(Clone)]
pub(crate) struct Service(pub Arc<Sidecar>);

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
        let (assessment, pending) = self.0.settle(case);
        let Some(case) = pending else {
            return Ok(Response::new(assessment));
        };
        let permit = Arc::clone(&self.0.asking).try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many calls wait"))?;
        let sidecar = Arc::clone(&self.0);
        // A caller that leaves does not waste what was paid for.
        let asking = tokio::spawn(async move {
            let _permit = permit;
            sidecar.assess_fully(case).await
        });
        let assessed = asking.await;
        assessed
            .map(Response::new)
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
        let found = self.0.history.explain(id).await.map_err(unavailable)?;
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
        let (assessments, next_page) = page.map_err(unavailable)?;
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
        let consequence = consequence_of(wanted.action);
        if !matches!(consequence, Consequence::Act(_)) {
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
        let decision = Decision {
            number: 0,
            subject,
            site: text_of("site", wanted.site.clone(), LONGEST_NAME).map_err(refused)?,
            consequence,
            reason: "decision.operator".to_owned(),
            evidence: format!("by {caller}"),
            made_ms: now_ms,
            until_ms: now_ms + u64::from(wanted.for_secs) * 1000,
            request_ids: Vec::new(),
            by_operator: true,
            note: text_of("note", wanted.note.clone(), MOST_TEXT).map_err(refused)?,
        };
        let decision = self.0.decisions.decide(decision, now_ms);
        self.0.history.decided(decision.clone());
        Ok(Response::new(v1::OverrideResponse {
            decision: Some(decision.into()),
        }))
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeRequest>,
    ) -> Result<Response<v1::RevokeResponse>, Status> {
        self.0.callers.load().admit(&request, Role::Operate)?;
        let v1::RevokeRequest { subject, site } = request.into_inner();
        let subject = subject_of("subject", &subject).map_err(refused)?;
        let now_ms = self.0.time.now().unix_ms;
        let withdrawn = self.0.decisions.withdraw(subject, &site, now_ms);
        let withdrawal =
            withdrawn.ok_or_else(|| Status::not_found("nothing is decided about it"))?;
        self.0.history.withdrawn(withdrawal.clone());
        Ok(Response::new(v1::RevokeResponse {
            withdrawal: Some(withdrawal.into()),
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
        let label = label_of(sent.label());
        let label = label.ok_or(CaseError::Range("label")).map_err(refused)?;
        let note = text_of("note", sent.note, MOST_TEXT).map_err(refused)?;
        let labelled = self
            .0
            .history
            .label(id, label, format!("{caller}: {note}"))
            .await;
        let case = labelled.map_err(unavailable)?;
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

/// The answer to a call that the history cannot serve.
fn unavailable(error: HistoryError) -> Status {
    Status::unavailable(error.to_string())
}

/// The answer to a message that is not valid.
fn refused(error: CaseError) -> Status {
    Status::invalid_argument(error.to_string())
}
