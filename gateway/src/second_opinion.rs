//! What requests add to cases, and what the assessments of sidecars change about requests.

use thornwall_decisions::decision::Action;
use thornwall_detectors::{
    request::RequestView,
    signal::{Evidence, Reason, Signal},
};
use thornwall_filters::{
    escalation::Sighting,
    pipeline::{Judgement, Notes},
    verdict::{Answer, Denial, Ruling},
};

use crate::{escalate::Assessment, exchange::Exchange, request_id::RequestId, state::State};

/// Reports to the sidecar a client that followed a link which only the tarpit has.
pub(crate) fn trap(request: &RequestView<'_>, state: &State) {
    if let Some(sidecars) = &state.sidecars {
        let sighting = Sighting::of(request, 1.0, &sidecars.key_seed);
        let sidecar = sidecars.of(sighting.site, sighting.client);
        sidecar.cases.trap(&sighting);
    }
}

/// Takes up into its case what the sidecar is to know of a request.
pub(crate) fn submit(judgement: &mut Judgement, id: RequestId, state: &State) {
    let referral = judgement.referral.as_mut();
    let question = referral.and_then(|referral| referral.question.take());
    if let (Some(question), Some(sidecars)) = (question, &state.sidecars) {
        let sidecar = sidecars.of(question.sighting.site, question.sighting.client);
        sidecar.cases.submit(*question, id, state.moment().unix_ms);
    }
}

/// Has a request wait for what its case comes to, where its filter says so, and applies that.
pub(crate) async fn settle(judgement: &mut Judgement, exchange: &mut Exchange, state: &State) {
    let (Some(sidecars), Some(referral)) = (&state.sidecars, &judgement.referral) else {
        return;
    };
    if referral.wait.is_zero() || judgement.ruling != Ruling::Forward {
        return;
    }
    let (Some(site), Some(route)) = (exchange.site(), exchange.route()) else {
        return;
    };
    let Some(client) = exchange.client.address else {
        return;
    };
    let sidecar = sidecars.of(site.id, client);
    let Some(assessment) = sidecar.await_assessment(referral.case, referral.wait).await else {
        return;
    };
    let spared = state.store.decisions().spares(client);
    if spared || State::trusts(&exchange.generation, client) {
        return;
    }
    // Whether a page is wanted is seen from the answer.
    let client = (site.id, client);
    let slow_down = |notes: &mut Notes| {
        let pipeline = &route.pipeline;
        pipeline.slow_down(client, false, state.now(), notes)
    };
    apply(&assessment, judgement, slow_down);
    if judgement.ruling != Ruling::Forward {
        exchange.holds.release();
        judgement.notes.clear();
    }
}

/// Has an assessment count for a request that was to be forwarded. `slow_down` takes it from the
/// slower rate.
fn apply(
    assessment: &Assessment,
    judgement: &mut Judgement,
    slow_down: impl FnOnce(&mut Notes) -> Ruling,
) {
    let Some(action) = assessment.action() else {
        return;
    };
    let reason = Reason::EscalationAssessed;
    judgement.ruling = match action {
        Action::Deny => Ruling::Answer(Answer::Deny(Denial::forbidden(reason))),
        Action::Tarpit => Ruling::Answer(Answer::Tarpit(reason)),
        // It has been counted already.
        Action::Throttle if judgement.throttled => return,
        Action::Throttle => slow_down(&mut judgement.notes),
    };
    judgement.throttled |= action == Action::Throttle;
    // A throttled client is to be served, so this does not weigh on its score.
    let weight = if action.serves() { 0.0 } else { 1.0 };
    let evidence = Evidence::Score(assessment.score);
    let signal = Signal::with_evidence(reason, weight, evidence);
    judgement.trail.push(signal);
    judgement.score = judgement.trail.score();
}

#[cfg(test)]
mod tests;
