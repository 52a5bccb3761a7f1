//! Connections to a shared store: one server, or those that each have a part of the keys.

use std::{io, time::Duration};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    time::{Instant, timeout},
};

use super::{
    access::{Access, Address, MOST_NODES},
    wire::{self, Bounds, Room, Value, WireError},
};

/// Longest wait for an answer, besides the time that a command waits by itself.
pub(super) const ANSWER: Duration = Duration::from_secs(3);
/// A connection that nothing was asked on for so long is not used again: many servers close those.
const IDLE: Duration = Duration::from_secs(5);
/// Parts that the keys of a cluster fall into, by their hash.
const SLOTS: u16 = 16_384;

/// Connections that end when they are dropped. They are not kept up: that is a new session's business,
/// but for one that ended with an answer too large to be read, or was idle.
pub(super) struct Link {
    access: Access,
    bounds: Bounds,
    nodes: Vec<Node>,
    /// First and last slot, and who has them; none where there is one server only.
    slots: Vec<(u16, u16, usize)>,
}

struct Node {
    address: Address,
    stream: Option<Stream>,
    used: Instant,
}

impl Node {
    fn new(address: Address) -> Self {
        Self {
            address,
            stream: None,
            used: Instant::now(),
        }
    }
}

/// A connection, with TLS or without.
pub(super) type Stream = BufReader<Box<dyn Duplex>>;

/// What is read and written.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// Error: there is no answer.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    /// The password is wrong or missing.
    #[error("{0}")]
    Auth(String),
    /// More than is read.
    #[error("an answer beyond all bounds")]
    Bounds,
    /// Not what was asked for.
    #[error("{0}")]
    Form(&'static str),
    /// What was there is not there any more.
    #[error("{0}")]
    Lost(&'static str),
    /// The keys are elsewhere now.
    #[error("its keys have moved: {0}")]
    Moved(String),
    /// The local store has no room for more, or has ended.
    #[error("the local store has no room for more, or has ended")]
    Local,
    /// A command was refused, with this text.
    #[error("{0}")]
    Refused(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// Its certificate is not trusted, or ours not by it.
    #[error("{0}")]
    Tls(io::Error),
    /// No connection, or no answer on it.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Wire(error.into())
    }
}

/// A command, and whom it is for.
#[derive(Debug, Clone)]
pub(super) struct Command {
    words: Vec<Vec<u8>>,
    to: To,
}

#[derive(Debug, Clone, Copy)]
enum To {
    /// Any server.
    Any,
    /// The one of this number.
    Node(usize),
    /// The one that has this slot.
    Slot(u16),
}

impl Command {
    /// The command of this name.
    pub(super) fn new(name: &str) -> Self {
        Self {
            words: vec![name.into()],
            to: To::Any,
        }
    }

    /// Adds an argument.
    pub(super) fn word(mut self, word: impl AsRef<[u8]>) -> Self {
        self.words.push(word.as_ref().to_vec());
        self
    }

    /// Adds a key, which decides the server of a cluster that gets the command.
    pub(super) fn key(self, key: impl AsRef<[u8]>) -> Self {
        let to = To::Slot(slot(key.as_ref()));
        Self {
            to,
            ..self.word(key)
        }
    }

    /// Appends it as bytes.
    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        wire::encode(&self.words, into);
    }

    /// Addresses the command to one of the servers.
    pub(super) fn at(self, node: usize) -> Self {
        let to = To::Node(node);
        Self { to, ..self }
    }
}

impl Value {
    /// The value, or why there is none: the command was refused, or nothing of the answer was read.
    pub(super) fn or_refusal(self) -> Result<Self, LinkError> {
        match self {
            Self::Cut => Err(LinkError::Bounds),
            Self::Failure(words) => Err(LinkError::Refused(words)),
            value => Ok(value),
        }
    }
}

impl Link {
    pub(super) fn new(
        access: Access,
        bounds: Bounds,
        addresses: Vec<Address>,
        slots: Vec<(u16, u16, usize)>,
    ) -> Self {
        Self {
            access,
            bounds,
            nodes: addresses.into_iter().map(Node::new).collect(),
            slots,
        }
    }

    /// Connects to the first server.
    pub(super) async fn begin(&mut self) -> Result<(), LinkError> {
        if let Some(node) = self.nodes.first_mut() {
            node.stream = Some(self.access.enter(&node.address, self.bounds).await?);
            node.used = Instant::now();
        }
        Ok(())
    }

    /// Servers that each have a part of the keys.
    pub(super) fn parts(&self) -> usize {
        self.nodes.len()
    }

    /// What one command is answered.
    pub(super) async fn ask(&mut self, command: Command) -> Result<Value, LinkError> {
        self.ask_for(command, Duration::ZERO).await
    }

    /// What a command is answered that waits for so long itself.
    pub(super) async fn ask_for(
        &mut self,
        command: Command,
        wait: Duration,
    ) -> Result<Value, LinkError> {
        let asked = self.ask_in_time(std::slice::from_ref(&command), ANSWER + wait);
        asked.await?.pop().unwrap_or(Value::Null).or_refusal()
    }

    /// What commands are answered that are sent at once, in their order. Those that are refused keep no
    /// other from being answered. All answers together are no larger than one may be.
    pub(super) async fn ask_all(&mut self, commands: &[Command]) -> Result<Vec<Value>, LinkError> {
        self.ask_in_time(commands, ANSWER).await
    }

