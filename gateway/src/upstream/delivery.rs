//! Whether an origin had all of a request's body before it began to answer.
//!
//! One that answers earlier may take what is still to come for the next request on its connection,
//! and whoever is lent that connection next would get the answer to it. Pingora writes bodies and
//! reads answers beside our hooks, in an order that none of them sees. So the system is asked whether
//! anything has come from the origin: before the end of the body is handed on, where what is still to
//! be written finds room at once; and else when it has been written, which pieces report as they
//! are let go of. Asked only afterwards, an origin that is quick would seem to have been too early.

use std::{
    os::fd::RawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release},
    },
};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_LENGTH};
use nix::sys::socket::{Shutdown, shutdown};
use pingora::protocols::l4::ext::get_tcp_info;

use super::kept;

/// Bytes that a connection of which nothing waits to be sent takes in without a wait: the least that
/// Linux begins with (`net.ipv4.tcp_wmem`).
const AT_ONCE: usize = 16 << 10;

/// A request's body on its way to an origin of HTTP/1.
#[derive(Debug)]
pub(super) struct Delivery {
    way: Arc<Way>,
    /// Bytes that are still to be handed on, where the length is known.
    left: Option<u64>,
    is_handed_on: bool,
}

#[derive(Debug)]
struct Way {
    fd: RawFd,
    /// Bytes that had come over the connection before the request went out. UNIX sockets do not
    /// count, so that their connections carry nothing behind a body; making new ones costs little.
    received: Option<u64>,
    /// Whether session tickets of TLS may still be on their way.
    is_fresh_tls: bool,
    /// Bytes that are not written yet; one more as long as others are to come.
    unwritten: AtomicUsize,
    came_first: AtomicBool,
}

/// A piece of a body that reports when it has been written.
struct Piece {
    bytes: Bytes,
    way: Arc<Way>,
}

impl Delivery {
    /// A body is to go out over this descriptor's connection, which is not lent again before
    /// [`Delivery::answered`] has seen that it may be.
    pub(super) fn new(fd: RawFd, headers: &HeaderMap, is_fresh_tls: bool) -> Self {
        kept::suspect(fd);
        let length = headers.get(CONTENT_LENGTH);
        let way = Way {
            fd,
            received: received(fd),
            is_fresh_tls,
            unwritten: AtomicUsize::new(1),
            came_first: AtomicBool::new(false),
        };
        Self {
            way: Arc::new(way),
            left: length.and_then(|length| length.to_str().ok()?.parse().ok()),
            is_handed_on: false,
        }
    }

    /// A piece of the body is handed on, the last one where it is the `end`.
    pub(super) fn hand_on(&mut self, piece: &mut Option<Bytes>, end: bool) {
        let length = piece.as_ref().map_or(0, Bytes::len);
        self.left = self.left.map(|left| left.saturating_sub(length as u64));
        let is_last = !self.is_handed_on && (end || self.left == Some(0));
        self.is_handed_on |= is_last;
        if is_last && self.way.goes_at_once(length) {
            self.way.came_first.store(true, Release);
            return;
        }
        if let Some(bytes) = piece.take_if(|_| length > 0) {
            self.way.unwritten.fetch_add(length, AcqRel);
            let way = Arc::clone(&self.way);
            *piece = Some(Bytes::from_owner(Piece { bytes, way }));
        }
        if is_last {
            self.way.wrote(1);
        }
    }

    /// The origin answers. Its connection may carry another request where the body came first, and
    /// was wanted: refusals and redirects are often written without a look at it, and their origin
    /// may have been written to while they were on their way.
    pub(super) fn answered(&self, is_success: bool) {
        if is_success && self.came_first() {
            kept::trust(self.way.fd);
        }
    }

    /// The origin's answer is over. What is still to come of the body is nothing that it may read,
    /// and no answer of it concerns anybody.
    pub(super) fn is_over(&self) {
        if kept::is_suspect(self.way.fd) {
            let _ = shutdown(self.way.fd, Shutdown::Both);
        }
    }

