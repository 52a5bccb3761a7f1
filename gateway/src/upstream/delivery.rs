//! Whether an origin had all of a request's body before it began to answer.
//!
//! One that answers earlier may take what is still to come for the next request on its connection,
//! and whoever is lent that connection next would get the answer to it. Pingora writes bodies and
//! reads answers beside our hooks, in an order that none of them sees. So each piece of a body goes
//! on as bytes that tell when they are let go of, which is when they have been written; and when the
//! last ones are, the system is asked whether anything has come from the origin by then.

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
    /// Bytes that had come over the connection before the request went out. UNIX sockets do not tell,
    /// so that their connections carry nothing behind a body; making new ones costs little.
    received: Option<u64>,
    /// Pieces that are not written yet; one more as long as others are to come.
    unwritten: AtomicUsize,
    came_first: AtomicBool,
}

/// A piece of a body that tells when it has been written.
struct Piece {
    bytes: Bytes,
    way: Arc<Way>,
}

impl Delivery {
    /// A body is to go out over this descriptor's connection, which is not lent again before
    /// [`Delivery::answered`] has seen that it may be.
    pub(super) fn new(fd: RawFd, headers: &HeaderMap) -> Self {
        kept::doubt(fd);
        let length = headers.get(CONTENT_LENGTH);
        let way = Way {
            fd,
            received: received(fd),
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
        if let Some(bytes) = piece.take_if(|bytes| !bytes.is_empty()) {
            let length = bytes.len() as u64;
            self.left = self.left.map(|left| left.saturating_sub(length));
            self.way.unwritten.fetch_add(1, AcqRel);
            let way = Arc::clone(&self.way);
            *piece = Some(Bytes::from_owner(Piece { bytes, way }));
        }
        if !self.is_handed_on && (end || self.left == Some(0)) {
            self.is_handed_on = true;
            self.way.written();
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
        if kept::is_doubted(self.way.fd) {
            let _ = shutdown(self.way.fd, Shutdown::Both);
        }
    }

    fn came_first(&self) -> bool {
        self.way.came_first.load(Acquire)
    }
}

impl Way {
    fn written(&self) {
        if self.unwritten.fetch_sub(1, AcqRel) == 1 {
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
        self.way.written();
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
    fn a_body_is_there_once_all_of_it_is_written() {
        let (near, _far) = pair();
        let mut delivery = Delivery::new(near.as_raw_fd(), &HeaderMap::new());
        let (mut first, mut last) = (piece("a"), piece("b"));
        delivery.hand_on(&mut first, false);
        assert_eq!(first.as_deref(), Some(&b"a"[..]));
        delivery.hand_on(&mut last, true);
        drop(last);
        assert!(!delivery.came_first(), "one is still to be written");
        drop(first);
        assert!(delivery.came_first());
    }

    #[test]
    fn an_end_by_itself_is_none_where_the_length_is_known() {
        let (near, mut far) = pair();
        let mut delivery = Delivery::new(near.as_raw_fd(), &length("2"));
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
        let mut delivery = Delivery::new(near.as_raw_fd(), &length("1"));
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
