//! The running process's side: it starts the new one, and hands over or takes back.

use std::{
    env, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    process::{self, Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::Interest,
    net::UnixStream,
    time::{sleep, timeout},
};

use super::{
    HandedOver, HandoverError, Legacy, Message, PROTOCOL, Role,
    channel::{self, MOST_DESCRIPTORS},
};

/// Why the running process goes on.
#[derive(Debug, Error)]
pub(super) enum UpgradeError {
    /// The channel failed, or what came through it is not what was expected.
    #[error("the new process was ended: {0}")]
    Broken(HandoverError),
    /// The new process ended without a message.
    #[error("the new process ended with {0}; the log of the running one has what it said")]
    Ended(String),
    /// The end of a container's first process ends the container.
    #[error(
        "process 1 of a container cannot be replaced by its child; replace the container instead"
    )]
    FirstProcess,
    /// A part could not let go of what only one process may hold.
    #[error("{0} cannot be handed over: {1}")]
    HandOver(&'static str, io::Error),
    /// The new process speaks another protocol.
    #[error(
        "the new process hands over in another way (version {0}, not {PROTOCOL}); restart instead"
    )]
    Protocol(u32),
    /// The new process said why it cannot.
    #[error("{0}")]
    Refused(String),
    /// The new process took too long.
    #[error("the new process did not serve within {0} s, and was ended")]
    Stalled(u64),
    /// Who started this process would take its end for the end of the service.
    #[error(
        "{0} started this process and cannot be notified of another one; restart instead, or run it \
         under systemd with Type=notify"
    )]
    Supervised(String),
    /// The new process could not be started.
    #[error("{0} cannot be started: {1}")]
    Start(String, io::Error),
}

/// Longest time in which no process may be accepting: what the new process's check of its listeners
/// may take, and some more.
const RELEASED_TIMEOUT: Duration = Duration::from_secs(15);

/// Everything that is handed over.
pub(super) struct Handover {
    /// Descriptors that both processes share from then on.
    pub(super) descriptors: Vec<(Role, OwnedFd)>,
    /// Parts that only one process may run.
    pub(super) handed_over: Vec<Arc<dyn HandedOver>>,
    /// Who would take the end of this process for the end of the service.
    pub(super) supervisor: Option<String>,
}