    fn came_first(&self) -> bool {
        self.way.came_first.load(Acquire)
    }
}

impl Way {
    /// Whether nothing has come yet, and so many more bytes are written as soon as they are handed on.
    fn goes_at_once(&self, more: usize) -> bool {
        let unwritten = self.unwritten.load(Acquire) + more;
        let (Some(before), Ok(info)) = (self.received, get_tcp_info(self.fd)) else {
            return false;
        };
        let is_quiet = self.is_fresh_tls || info.tcpi_bytes_received == before;
        is_quiet && info.tcpi_notsent_bytes == 0 && unwritten <= AT_ONCE
    }

    /// Notes `bytes` that have been written; with the last ones nothing must have come yet.
    fn wrote(&self, bytes: usize) {
        if self.unwritten.fetch_sub(bytes, AcqRel) == bytes {
            let came_first = self.received.is_some() && received(self.fd) == self.received;
            self.came_first.store(came_first, Release);
        }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.way.wrote(self.bytes.len());
    }
}

/// Bytes that have come over a connection so far, whether or not anybody has read them.
fn received(fd: RawFd) -> Option<u64> {
    get_tcp_info(fd).ok().map(|info| info.tcpi_bytes_received)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd,
    };

    use http::HeaderValue;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn length(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static(value))])
    }

    fn piece(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_large_body_is_there_once_all_of_it_is_written() {
        let (near, _far) = pair();
        let mut delivery = Delivery::new(near.as_raw_fd(), &HeaderMap::new(), false);
        let (mut first, mut last) = (Some(Bytes::from(vec![0; AT_ONCE])), piece("b"));
        delivery.hand_on(&mut first, false);
        assert_eq!(first.as_ref().map(Bytes::len), Some(AT_ONCE));
        delivery.hand_on(&mut last, true);
        drop(last);
        assert!(!delivery.came_first(), "one is still to be written");
        drop(first);
        assert!(delivery.came_first());
    }

    #[test]
    fn a_quick_answer_to_a_small_body_is_none_that_was_early() {
        let (near, mut far) = pair();
        let mut delivery = Delivery::new(near.as_raw_fd(), &length("2"), false);
        let (mut first, mut last) = (piece("a"), piece("b"));
        delivery.hand_on(&mut first, false);
        delivery.hand_on(&mut last, true);
        far.write_all(b"HTTP/1.1 200").unwrap();
        (&near).read_exact(&mut [0; 12]).unwrap();
        drop((first, last));
        assert!(delivery.came_first());
    }

    #[test]
    fn an_end_by_itself_is_none_where_the_length_is_known() {
        let (near, mut far) = pair();
        let mut delivery = Delivery::new(near.as_raw_fd(), &length("2"), false);
        for text in ["a", "b"] {
            let mut piece = piece(text);
            delivery.hand_on(&mut piece, false);
        }
        assert!(delivery.came_first());
        far.write_all(b"HTTP/1.1").unwrap();
        (&near).read_exact(&mut [0; 8]).unwrap();
        delivery.hand_on(&mut None, true);
        assert!(delivery.came_first());
    }

    #[test]
    fn an_answer_that_came_before_is_seen_even_after_it_was_read() {
        let (near, mut far) = pair();
        let mut delivery = Delivery::new(near.as_raw_fd(), &length("1"), false);
        far.write_all(b"HTTP/1.1 401").unwrap();
        (&near).read_exact(&mut [0; 12]).unwrap();
        let mut piece = piece("a");
        delivery.hand_on(&mut piece, true);
        drop(piece);
        assert!(!delivery.came_first());
        delivery.answered(true);
        delivery.is_over();
        assert_eq!(far.read(&mut [0]).unwrap(), 0, "nothing more is to come");
    }
}
