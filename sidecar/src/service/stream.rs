//! The two calls that last: a gateway's connection, and a watcher's.

use std::sync::Arc;

use thornwall_decisions::clock::Clock;
use thornwall_proto::v1::{
    self, gateway_message::Message as Received, sidecar_message::Message as Sent,
};
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::{Boxed, Sidecar};
use crate::{
    assessment::{Assessment, Consequence},
    case::Case,
    decision_log::Event,
    shutdown::stopped,
    wire::{LONGEST_NAME, consequence_of, text_of, truth_of},
};

/// Messages that wait for a gateway or a watcher that reads slowly.
const MOST_WAITING: usize = 1024;

/// Serves one gateway until it leaves.
pub(super) async fn gateway(
    sidecar: Arc<Sidecar>,
    caller: String,
    mut received: Streaming<v1::GatewayMessage>,
) -> Result<Response<Boxed<v1::SidecarMessage>>, Status> {
    let permit = sidecar.stream_permit()?;
    let first = received.message().await?;
    let first = first.and_then(|received| received.message);
    let Some(Received::Hello(hello)) = first else {
        return Err(Status::failed_precondition("expected `hello` first"));
    };
    let gateway = text_of("hello.gateway", hello.gateway, LONGEST_NAME).map_err(super::refused)?;
    // Another numbering says nothing about this one.
    let after = if hello.sidecar == sidecar.name {
        hello.after
    } else {
        0
    };
    let (sender, messages) = mpsc::channel(MOST_WAITING);
    log::info!("gateway connected; gateway={gateway:?} caller={caller}");
    let sending = tokio::spawn(follow(Arc::clone(&sidecar), after, sender));
    tokio::spawn(async move {
        let _permit = permit;
        sidecar.metrics.gateways.inc();
        let mut shutdown = sidecar.shutdown.clone();
        tokio::select! {
            () = receive(&sidecar, &mut received) => {}
            () = stopped(&mut shutdown) => {}
        }
        sending.abort();
        sidecar.metrics.gateways.dec();
        log::info!("gateway left; gateway={gateway:?} caller={caller}");
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
}

/// Receives a gateway's messages. One that is not valid is counted, and costs the others nothing.
async fn receive(sidecar: &Sidecar, received: &mut Streaming<v1::GatewayMessage>) {
    while let Ok(Some(message)) = received.message().await {
        match message.message {
            Some(Received::Case(case)) => match Case::try_from(case) {
                Ok(case) => {
                    sidecar.begin(case);
                    // Other gateways' cases have their turn.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    log::debug!("case refused; {error}");
                    sidecar.metrics.refused.inc();
                }
            },
            Some(Received::Outcome(outcome)) => prove(sidecar, &outcome),
            Some(Received::Hello(_)) | None => sidecar.metrics.refused.inc(),
        }
    }
}

/// Keeps what proved true with its case, where this version knows what it is.
fn prove(sidecar: &Sidecar, outcome: &v1::Outcome) {
    let truth = truth_of(outcome.truth());
    let Ok(case) = outcome.case_id.parse() else {
        sidecar.metrics.refused.inc();
        return;
    };
    sidecar.metrics.proved(truth);
    if let Some(truth) = truth {
        sidecar.paid.proved(case, truth);
        sidecar.history.proved(case, truth);
    }
}

/// Sends a gateway what it missed, and everything from then on.
async fn follow(
    sidecar: Arc<Sidecar>,
    mut after: u64,
    sender: mpsc::Sender<Result<v1::SidecarMessage, Status>>,
) {
    let welcome = v1::Welcome {
        sidecar: sidecar.name.clone(),
    };
    if sender
        .send(Ok(message(Sent::Welcome(welcome))))
        .await
        .is_err()
    {
        return;
    }
    loop {
        let (missed, mut events) = sidecar.decisions.follow(after, sidecar.time.now().unix_ms);
        for entry in missed {
            if !pass_on(entry.event(), &mut after, &sender).await {
                return;
            }
        }
        loop {
            match events.recv().await {
                Ok(event) => {
                    if !pass_on(event, &mut after, &sender).await {
                        return;
                    }
                }
                // The gateway read too slowly: what still holds is sent again.
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// Sends an event; whether the gateway is still there.
async fn pass_on(
    event: Event,
    after: &mut u64,
    sender: &mpsc::Sender<Result<v1::SidecarMessage, Status>>,
) -> bool {
    let sent = match event {
        Event::Assessment(assessment) => Sent::Assessment(assessment.into()),
        Event::Decision(decision) => {
            *after = decision.number;
            Sent::Decision(decision.into())
        }
        Event::Withdrawal(withdrawal) => {
            *after = withdrawal.number;
            Sent::Withdrawal(withdrawal.into())
        }
    };
    sender.send(Ok(message(sent))).await.is_ok()
}

const fn message(sent: Sent) -> v1::SidecarMessage {
    v1::SidecarMessage {
        message: Some(sent),
    }
}

/// What a watcher asked for.
struct Wanted {
    /// The site's name; empty for all sites.
    site: String,
    /// The mildest consequence.
    least: Consequence,
}

impl Wanted {
    fn takes(&self, assessment: &Assessment) -> bool {
        let site = self.site.is_empty() || self.site == assessment.site;
        site && assessment.consequence.covers(self.least)
    }
}

/// Serves one watcher until it leaves, or falls behind.
pub(super) fn watch(
    sidecar: &Arc<Sidecar>,
    request: v1::WatchRequest,
) -> Result<Response<Boxed<v1::Assessment>>, Status> {
    let wanted = Wanted {
        least: consequence_of(request.least),
        site: request.site,
    };
    let permit = sidecar.stream_permit()?;
    let (_, mut events) = sidecar.decisions.follow(u64::MAX, 0);
    let (sender, messages) = mpsc::channel(MOST_WAITING);
    let mut shutdown = sidecar.shutdown.clone();
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            let next = tokio::select! {
                event = events.recv() => event,
                () = sender.closed() => return,
                () = stopped(&mut shutdown) => return,
            };
            let message = match next {
                Ok(Event::Assessment(assessment)) if wanted.takes(&assessment) => {
                    Ok(assessment.into())
                }
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => Err(Status::resource_exhausted("read too slowly")),
                Err(RecvError::Closed) => return,
            };
            let over = message.is_err();
            if sender.send(message).await.is_err() || over {
                return;
            }
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
}