impl Handover {
    /// Starts the new process, and returns its id once it serves. Until then nothing is given up
    /// for good, also where the returned future is dropped.
    pub(super) async fn hand_over(
        &self,
        config: &Path,
        patience: Duration,
    ) -> Result<u32, UpgradeError> {
        if let Some(supervisor) = &self.supervisor {
            return Err(UpgradeError::Supervised(supervisor.clone()));
        }
        let mut successor = Successor::start(config)?;
        match timeout(patience, self.talk(&mut successor)).await {
            Ok(Ok(())) => Ok(successor.leave()),
            Ok(Err(UpgradeError::Broken(HandoverError::Closed))) => {
                Err(UpgradeError::Ended(successor.ended().await))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(UpgradeError::Stalled(patience.as_secs())),
        }
    }

    async fn talk(&self, new: &mut Successor) -> Result<(), UpgradeError> {
        match new.receive().await? {
            Message::Ready { protocol: PROTOCOL } => {}
            Message::Ready { protocol } => return Err(UpgradeError::Protocol(protocol)),
            other => return Err(unexpected(&other)),
        }
        let packets = self.descriptors.chunks(MOST_DESCRIPTORS);
        let count = packets.len();
        for (at, packet) in packets.enumerate() {
            let roles = packet.iter().map(|(role, _)| role.clone()).collect();
            let descriptors: Vec<_> = packet.iter().map(|(_, fd)| fd.as_fd()).collect();
            let last = at + 1 == count;
            let message = Message::Sockets { roles, last };
            new.send(&message, &descriptors).await?;
        }
        match new.receive().await? {
            Message::Release => {}
            other => return Err(unexpected(&other)),
        }
        let legacy = new.release(&self.handed_over)?;
        new.send(&Message::Released { legacy }, &[]).await?;
        let serving = timeout(RELEASED_TIMEOUT, new.receive()).await;
        match serving.unwrap_or_else(|_| Err(UpgradeError::Stalled(RELEASED_TIMEOUT.as_secs())))? {
            Message::Serving => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(message: &Message) -> UpgradeError {
    match message {
        Message::Failed { why } => UpgradeError::Refused(why.clone()),
        other => UpgradeError::Broken(HandoverError::Unexpected(format!("{other:?}"))),
    }
}

/// The new process. Unless it was left to itself, it ends with this, and what was closed for it is
/// taken back.
struct Successor {
    /// Only waited with: packets are sent and received as packets.
    channel: UnixStream,
    /// `None` once the new process is on its own.
    child: Option<Child>,
    released: Vec<Arc<dyn HandedOver>>,
}

impl Successor {
    /// Starts the file that this process was started from, whatever it is by now.
    fn start(config: &Path) -> Result<Self, UpgradeError> {
        // Its end would take its child along.
        if process::id() == 1 {
            return Err(UpgradeError::FirstProcess);
        }
        let program = env::args_os().next().unwrap_or_default();
        let failed = |error| UpgradeError::Start(program.display().to_string(), error);
        let (ours, theirs) = channel::pair().map_err(failed)?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(|error| failed(error.into()))?;
        let channel = UnixStream::from_std(ours.into()).map_err(failed)?;
        let child = Command::new(&program)
            .args(["run", "--take-over", "--config"])
            .arg(config)
            .stdin(Stdio::from(theirs))
            // It names this process, and would keep the new one from feeding the watchdog.
            .env_remove("WATCHDOG_PID")
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            channel,
            child: Some(child),
            released: Vec::new(),
        })
    }

    async fn receive(&self) -> Result<Message, UpgradeError> {
        let receive = || split(channel::receive(&self.channel));
        let received = self.channel.async_io(Interest::READABLE, receive).await;
        let (message, _) = received.map_err(broken)?.map_err(UpgradeError::Broken)?;
        Ok(message)
    }

    async fn send(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), UpgradeError> {
        let send = || split(channel::send(&self.channel, message, descriptors));
        let sent = self.channel.async_io(Interest::WRITABLE, send).await;
        sent.map_err(broken)?.map_err(UpgradeError::Broken)
    }

    fn release(&mut self, handed_over: &[Arc<dyn HandedOver>]) -> Result<Legacy, UpgradeError> {
        let mut legacy = Legacy::new();
        for part in handed_over {
            let name = part.name();
            // Also what fails half way is taken back.
            self.released.push(Arc::clone(part));
            let left = part.hand_over();
            let left = left.map_err(|error| UpgradeError::HandOver(name, error))?;
            legacy.insert(name.to_owned(), left);
        }
        Ok(legacy)
    }

    /// Lets it go on by itself; its process id.
    fn leave(mut self) -> u32 {
        self.released.clear();
        self.child.take().map_or(0, |child| child.id())
    }

    /// How it ended, or what it is about to be ended by.
    async fn ended(&mut self) -> String {
        for _ in 0..100 {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                return status.to_string();
            }
            sleep(Duration::from_millis(10)).await;
        }
        "its channel closed".to_owned()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let remains = Remains {
            child: self.child.take(),
            released: std::mem::take(&mut self.released),
        };
        if remains.child.is_none() {
            return remains.take_back();
        }
        // A process that waits for its disk ends when it pleases, and a worker must not wait for it.
        let (give, given) = mpsc::channel::<Remains>();
        let end = move || given.recv().map_or((), Remains::end);
        match thread::Builder::new()
            .name("successor".to_owned())
            .spawn(end)
        {
            Ok(_) => give.send(remains).unwrap_or_default(),
            Err(_) => remains.end(),
        }
    }
}

/// What is left of a handover that failed.
struct Remains {
    child: Option<Child>,
    released: Vec<Arc<dyn HandedOver>>,
}

impl Remains {
    /// Ends the new process, and takes back what was closed for it.
    fn end(mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            let pid = child.id();
            log::error!("the new process cannot be ended; pid={pid} error={error}");
        }
        self.take_back();
    }

