//! What Redis and Valkey speak (RESP2), as much of it as is needed here.
//!
//! Whatever answers is not trusted: lengths and numbers are claims, and are held against bounds before
//! room is made for anything. What is larger is not read at all; the answer ends there, and its
//! connection with it.

use std::{
    io,
    pin::pin,
    task::{Context, Poll, Waker},
};

use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Lists in lists: a list of streams, of their entries, of an entry's parts, of its fields is four.
const MOST_DEPTH: usize = 8;
/// Values of one answer in all; the parts of a large cluster are some tens of thousands.
const MOST_VALUES: usize = 65_536;
/// Most bytes of an answer about decisions.
pub const MOST_ANSWER: usize = 4 << 20;
/// Longest line: a number, a status or an error.
const MOST_LINE: u64 = 8 << 10;
/// Most characters of a refusal that are kept: a command's name, or a host and what is around it.
const MOST_WORDS: usize = 320;

/// What is read of one answer at most, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most bytes of one text.
    pub(super) text: usize,
    /// Most bytes of all texts, statuses and errors together.
    pub(super) total: usize,
    /// Most bytes of a text that is too large and is skipped: nothing stands in its place then. A larger
    /// one ends the answer.
    pub(super) over: usize,
}

/// What is left of bounds for answers that are kept at the same time.
pub(super) struct Room {
    bytes: usize,
    values: usize,
}

impl Room {
    /// As much as one answer may take.
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self {
            bytes: bounds.total,
            values: MOST_VALUES,
        }
    }
}

/// An answer, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Was larger than its bounds. Neither it nor what came after it was read.
    Cut,
    /// A command was refused, with this text.
    Failure(String),
    /// Several, in their order.
    List(Vec<Self>),
    /// Nothing.
    Null,
    /// A number.
    Number(i64),
    /// Bytes.
    Text(Vec<u8>),
}

/// Error: the bytes are not an answer of Redis.
#[derive(Debug, Error)]
pub(super) enum WireError {
    /// More lists in lists than any answer has.
    #[error("an answer of more than {MOST_DEPTH} lists in each other")]
    Deep,
    /// Not this protocol.
    #[error("an answer that is none of Redis's: {0}")]
    Form(&'static str),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Value {
    /// Whether a part of it was not read.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Self::Cut => true,
            // Nothing comes after what was cut.
            Self::List(values) => values.last().is_some_and(Self::is_cut),
            _ => false,
        }
    }

    /// Bytes of text in it.
    fn bytes(&self) -> usize {
        match self {
            Self::Cut | Self::Null | Self::Number(_) => 0,
            Self::Failure(words) => words.len(),
            Self::List(values) => values.iter().map(Self::bytes).sum(),
            Self::Text(text) => text.len(),
        }
    }

    /// The text or status that it is.
    pub(super) fn text(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of the list that it is.
    pub(super) fn list(self) -> Option<Vec<Self>> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }
}

/// A command as bytes.
pub(super) fn encode(words: &[Vec<u8>], into: &mut Vec<u8>) {
    into.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        into.extend(format!("${}\r\n", word.len()).bytes());
        into.extend(word);
        into.extend(b"\r\n");
    }
}

pub(super) async fn read<R>(from: &mut R, bounds: Bounds) -> Result<Value, WireError>
where
    R: AsyncBufRead + Unpin,
{
    read_beside(from, bounds, &mut Room::new(bounds)).await
}

