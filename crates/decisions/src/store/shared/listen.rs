//! What is published on channels, heard by a task of its own.

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
/// Bytes of messages that wait: what some gateways tell in a second.
const MOST_BYTES: usize = 16 << 20;

/// What was published.
pub(super) struct Message {
    pub(super) channel: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// Who hears channels, until it is dropped.
pub(super) struct Listener {
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

impl Listener {
    /// Listens to these channels; they are heard when this returns.
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
        let task = tokio::spawn(hear(stream, bounds, sender, Arc::clone(&room)));
        Ok(Self {
            messages,
            room,
            task,
        })
    }

    /// The next message. Nothing is lost where nobody waits for the end of this.
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

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Longest time that the end of a connection waits to be told.
const TELL: Duration = Duration::from_secs(10);

async fn hear(
    mut stream: Stream,
    bounds: Bounds,
    sender: Sender<Result<Message, LinkError>>,
    room: Arc<Room>,
) {
    loop {
        match message(&mut stream, bounds).await {
            Ok(Heard::TooLarge) => {
                room.lost.fetch_add(1, Relaxed);
            }
            Ok(Heard::Message(message)) => {
                let length = message.bytes.len();
                let waiting = room.bytes.fetch_add(length, Relaxed);
                if waiting + length > MOST_BYTES || sender.try_send(Ok(message)).is_err() {
                    room.bytes.fetch_sub(length, Relaxed);
                    room.lost.fetch_add(1, Relaxed);
                }
            }
            Ok(Heard::Nothing) => {}
            Err(error) => {
                // Nobody listens any more, which is an end as well.
                let _ = timeout(TELL, sender.send(Err(error))).await;
                return;
            }
        }
    }
}

/// What comes on a connection that listens.
enum Heard {
    Message(Message),
    /// About the channel itself.
    Nothing,
    /// A message that was read over.
    TooLarge,
}

async fn message(stream: &mut Stream, bounds: Bounds) -> Result<Heard, LinkError> {
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
        return Ok(Heard::Nothing);
    }
    Ok(match (next(), next()) {
        (Some(channel), Some(bytes)) => Heard::Message(Message { channel, bytes }),
        _ => Heard::TooLarge,
    })
}
