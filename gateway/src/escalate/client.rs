//! The connection to a sidecar: made, kept, and made again. Task `sidecar`.

use std::{error::Error as _, sync::Arc, time::Duration};

use thiserror::Error;
use thornwall_decisions::{
    clock::Clock,
    decision::{Change, Scope},
    store::{self, Store, WriteOutcome},
};
use thornwall_filters::escalation::CaseId;
use thornwall_proto::{
    MOST_MESSAGE_BYTES,
    v1::{
        self, GatewayMessage, Hello, SidecarMessage, escalation_client::EscalationClient,
        gateway_message::Message as Outgoing, sidecar_message::Message as Incoming,
    },
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinError,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, transport};
use uuid::Uuid;

use super::{
    Settings, Sidecar,
    answers::{self, AnswerError, Taken},
    link::{LinkError, with_causes},
};

/// Longest wait for the first message of a sidecar.
const WELCOME: Duration = Duration::from_secs(5);
/// First and longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A call without a deadline would have one of seconds; this connection is to stay.
const STREAM: Duration = Duration::from_secs(86_400);
/// Messages on their way to the sidecar; the others stay in the table, where the order is kept.
const OUTBOUND: usize = 4;
/// Changes on their way to the store, so that its queue is never ours alone.
const CHANGES: usize = 1_024;
/// Time between two looks for cases that have ended.
const SWEEP: Duration = Duration::from_secs(30);
/// Longest name of a sidecar.
const LONGEST_NAME: usize = 64;

/// Why the sidecar is not there.
#[derive(Debug, Error)]
enum Lost {
    /// It ended the connection in order.
    #[error("it ended the connection")]
    Ended,
    /// The files or the address of the sidecar cannot be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It does not say who it is.
    #[error("its first message was no welcome")]
    NoWelcome,
    /// Reading its files failed within.
    #[error("{0}")]
    Panicked(JoinError),
    /// It refused, or broke off.
    #[error("{}", format_status(.0))]
    Refused(Box<Status>),
    /// It says nothing.
    #[error("no answer within {} s", WELCOME.as_secs())]
    Silent,
    /// TLS ends a handshake without a reason, as far as the connection shows.
    #[error(
        "it broke off before its first message, as one does that refuses our certificate: it has \
         expired, or is not of the sidecar's client_ca_file"
    )]
    Unwelcome,
    /// There is no connection.
    #[error("{}", with_causes(.0))]
    Unreachable(#[from] transport::Error),
}

impl From<Status> for Lost {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Longest text of a sidecar that is logged.
const LONGEST_TEXT: usize = 200;

/// A status, as far as another program's text is logged.
fn format_status(status: &Status) -> String {
    let text = status.message();
    let text = &text[..text.floor_char_boundary(LONGEST_TEXT)];
    // What a status comes from is this side's own finding.
    let cause = status.source().map(with_causes).unwrap_or_default();
    let cause = if cause.is_empty() {
        cause
    } else {
        format!(": {cause}")
    };
    format!("{:?}: {}{cause}", status.code(), text.escape_debug())
}

/// The gateway's side of the connection to a sidecar.
pub(crate) struct Client {
    sidecar: Arc<Sidecar>,
    settings: Settings,
    store: Store,
    clock: Arc<dyn Clock>,
    /// Bounds what is on its way to the store.
    changes: Arc<Semaphore>,
    /// The sidecar that was followed, and the last number of it.
    followed: (String, u64),
}

impl Client {
    /// A client that is not connected.
    pub(crate) fn new(
        sidecar: Arc<Sidecar>,
        settings: Settings,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            sidecar,
            settings,
            store,
            clock,
            changes: Arc::new(Semaphore::new(CHANGES)),
            followed: Default::default(),
        }
    }