/// The next answer, which is kept beside others that have taken some of the room.
pub(super) async fn read_beside<R>(
    from: &mut R,
    bounds: Bounds,
    room: &mut Room,
) -> Result<Value, WireError>
where
    R: AsyncBufRead + Unpin,
{
    // Lists that are not complete, each with the number of values that it lacks.
    let mut open: Vec<(usize, Vec<Value>)> = Vec::new();
    loop {
        let mut value = match head(from).await? {
            Head::Whole(value) if value.bytes() <= room.bytes => {
                room.bytes -= value.bytes();
                value
            }
            Head::List(0) => Value::List(Vec::new()),
            Head::List(_) if open.len() == MOST_DEPTH => return Err(WireError::Deep),
            Head::List(length) if length <= room.values => {
                room.values -= length;
                open.push((length, Vec::new()));
                continue;
            }
            Head::Text(length) if length <= bounds.text.min(room.bytes) => {
                room.bytes -= length;
                Value::Text(text(from, length).await?)
            }
            Head::Text(length) if length <= bounds.over => {
                read_over(from, length).await?;
                Value::Null
            }
            Head::List(_) | Head::Text(_) | Head::Whole(_) => Value::Cut,
        };
        let is_cut = value == Value::Cut;
        loop {
            let Some((missing, values)) = open.last_mut() else {
                return Ok(value);
            };
            values.push(value);
            *missing -= 1;
            if *missing > 0 && !is_cut {
                break;
            }
            value = Value::List(open.pop().map(|(_, values)| values).unwrap_or_default());
        }
    }
}

/// How many bytes are kept of an answer that is there as a whole, where it is one: never more than of one
/// about decisions.
pub fn weigh_answer(mut bytes: &[u8]) -> Option<usize> {
    let read = pin!(read(&mut bytes, super::DECISIONS));
    // Nothing has to be waited for.
    match read.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(value)) => Some(value.bytes()),
        _ => None,
    }
}

/// How a value begins.
enum Head {
    List(usize),
    Text(usize),
    Whole(Value),
}

async fn head<R: AsyncBufRead + Unpin>(from: &mut R) -> Result<Head, WireError> {
    let mut line = Vec::new();
    from.take(MOST_LINE).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let line = line
        .strip_suffix(b"\r\n")
        .ok_or(WireError::Form("no end of a line"))?;
    let (kind, rest) = line.split_first().ok_or(WireError::Form("an empty line"))?;
    let number = || {
        let text = str::from_utf8(rest).ok();
        let number = text.and_then(|text| text.parse::<i64>().ok());
        number.ok_or(WireError::Form("no number"))
    };
    let length = |head: fn(usize) -> Head| match number()? {
        -1 => Ok(Head::Whole(Value::Null)),
        length => usize::try_from(length)
            .map(head)
            .map_err(|_| WireError::Form("no length")),
    };
    match kind {
        b'+' => Ok(Head::Whole(Value::Text(rest.to_vec()))),
        b'-' => Ok(Head::Whole(Value::Failure(words(rest)))),
        b':' => Ok(Head::Whole(Value::Number(number()?))),
        b'$' => length(Head::Text),
        b'*' => length(Head::List),
        _ => Err(WireError::Form("an unknown kind of value")),
    }
}

/// Text of an error, made safe for logs and terminals.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = |char: char| if char.is_control() { ' ' } else { char };
    text.chars().map(shown).take(MOST_WORDS).collect()
}

/// Reads `length` bytes, and the end of a line.
async fn text<R: AsyncBufRead + Unpin>(from: &mut R, length: usize) -> Result<Vec<u8>, WireError> {
    let mut text = vec![0; length];
    from.read_exact(&mut text).await?;
    end(from).await?;
    Ok(text)
}

/// Skips `length` bytes, and the end of a line.
async fn read_over<R: AsyncBufRead + Unpin>(from: &mut R, length: usize) -> Result<(), WireError> {
    let mut left = length;
    while left > 0 {
        let some = from.fill_buf().await?.len().min(left);
        if some == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        from.consume(some);
        left -= some;
    }
    end(from).await
}