    fn take_back(self) {
        for part in self.released {
            if let Err(error) = part.take_back() {
                log::error!("{} cannot be taken back; error={error}", part.name());
            }
        }
    }
}

fn broken(error: io::Error) -> UpgradeError {
    UpgradeError::Broken(HandoverError::Io(error))
}

/// Keeps "not now" apart from every other outcome, as the runtime wants it.
fn split<T>(outcome: Result<T, HandoverError>) -> io::Result<Result<T, HandoverError>> {
    match outcome {
        Err(HandoverError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        sync::atomic::{AtomicU32, Ordering},
        thread::JoinHandle,
    };

    use super::*;
    use crate::handover::Predecessor;

    /// Counts in tens how often it was handed over, and in ones how often it was taken back.
    #[derive(Default)]
    struct Counted(AtomicU32);

    impl HandedOver for Counted {
        fn name(&self) -> &'static str {
            "counted"
        }

        fn hand_over(&self) -> io::Result<Vec<u8>> {
            self.0.fetch_add(10, Ordering::Relaxed);
            Ok(b"left".to_vec())
        }

        fn take_back(&self) -> io::Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    const MANY: usize = 2 * MOST_DESCRIPTORS + 1;

    fn handover(part: &Arc<Counted>) -> Handover {
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        Handover {
            descriptors: (0..MANY).map(|_| (Role::Lock, null())).collect(),
            handed_over: vec![Arc::<Counted>::clone(part)],
            supervisor: None,
        }
    }

    /// A conversation with a thread that does what a new process does.
    fn new_process(
        story: impl FnOnce(Predecessor) + Send + 'static,
    ) -> (Successor, JoinHandle<()>) {
        let (ours, theirs) = channel::pair().unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        let successor = Successor {
            channel: UnixStream::from_std(ours.into()).unwrap(),
            child: None,
            released: Vec::new(),
        };
        let process = thread::spawn(move || story(Predecessor { channel: theirs }));
        (successor, process)
    }

    #[tokio::test]
    async fn everything_is_handed_over_and_stays_so() {
        let part = Arc::<Counted>::default();
        let (mut successor, process) = new_process(|predecessor| {
            let mut inherited = predecessor.inherit().unwrap();
            assert_eq!(
                (0..=MANY).filter(|_| inherited.lock().is_ok()).count(),
                MANY
            );
            assert_eq!(predecessor.release().unwrap()["counted"], b"left");
            predecessor.serving().unwrap();
        });
        handover(&part).talk(&mut successor).await.unwrap();
        successor.leave();
        process.join().unwrap();
        assert_eq!(part.0.load(Ordering::Relaxed), 10);
    }

    #[tokio::test]
    async fn what_was_closed_is_taken_back_from_one_that_fails() {
        let part = Arc::<Counted>::default();
        let (mut successor, process) = new_process(|predecessor| {
            predecessor.inherit().unwrap();
            predecessor.release().unwrap();
            predecessor.fail(&"no \u{1}".repeat(100_000));
        });
        let failed = handover(&part).talk(&mut successor).await;
        assert!(matches!(failed, Err(UpgradeError::Refused(why)) if why.starts_with("no")));
        process.join().unwrap();
        assert_eq!(part.0.load(Ordering::Relaxed), 10);
        drop(successor);
        assert_eq!(part.0.load(Ordering::Relaxed), 11);
    }

    #[tokio::test]
    async fn another_protocol_and_what_comes_out_of_turn_are_refused() {
        let part = Arc::<Counted>::default();
        let answering = |message: Message| {
            new_process(move |predecessor| {
                channel::send(predecessor.channel, &message, &[]).unwrap()
            })
        };
        let (mut successor, _) = answering(Message::Ready { protocol: 99 });
        let failed = handover(&part).talk(&mut successor).await;
        assert!(matches!(failed, Err(UpgradeError::Protocol(99))));
        let (mut successor, _) = answering(Message::Serving);
        let failed = handover(&part).talk(&mut successor).await;
        assert!(matches!(failed, Err(UpgradeError::Broken(_))));
        assert_eq!(part.0.load(Ordering::Relaxed), 0);
    }
}
