//! A store that several gateways share: Redis or Valkey, beside the local one and never in its place.
//!
//! Requests are judged from memory, whatever becomes of the shared store. A task brings to it what
//! was decided here, and to the local store what was decided elsewhere. Each decision is a key with
//! a lifetime, and each change is an entry of a stream besides:
//!
//! | key | holds |
//! |---|---|
//! | `<tenant>:decision:<site or *>:<network>` | the decision as JSON, with the time that is left to it |
//! | `<tenant>:decisions` | a stream of changes, in the field `change` as JSON, at most about [`MOST_ENTRIES`] |
//! | `<tenant>:limits` | a channel, on which gateways publish what they let through |
//! | `<tenant>:counters` | a channel, on which gateways publish what they counted |
//! | `<tenant>:epoch` | a random text: which life of the shared store this is |
//! | `<tenant>:gateway:<number>` | nothing, with some seconds to live: a gateway that is there |
//!
//! A session reads the stream from where the gateway left it and compares all keys with what it
//! holds. Where the stream does not reach back that far, the keys are the truth, and what is not
//! there any more is dropped here too. Where the shared store has lost something (another epoch, an
//! entry of the stream that is gone, a key that was never withdrawn), the gateways send it again. So a
//! Redis that comes back empty is filled, and ends no decision early.
//!
//! Whatever goes wrong ends the session; the next one begins after a pause, with new connections. What
//! Redis answers is held against bounds before it is read (`wire`): another writer to it, or a server
//! that answers in its place, takes no memory of a gateway's and keeps it from nothing that comes after.

mod access;
mod entry;
mod follow;
mod limits;
mod link;
mod pages;
mod predecessor;
mod send;
mod status;
mod stream;
mod subscribe;
mod wire;

use std::{
    convert::Infallible,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};

use self::{link::LinkError, wire::Bounds};
use super::{Done, Store};
use crate::clock::Clock;

pub use access::{Access, AccessError, Credentials};
pub use entry::{EntryError, Names, decode_entry, decode_value};
pub use limits::{LimitExchange, SharedTables};
pub use predecessor::PredecessorList;
pub use status::{LinkStatus, Trouble};
pub use wire::{MOST_ANSWER, weigh_answer};

/// Entries that are kept in the stream. A gateway that was away for longer compares all keys.
pub const MOST_ENTRIES: u64 = 65_536;
/// What is read of an answer about decisions: twice the largest value that is one, and some thousands
/// of usual ones.
const DECISIONS: Bounds = Bounds {
    text: 64 << 10,
    total: MOST_ANSWER,
    over: 0,
};
/// Pause before the second try, which doubles with each further one.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between tries.
const MOST_PAUSE: Duration = Duration::from_secs(5);

/// Replication between the local store and the shared one.
pub struct SharedStore {
    store: Store,
    clock: Arc<dyn Clock>,
    access: Access,
    names: Names,
    status: Arc<LinkStatus>,
}

impl SharedStore {
    /// Replication of the store of this process. Nothing is connected before [`Self::run`].
    pub fn new(store: Store, clock: Arc<dyn Clock>, access: Access, names: Names) -> Self {
        Self {
            store,
            clock,
            access,
            names,
            status: Arc::default(),
        }
    }

    /// State of its connection.
    pub const fn status(&self) -> &Arc<LinkStatus> {
        &self.status
    }

    /// Runs until `shutdown` turns true. Changes that are unsent by then are sent by the next process.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        let (status, session) = (&self.status, || self.session());
        keep_up("shared store", status, session, shutdown).await;
    }

    async fn session(&self) -> Result<Infallible, LinkError> {
        let reader = self.access.connect(DECISIONS).await?;
        let writer = self.access.connect(DECISIONS).await?;
        tokio::select! {
            ended = self.follow(reader) => ended,
            ended = self.send(writer) => ended,
        }
    }
}

/// Runs one session after the other, with pauses between them.
async fn keep_up<S, F>(
    what: &'static str,
    status: &LinkStatus,
    session: S,
    mut shutdown: watch::Receiver<bool>,
) where
    S: Fn() -> F,
    F: Future<Output = Result<Infallible, LinkError>>,
{
    let sessions = async {
        let mut pause = LEAST_PAUSE;
        loop {
            let began = Instant::now();
            let Err(error) = session().await;
            status.up.store(false, Relaxed);
            // One that is up for a moment and then fails is no better than one that fails at once.
            if began.elapsed() > MOST_PAUSE {
                pause = LEAST_PAUSE;
            }
            status.note(what, &error);
            sleep(jittered(pause)).await;
            pause = MOST_PAUSE.min(pause * 2);
        }
    };
    tokio::select! {
        () = sessions => {}
        // A sender that is gone is a stop too.
        _ = async { shutdown.wait_for(|stop| *stop).await.is_ok() } => {}
    }
}

/// Between half and all of a time, so that gateways do not act in step.
fn jittered(time: Duration) -> Duration {
    let part = random() % 1024;
    time / 2 + time * u32::try_from(part).unwrap_or_default() / 2048
}

/// A number that cannot be foreseen: the keys of the standard library's hashers are the system's.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Waits for an answer of the local store.
async fn ask<T: Send + 'static>(order: impl FnOnce(Done<T>)) -> Result<T, LinkError> {
    let (sender, receiver) = oneshot::channel();
    order(Box::new(move |answer| {
        // The session has ended meanwhile.
        let _ = sender.send(answer);
    }));
    receiver.await.map_err(|_| LinkError::Local)
}

#[cfg(test)]
mod tests;
