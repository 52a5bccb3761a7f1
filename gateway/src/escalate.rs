//! The way to the sidecar: cases go up, what they come to goes into the store and stands beside the
//! requests that led to it.
//!
//! ```text
//!  filters `escalate` ── sight ──> Cases ── task `sidecar` ──> sidecar (gRPC)
//!  request.rs ── question ───────>   │            │
//!  proxy.rs <── who waits ──────── Labels <───────┴──> store: decisions of `Source::Sidecar`
//! ```
//!
//! No request waits for the sidecar unless its filter says so, and none at all while it is away:
//! then cases gather in their bounded table, and go up when it is back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use thornwall_detectors::{
    request::RequestView,
    signal::{Evidence, Reason, Signal},
};
use thornwall_filters::{
    decision::Action,
    escalation::{CaseId, Escalation, Interest, Sighting},
    key::KeySeed,
    pipeline::Judgement,
    verdict::{Answer, Denial, Ruling},
};
use tokio::task::JoinHandle;

use crate::{
    exchange::{Exchange, RequestId},
    generation::Generation,
    state::State,
};

mod answers;
mod case;
mod cases;
mod client;
mod labels;
mod link;
mod tally;

pub use cases::{Cases, MOST_CASES};
pub use labels::{Course, Label, Labels};
pub use link::Settings;
pub use tally::Tally;

/// What the gateway and its sidecar have with each other.
#[derive(Debug)]
pub struct Sidecar {
    /// What clients did, as far as filters found it dubious.
    pub cases: Cases,
    /// What cases came to.
    pub labels: Labels,
    /// What the sidecar said so far.
    pub tally: Tally,
    /// What shapes of requests are hashed with, here as in filters.
    key_seed: KeySeed,
    connected: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl Sidecar {
    /// Nothing known yet, and nobody connected.
    pub fn new(max_cases: usize, key_seed: KeySeed) -> Self {
        Self {
            key_seed,
            cases: Cases::new(max_cases),
            labels: Labels::default(),
            tally: Tally::default(),
            connected: AtomicBool::new(false),
            trouble: Mutex::default(),
        }
    }

    /// Whether the sidecar is there.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Why it is not, as far as that is known.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    fn came(&self) {
        *self.trouble.lock() = None;
        self.connected.store(true, Relaxed);
    }

    /// Lets go of everybody who waits. Whether it had been there.
    fn went(&self, why: String) -> bool {
        *self.trouble.lock() = Some(why);
        let was_there = self.connected.swap(false, Relaxed);
        self.labels.dismiss();
        self.cases.send_again();
        was_there
    }

    /// What a case comes to within `wait`. Nothing where that is known already, since then the store
    /// has what was decided, and nothing where the sidecar is away.
    async fn await_label(&self, case: CaseId, wait: Duration) -> Option<Label> {
        if !self.is_connected() || !self.cases.is_open(case) {
            return None;
        }
        let waiting = self.labels.wait(case)?;
        tokio::time::timeout(wait, waiting).await.ok()?
    }
}

impl Escalation for Sidecar {
    fn sight(&self, sighting: &Sighting) -> Interest {
        self.cases.sight(sighting)
    }
}

/// Has the sidecar told of a client that followed a link which only the tarpit has.
pub fn trap(request: &RequestView<'_>, state: &State) {
    if let Some(sidecar) = &state.sidecar {
        let sighting = Sighting::of(request, 1.0, &sidecar.key_seed);
        sidecar.cases.trap(&sighting);
    }
}

/// Takes up into its case what the sidecar is to know of a request.
pub fn submit(judgement: &mut Judgement, id: RequestId, state: &State) {
    let referral = judgement.referral.as_mut();
    let question = referral.and_then(|referral| referral.question.take());
    if let (Some(question), Some(sidecar)) = (question, &state.sidecar) {
        sidecar.cases.submit(*question, id, state.moment().unix_ms);
    }
}

/// Has a request wait for what its case comes to, where its filter says so, and applies that.
pub async fn settle(judgement: &mut Judgement, exchange: &mut Exchange, state: &State) {
    let (Some(sidecar), Some(referral)) = (&state.sidecar, &judgement.referral) else {
        return;
    };
    if referral.wait.is_zero() || judgement.ruling != Ruling::Forward {
        return;
    }
    let Some(label) = sidecar.await_label(referral.case, referral.wait).await else {
        return;
    };
    let (Some(site), Some(client)) = (exchange.site(), exchange.client) else {
        return;
    };
    let spared = state.store.decisions().spares(client);
    if spared || State::trusts(&exchange.generation, client) {
        return;
    }
    let slow_down = || site.pipeline.slow_down(site.id, client, state.now());
    apply(&label, judgement, slow_down);
    if judgement.ruling != Ruling::Forward {
        exchange.holds.release();
        judgement.notes.clear();
    }
}

/// Has a label count for a request that was to be forwarded. `slow_down` takes it from the slower
/// rate.
fn apply(label: &Label, judgement: &mut Judgement, slow_down: impl FnOnce() -> Ruling) {
    let Some(action) = label.action() else {
        return;
    };
    let reason = Reason::EscalationAssessed;
    judgement.ruling = match action {
        Action::Deny => Ruling::Answer(Answer::Deny(Denial::forbidden(reason))),
        Action::Tarpit => Ruling::Answer(Answer::Tarpit(reason)),
        // It has been counted already.
        Action::Throttle if judgement.throttled => return,
        Action::Throttle => slow_down(),
    };
    judgement.throttled |= action == Action::Throttle;
    // A throttled client is to be served, so this does not weigh on its score.
    let weight = if action == Action::Throttle { 0.0 } else { 1.0 };
    let evidence = Evidence::Score(label.score);
    let signal = Signal::with_evidence(reason, weight, evidence);
    judgement.trail.push(signal);
    judgement.score = judgement.trail.score();
}

/// Starts the task `sidecar`, where one is configured.
pub fn start(state: &Arc<State>) -> Option<JoinHandle<()>> {
    let sidecar = Arc::clone(state.sidecar.as_ref()?);
    let generation: Arc<Generation> = state.generation.load_full();
    let settings = generation.cold.escalation.clone()?;
    let client = client::Client::new(sidecar, settings, state.store.clone(), state.clock());
    Some(tokio::spawn(client.run(state.shutdown.clone())))
}

#[cfg(test)]
mod tests;