    /// Keeps connected until the process is to stop.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let (sidecar, clock) = (Arc::clone(&self.sidecar), Arc::clone(&self.clock));
        let sweep = async {
            loop {
                sleep(SWEEP).await;
                sidecar.cases.sweep(clock.now().own_ms);
            }
        };
        tokio::select! {
            () = self.keep_connected() => {}
            () = sweep => {}
            // An error means that the sender is gone, which is a stop too.
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    async fn keep_connected(&mut self) {
        let mut pause = PAUSES.0;
        let mut is_logged = false;
        loop {
            let began_ms = self.clock.now().own_ms;
            let Err(lost) = self.session().await;
            let (why, address) = (lost.to_string(), &self.sidecar.address);
            self.sidecar.tally.fail();
            if self.sidecar.went(why.clone()) {
                log::warn!("sidecar lost; address={address} error={why}");
                // One that ends each connection at once is not asked all the time.
                let lasted = self.clock.now().own_ms.saturating_sub(began_ms);
                if u128::from(lasted) > PAUSES.1.as_millis() {
                    pause = PAUSES.0;
                }
            } else if !is_logged {
                log::warn!("sidecar away; address={address} error={why}");
            } else {
                log::debug!("sidecar away; address={address} error={why}");
            }
            is_logged = true;
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Runs one connection, from its beginning to its loss.
    async fn session(&mut self) -> Result<std::convert::Infallible, Lost> {
        let (settings, address) = (self.settings.clone(), self.sidecar.address.clone());
        let link = tokio::task::spawn_blocking(move || settings.link(&address)).await;
        let link = link.map_err(Lost::Panicked)??;
        let channel = link.endpoint.connect().await?;
        let mut client =
            EscalationClient::new(channel).max_decoding_message_size(MOST_MESSAGE_BYTES);
        let (outbound, messages) = mpsc::channel(OUTBOUND);
        // There is room for one.
        let _ = outbound.try_send(envelope(Outgoing::Hello(self.hello())));
        let mut request = Request::new(ReceiverStream::new(messages));
        request.set_timeout(STREAM);
        if let Some(bearer) = link.bearer {
            request.metadata_mut().insert("authorization", bearer);
        }
        let welcomed = timeout(WELCOME, async {
            let mut inbound = client.stream(request).await?.into_inner();
            let first = inbound.message().await?;
            Ok::<_, Status>((inbound, first))
        });
        let welcomed = welcomed.await.map_err(|_| Lost::Silent)?;
        let over_tls = self.sidecar.address.starts_with("https:");
        let (mut inbound, first) = welcomed.map_err(|status| match status.source() {
            Some(_) if over_tls => Lost::Unwelcome,
            _ => status.into(),
        })?;
        self.welcome(first)?;
        tokio::select! {
            lost = Self::send(&self.sidecar, &self.clock, &self.store, &outbound) => lost,
            lost = receive(
                &self.sidecar,
                &self.clock,
                &self.store,
                &self.changes,
                &mut self.followed.1,
                &mut inbound,
            ) => lost,
        }
    }

    fn hello(&self) -> Hello {
        let (sidecar, after) = self.followed.clone();
        Hello {
            gateway: self.settings.name(),
            sidecar,
            after,
        }
    }

    fn welcome(&mut self, first: Option<SidecarMessage>) -> Result<(), Lost> {
        let Some(Incoming::Welcome(welcome)) = first.and_then(|first| first.message) else {
            return Err(Lost::NoWelcome);
        };
        let mut name = welcome.sidecar;
        name.truncate(name.floor_char_boundary(LONGEST_NAME));
        log::info!(
            "sidecar connected; address={} sidecar={} cases={}",
            self.sidecar.address,
            name.escape_debug(),
            self.sidecar.cases.len()
        );
        self.sidecar.came(&name);
        if name != self.followed.0 {
            self.followed = (name, 0);
        }
        Ok(())
    }

    /// Sends cases as they are due.
    async fn send(
        sidecar: &Sidecar,
        clock: &Arc<dyn Clock>,
        store: &Store,
        outbound: &mpsc::Sender<GatewayMessage>,
    ) -> Result<std::convert::Infallible, Lost> {
        let sites = store.decisions().sites();
        let name = |number| match sites.scope(number)? {
            Scope::Site(name) => Some(name),
            Scope::Deployment => None,
        };
        loop {
            // Only what the sidecar has room for is taken out of the queue.
            let permit = outbound.reserve().await.map_err(|_| Lost::Ended)?;
            let message = loop {
                if let Some(case) = sidecar.cases.next_trapped() {
                    break Outgoing::Outcome(trapped(case));
                }
                let now_ms = clock.now().own_ms;
                if let Some(case) = sidecar.cases.next(now_ms, name) {
                    break Outgoing::Case(case);
                }
                let nap = sidecar.cases.nap(now_ms);
                let _ = timeout(nap, sidecar.cases.due.notified()).await;
            };
            permit.send(envelope(message));
        }
    }
}

/// Takes what the sidecar says.
async fn receive(
    sidecar: &Sidecar,
    clock: &Arc<dyn Clock>,
    store: &Store,
    changes: &Arc<Semaphore>,
    after: &mut u64,
    inbound: &mut Streaming<SidecarMessage>,
) -> Result<std::convert::Infallible, Lost> {
    let known = |site: &str| store.decisions().sites().known(site).is_some();
    while let Some(received) = inbound.message().await? {
        let now = clock.now();
        let taken = match received.message {
            Some(Incoming::Assessment(assessment)) => {
                match assess(sidecar, &assessment) {
                    Ok(()) => {}
                    Err(error) => refuse(sidecar, error),
                }
                // Its number is followed where it comes by itself.
                let decision = assessment.decision;
                decision.map_or(Ok(Taken::Nothing), |sent| {
                    answers::decision(sent, now, known)
                })
            }
            Some(Incoming::Decision(sent)) => {
                *after = (*after).max(sent.number);
                answers::decision(sent, now, known)
            }
            Some(Incoming::Withdrawal(sent)) => {
                *after = (*after).max(sent.number);
                answers::withdrawal(&sent, now, known)
            }
            // A second welcome, or a message of a later version.
            Some(Incoming::Welcome(_)) | None => Ok(Taken::Nothing),
        };
        match taken {
            Ok(Taken::Change(change)) => write(sidecar, store, changes, change).await,
            Ok(Taken::Nothing) => {}
            Err(error) => refuse(sidecar, error),
        }
    }
    Err(Lost::Ended)
}

fn assess(sidecar: &Sidecar, assessment: &v1::Assessment) -> Result<(), AnswerError> {
    let (case, assessment) = answers::assessment(assessment)?;
    sidecar.tally.count(assessment.consequence);
    if sidecar.cases.answered(case) {
        sidecar.assessments.keep(case, assessment);
    }
    Ok(())
}

fn refuse(sidecar: &Sidecar, error: AnswerError) {
    sidecar.tally.refuse();
    log::debug!("a message of the sidecar cannot be taken; error={error}");
}

/// Hands a change to the store. It waits only where a thousand others have not been made yet.
async fn write(sidecar: &Sidecar, store: &Store, changes: &Arc<Semaphore>, change: Change) {
    let Ok(permit) = Arc::clone(changes).acquire_owned().await else {
        return;
    };
    let refused = sidecar.tally.clone();
    let done = move |receipt: store::Receipt| {
        let spared = receipt.outcomes.contains(&WriteOutcome::Spared);
        if spared {
            refused.refuse();
        }
        drop(permit);
    };
    store.write(vec![change], store::ChangeOrigin::Here, Box::new(done));
}

/// What proved true about a client that followed a link which only the tarpit has.
fn trapped(case: CaseId) -> v1::Outcome {
    v1::Outcome {
        case_id: case.to_string(),
        truth: v1::outcome::Truth::Trap.into(),
    }
}

const fn envelope(message: Outgoing) -> GatewayMessage {
    GatewayMessage {
        message: Some(message),
    }
}

/// Between half of a time and all of it, so that gateways do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let random = Uuid::new_v4().as_u64_pair().1 as u32;
    pause / 2 + pause / 2 * (random >> 16) / (1 << 16)
}

#[cfg(test)]
mod tests;
