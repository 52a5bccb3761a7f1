//! The two calls that last: a gateway's connection, and a watcher's.

use std::sync::Arc;

use thornwall_decisions::clock::Clock;
use thornwall_proto::v1::{
    self, gateway_message::Message as Sent, sidecar_message::Message as Told,
};
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::{Boxed, Sidecar, covers};
use crate::{
    board::Event,
    case::{Case, LONGEST_NAME, text_of},
    shutdown::stopped,
};

/// Messages that wait for a gateway or a watcher that reads slowly.
const MOST_WAITING: usize = 1024;

/// Serves one gateway until it leaves.
pub(super) async fn gateway(
    sidecar: Arc<Sidecar>,
    caller: String,
    mut sent: Streaming<v1::GatewayMessage>,
) -> Result<Response<Boxed<v1::SidecarMessage>>, Status> {
    let turn = sidecar.lasting()?;
    let first = sent.message().await?.and_then(|sent| sent.message);
    let Some(Sent::Hello(hello)) = first else {
        return Err(Status::failed_precondition("expected `hello` first"));
    };
    let gateway = text_of("hello.gateway", hello.gateway, LONGEST_NAME).map_err(super::refused)?;
    // Another numbering says nothing about this one.
    let after = if hello.sidecar == sidecar.name {
        hello.after
    } else {
        0
    };
    let (tell, told) = mpsc::channel(MOST_WAITING);
    log::info!("gateway connected; gateway={gateway:?} caller={caller}");
    let telling = tokio::spawn(follow(Arc::clone(&sidecar), after, tell));
    tokio::spawn(async move {
        let _turn = turn;
        sidecar.metrics.gateways.inc();
        let mut shutdown = sidecar.shutdown.clone();
        tokio::select! {
            () = hear(&sidecar, &mut sent) => {}
            () = stopped(&mut shutdown) => {}
        }
        telling.abort();
        sidecar.metrics.gateways.dec();
        log::info!("gateway left; gateway={gateway:?} caller={caller}");
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(told))))
}

/// Takes a gateway's messages. One that is none is counted, and costs the others nothing.
async fn hear(sidecar: &Sidecar, sent: &mut Streaming<v1::GatewayMessage>) {
    while let Ok(Some(message)) = sent.message().await {
        match message.message {
            Some(Sent::Case(case)) => match Case::try_from(case) {
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
            Some(Sent::Outcome(outcome)) => prove(sidecar, &outcome),
            Some(Sent::Hello(_)) | None => sidecar.metrics.refused.inc(),
        }
    }
}

/// Keeps what proved true with its case, where both are something that is known.
fn prove(sidecar: &Sidecar, outcome: &v1::Outcome) {
    let truth = outcome.truth();
    let Ok(case) = outcome.case_id.parse() else {
        sidecar.metrics.refused.inc();
        return;
    };
    sidecar.metrics.proved(truth);
    sidecar.paid.proved(case, truth);
    if truth != v1::outcome::Truth::Unspecified {
        sidecar.history.proved(case, truth);
    }
}

/// Tells a gateway what it missed, and everything from then on.
async fn follow(
    sidecar: Arc<Sidecar>,
    mut after: u64,
    tell: mpsc::Sender<Result<v1::SidecarMessage, Status>>,
) {
    let welcome = v1::Welcome {
        sidecar: sidecar.name.clone(),
    };
    if tell
        .send(Ok(message(Told::Welcome(welcome))))
        .await
        .is_err()
    {
        return;
    }
    loop {
        let (missed, mut events) = sidecar.board.follow(after, sidecar.time.now().unix_ms);
        for entry in missed {
            if !pass_on(entry.event(), &mut after, &tell).await {
                return;
            }
        }
        loop {
            match events.recv().await {
                Ok(event) => {
                    if !pass_on(event, &mut after, &tell).await {
                        return;
                    }
                }
                // It was too slow to hear all of it, and is told again what still holds.
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// Whether the gateway is still there.
async fn pass_on(
    event: Event,
    after: &mut u64,
    tell: &mpsc::Sender<Result<v1::SidecarMessage, Status>>,
) -> bool {
    let told = match event {
        Event::Assessment(assessment) => Told::Assessment(assessment),
        Event::Decision(decision) => {
            *after = decision.number;
            Told::Decision(decision)
        }
        Event::Withdrawal(withdrawal) => {
            *after = withdrawal.number;
            Told::Withdrawal(withdrawal)
        }
    };
    tell.send(Ok(message(told))).await.is_ok()
}

const fn message(told: Told) -> v1::SidecarMessage {
    v1::SidecarMessage {
        message: Some(told),
    }
}

/// Serves one watcher until it leaves, or falls behind.
pub(super) fn watch(
    sidecar: &Arc<Sidecar>,
    wanted: v1::WatchRequest,
) -> Result<Response<Boxed<v1::Assessment>>, Status> {
    let turn = sidecar.lasting()?;
    let (_, mut events) = sidecar.board.follow(u64::MAX, 0);
    let (tell, told) = mpsc::channel(MOST_WAITING);
    let mut shutdown = sidecar.shutdown.clone();
    tokio::spawn(async move {
        let _turn = turn;
        loop {
            let next = tokio::select! {
                event = events.recv() => event,
                () = tell.closed() => return,
                () = stopped(&mut shutdown) => return,
            };
            let told = match next {
                Ok(Event::Assessment(assessment)) if is_wanted(&wanted, &assessment) => {
                    Ok(assessment)
                }
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => Err(Status::resource_exhausted("read too slowly")),
                Err(RecvError::Closed) => return,
            };
            let over = told.is_err();
            if tell.send(told).await.is_err() || over {
                return;
            }
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(told))))
}

fn is_wanted(wanted: &v1::WatchRequest, assessment: &v1::Assessment) -> bool {
    let site = wanted.site.is_empty() || wanted.site == assessment.site;
    site && covers(assessment.action(), wanted.least())
}