    async fn ask_in_time(
        &mut self,
        commands: &[Command],
        patience: Duration,
    ) -> Result<Vec<Value>, LinkError> {
        let answers = timeout(patience, self.route(commands)).await;
        answers.map_err(|_| LinkError::Timeout)?
    }

    async fn route(&mut self, commands: &[Command]) -> Result<Vec<Value>, LinkError> {
        let mut answers = vec![Value::Null; commands.len()];
        let mut room = Room::new(self.bounds);
        for number in 0..self.nodes.len() {
            let (places, mine): (Vec<usize>, Vec<&Command>) = commands
                .iter()
                .enumerate()
                .filter(|(_, command)| self.node_of(command) == number)
                .unzip();
            if mine.is_empty() {
                continue;
            }
            let received = self.exchange(number, &mine, &mut room).await?;
            for ((place, command), value) in places.into_iter().zip(mine).zip(received) {
                answers[place] = self.redirected((number, command), value, &mut room).await?;
            }
        }
        Ok(answers)
    }

    fn node_of(&self, command: &Command) -> usize {
        match command.to {
            To::Any => 0,
            To::Node(number) => number,
            To::Slot(slot) => {
                let holds =
                    |(first, last, _): &&(u16, u16, usize)| (*first..=*last).contains(&slot);
                // Where no server has it, the first one answers with an error.
                self.slots.iter().find(holds).map_or(0, |(.., at)| *at)
            }
        }
    }

    async fn exchange(
        &mut self,
        number: usize,
        commands: &[&Command],
        room: &mut Room,
    ) -> Result<Vec<Value>, LinkError> {
        let gone = LinkError::Form("no such server");
        let node = self.nodes.get_mut(number).ok_or(gone)?;
        // Whatever goes wrong half way ends the connection.
        let stream = node.stream.take().filter(|_| node.used.elapsed() < IDLE);
        let mut stream = match stream {
            Some(stream) => stream,
            None => self.access.enter(&node.address, self.bounds).await?,
        };
        let mut bytes = Vec::new();
        for command in commands {
            command.encode(&mut bytes);
        }
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        let mut answers = Vec::with_capacity(commands.len());
        for _ in commands {
            let answer = wire::read_beside(&mut stream, self.bounds, room).await?;
            let is_cut = answer.is_cut();
            answers.push(answer);
            if is_cut {
                let all = answers.len() == commands.len();
                return all.then_some(answers).ok_or(LinkError::Bounds);
            }
        }
        node.stream = Some(stream);
        node.used = Instant::now();
        Ok(answers)
    }

    /// An answer, or that of the server that has just taken over a part of the keys.
    async fn redirected(
        &mut self,
        (teller, command): (usize, &Command),
        answer: Value,
        room: &mut Room,
    ) -> Result<Value, LinkError> {
        let Value::Failure(words) = &answer else {
            return Ok(answer);
        };
        let mut parts = words.split(' ');
        match (parts.next(), parts.nth(1)) {
            (Some("MOVED"), _) => Err(LinkError::Moved(words.clone())),
            (Some("CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN"), _) => {
                Err(LinkError::Moved(words.clone()))
            }
            (Some("ASK"), Some(address)) => {
                let other = self.named_by(teller, address)?;
                let both = [&Command::new("ASKING"), command];
                let mut answers = self.exchange(other, &both, room).await?;
                Ok(answers.pop().unwrap_or(Value::Null))
            }
            _ => Ok(answer),
        }
    }

    /// The server that another one names, which is asked from now on like those that were known.
    fn named_by(&mut self, teller: usize, address: &str) -> Result<usize, LinkError> {
        let teller = self.nodes.get(teller).map(|node| &node.address);
        let named = teller.and_then(|teller| teller.naming(address));
        let named = named.ok_or(LinkError::Form("no address"))?;
        if let Some(known) = self.nodes.iter().position(|node| node.address == named) {
            return Ok(known);
        }
        if self.nodes.len() >= MOST_NODES {
            return Err(LinkError::Bounds);
        }
        self.nodes.push(Node::new(named));
        Ok(self.nodes.len() - 1)
    }

    /// The connection to the first server, for a subscription that reads it by itself.
    pub(super) async fn into_stream(self) -> Result<Stream, LinkError> {
        let node = self.nodes.into_iter().next();
        let node = node.ok_or(LinkError::Form("no such server"))?;
        match node.stream {
            Some(stream) => Ok(stream),
            None => self.access.enter(&node.address, self.bounds).await,
        }
    }
}

/// The slot of a key: a hash of what is in its first braces, or of all of it (Redis cluster
/// specification, "Hash tags").
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let length = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..length).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, as the same specification wants it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            let carry = crc & 0x8000 != 0;
            (crc << 1) ^ if carry { 0x1021 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::slot;

    /// Known answers of `CLUSTER KEYSLOT`.
    #[test]
    fn keys_fall_into_the_slots_that_redis_says() {
        for (key, expected) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("default:decisions", 2854),
            ("{user1000}.following", 3443),
            ("a{}b", 13_694),
            ("a{b", 13_340),
            ("default:decision:{x}:192.0.2.1", 16_287),
            ("", 0),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