async fn end<R: AsyncBufRead + Unpin>(from: &mut R) -> Result<(), WireError> {
    let mut end = [0; 2];
    from.read_exact(&mut end).await?;
    match &end {
        b"\r\n" => Ok(()),
        _ => Err(WireError::Form("a text of another length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        text: 10,
        total: 25,
        over: 0,
    };

    fn read_within(bytes: &[u8], bounds: Bounds) -> Result<Value, WireError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let mut rest = bytes;
            read(&mut rest, bounds).await
        })
    }

    fn read_all(bytes: &[u8]) -> Result<Value, WireError> {
        read_within(bytes, BOUNDS)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn answers_are_what_the_protocol_says() {
        let nested = Value::List(vec![
            text("a"),
            Value::List(vec![Value::Number(-7), Value::Null]),
            Value::List(vec![]),
        ]);
        for (bytes, value) in [
            ("+OK\r\n", text("OK")),
            ("-ERR no\r\n", Value::Failure("ERR no".to_owned())),
            (
                "-ERR \u{1b}[31m\rno\r\n",
                Value::Failure("ERR  [31m no".to_owned()),
            ),
            ("$0\r\n\r\n", text("")),
            ("$4\r\na\r\nb\r\n", text("a\r\nb")),
            ("$-1\r\n", Value::Null),
            ("*-1\r\n", Value::Null),
            ("*3\r\n$1\r\na\r\n*2\r\n:-7\r\n$-1\r\n*0\r\n", nested),
        ] {
            assert_eq!(read_all(bytes.as_bytes()).unwrap(), value, "{bytes:?}");
            for end in 0..bytes.len() {
                assert!(read_all(&bytes.as_bytes()[..end]).is_err(), "{bytes:?}");
            }
        }
        let mut bytes = Vec::new();
        encode(&[b"GET".to_vec(), b"a\r\n".to_vec()], &mut bytes);
        assert_eq!(bytes, b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n");
    }

    #[test]
    fn what_is_larger_than_its_bounds_is_not_read() {
        let cut = |before: &[Value]| Value::List([before, &[Value::Cut]].concat());
        for (bytes, value) in [
            ("$11\r\n", Value::Cut),
            ("$999999999999999999\r\n", Value::Cut),
            ("*65537\r\n", Value::Cut),
            ("*3\r\n:1\r\n$11\r\n", cut(&[Value::Number(1)])),
            (
                "*2\r\n*2\r\n$1\r\na\r\n*70000\r\n",
                Value::List(vec![cut(&[text("a")])]),
            ),
            ("+aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", Value::Cut),
            (
                "*4\r\n$9\r\naaaaaaaaa\r\n+aaaaaaaaaaa\r\n-aaaaaaaaaaa\r\n",
                cut(&[text("aaaaaaaaa"), text("aaaaaaaaaaa")]),
            ),
            (
                "*4\r\n$9\r\naaaaaaaaa\r\n$9\r\naaaaaaaaa\r\n$9\r\n",
                cut(&[text("aaaaaaaaa"), text("aaaaaaaaa")]),
            ),
        ] {
            let read = read_all(bytes.as_bytes()).unwrap();
            assert!(read.is_cut(), "{bytes:?}");
            assert_eq!(read, value, "{bytes:?}");
        }
    }

    #[test]
    fn texts_that_are_read_over_leave_what_comes_after() {
        let bounds = Bounds { over: 20, ..BOUNDS };
        let large = "x".repeat(20);
        let bytes = format!("*3\r\n$1\r\na\r\n$20\r\n{large}\r\n$1\r\nb\r\n");
        let read = |bytes: &str| read_within(bytes.as_bytes(), bounds);
        let whole = Value::List(vec![text("a"), Value::Null, text("b")]);
        assert_eq!(read(&bytes).unwrap(), whole);
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        assert!(read(&format!("$20\r\n{large}xx")).is_err());
        assert_eq!(read("$21\r\n").unwrap(), Value::Cut);
    }

    #[test]
    fn lists_in_lists_end_somewhere() {
        let deep = "*1\r\n".repeat(MOST_DEPTH);
        let fits = format!("{deep}:1\r\n");
        assert!(read_all(fits.as_bytes()).is_ok());
        let deeper = "*1\r\n".repeat(100_000);
        assert!(matches!(read_all(deeper.as_bytes()), Err(WireError::Deep)));
    }

    #[test]
    fn other_protocols_are_refused() {
        let long = "+".repeat(2 * usize::try_from(MOST_LINE).unwrap());
        for bytes in [
            "HTTP/1.1 400 Bad Request\r\n",
            "%1\r\n+a\r\n:1\r\n",
            "$?\r\n",
            "$-2\r\n",
            "*-7\r\n",
            ":\r\n",
            "\r\n",
            ":1\n",
            "$1\r\nab\r\n",
            "$18446744073709551616\r\n",
            &long,
        ] {
            let read = read_all(bytes.as_bytes());
            assert!(matches!(read, Err(WireError::Form(_))), "{bytes:?}");
        }
    }
}
