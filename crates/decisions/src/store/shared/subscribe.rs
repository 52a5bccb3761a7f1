//! Subscription to channels of the shared store, read by a task of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
    time::timeout,
};

use super::{
    link::{ANSWER, Command, Link, LinkError, Stream},
    wire::{self, Bounds, Value},
};

/// Messages that wait.
const MOST_MESSAGES: usize = 1024;
/// Bytes of messages that wait: what some gateways publish in a second.
const MOST_BYTES: usize = 16 << 20;

pub(super) struct Message {
    pub(super) channel: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// A subscription to channels, which ends when it is dropped.
pub(super) struct Subscription {
    messages: Receiver<Result<Message, LinkError>>,
    room: Arc<Room>,
    task: JoinHandle<()>,
}

/// What waits, and what found no room.
#[derive(Default)]
struct Room {
    bytes: AtomicUsize,
    lost: AtomicU64,
}

impl Subscription {
    /// Subscribes to these channels; the subscription is confirmed when this returns.
    pub(super) async fn start(
        link: Link,
        channels: &[&str],
        bounds: Bounds,
    ) -> Result<Self, LinkError> {
        let subscribe = channels
            .iter()
            .fold(Command::new("SUBSCRIBE"), Command::word);
        let subscribed = async {
            let mut stream = link.into_stream().await?;
            let mut bytes = Vec::new();
            subscribe.encode(&mut bytes);
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            for _ in channels {
                wire::read(&mut stream, bounds).await?.or_refusal()?;
            }
            Ok::<_, LinkError>(stream)
        };
        let stream = timeout(ANSWER, subscribed).await;
        let stream = stream.map_err(|_| LinkError::Timeout)??;
        let room = Arc::<Room>::default();
        let (sender, messages) = mpsc::channel(MOST_MESSAGES);
        let task = tokio::spawn(receive(stream, bounds, sender, Arc::clone(&room)));
        Ok(Self {
            messages,
            room,
            task,
        })
    }

    /// The next message. Cancel-safe: no message is lost where this is dropped before its end.
    pub(super) async fn next(&mut self) -> Result<Message, LinkError> {
        let message = self.messages.recv().await;
        let message = message.unwrap_or(Err(LinkError::Lost("closed")))?;
        self.room.bytes.fetch_sub(message.bytes.len(), Relaxed);
        Ok(message)
    }

    /// Messages that found no room since the last call, or were too large.
    pub(super) fn lost(&self) -> u64 {
        self.room.lost.swap(0, Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Longest time that the end of a connection waits to be reported.
const REPORT_END: Duration = Duration::from_secs(10);

async fn receive(
    mut stream: Stream,
    bounds: Bounds,
    sender: Sender<Result<Message, LinkError>>,
    room: Arc<Room>,
) {
    loop {
        match message(&mut stream, bounds).await {
            Ok(Incoming::TooLarge) => {
                room.lost.fetch_add(1, Relaxed);
            }
            Ok(Incoming::Message(message)) => {
                let length = message.bytes.len();
                let waiting = room.bytes.fetch_add(length, Relaxed);
                if waiting + length > MOST_BYTES || sender.try_send(Ok(message)).is_err() {
                    room.bytes.fetch_sub(length, Relaxed);
                    room.lost.fetch_add(1, Relaxed);
                }
            }
            Ok(Incoming::Nothing) => {}
            Err(error) => {
                // A receiver that is gone is an end as well.
                let _ = timeout(REPORT_END, sender.send(Err(error))).await;
                return;
            }
        }
    }
}

/// What arrives on a subscribed connection.
enum Incoming {
    Message(Message),
    /// About the channel itself.
    Nothing,
    /// A message that was read over.
    TooLarge,
}

async fn message(stream: &mut Stream, bounds: Bounds) -> Result<Incoming, LinkError> {
    let value = wire::read(stream, bounds).await?.or_refusal()?;
    if value.is_cut() {
        return Err(LinkError::Bounds);
    }
    let mut parts = value
        .list()
        .unwrap_or_default()
        .into_iter()
        .map(Value::text);
    let mut next = || parts.next().flatten();
    if next().as_deref() != Some(b"message") {
        return Ok(Incoming::Nothing);
    }
    Ok(match (next(), next()) {
        (Some(channel), Some(bytes)) => Incoming::Message(Message { channel, bytes }),
        _ => Incoming::TooLarge,
    })
}
