//! Connections of HTTP/1 that are kept for the next request: when they are over, and what may be
//! sent again where one was.
//!
//! Pingora looks whether a kept connection is still good by what the runtime has noticed of it, and
//! on a busy machine that comes late. So the system itself is asked before a request goes out: an
//! end, or bytes that no request asked for, would fail the request or be taken for its answer.
//!
//! One byte can escape: Pingora's pool reads it off an idle connection to see whether that is over,
//! and only then takes the connection out. A request that is lent it in between has nothing to see.
//! The byte is lost, so that it is in no client's answer. Where there were more, Pingora holds the
//! others in its buffer, looks there, and lends nothing.
//!
//! A connection may also look well, and have an origin behind it that has still to read the last body:
//! those are marked by their descriptors from before the request until its answer says otherwise,
//! since Pingora gives a connection back without asking anybody.

use std::{
    os::fd::RawFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use http::{HeaderValue, Method};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};

/// Descriptors that can be marked: as many as Linux gives a process unless it is configured
/// otherwise (`fs.nr_open`). Beyond, no connection that was kept is lent.
const MOST_DESCRIPTORS: usize = 1 << 20;

/// A bit for each connection that may not be lent again. Pages of it that are not used cost nothing.
static SUSPECTS: [AtomicU64; MOST_DESCRIPTORS / 64] =
    [const { AtomicU64::new(0) }; MOST_DESCRIPTORS / 64];

fn mark(fd: RawFd) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    Some((SUSPECTS.get(fd / 64)?, 1 << (fd % 64)))
}

/// This connection is not lent again, unless it is trusted before.
pub(super) fn suspect(fd: RawFd) {
    if let Some((word, bit)) = mark(fd) {
        word.fetch_or(bit, Relaxed);
    }
}

/// This connection may be lent again.
pub(super) fn trust(fd: RawFd) {
    if let Some((word, bit)) = mark(fd)
        && word.load(Relaxed) & bit != 0
    {
        word.fetch_and(!bit, Relaxed);
    }
}

/// Whether this connection may not be lent again.
pub(super) fn is_suspect(fd: RawFd) -> bool {
    mark(fd).is_none_or(|(word, bit)| word.load(Relaxed) & bit != 0)
}

/// Whether a kept connection may not be lent: it has ended, carries bytes although nothing was asked
/// over it, or is not trusted.
pub(super) fn is_spent(fd: RawFd) -> bool {
    if is_suspect(fd) {
        return true;
    }
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(fd, &mut [0], flags) != Err(Errno::EAGAIN)
}

/// Whether a request may be sent again although the first one may have had its effect: all but those
/// that nginx takes for not idempotent (RFC 9110 section 9.2.2; `LOCK` gives out a new token, RFC
/// 4918 section 7).
pub(super) fn may_repeat(method: &Method) -> bool {
    !matches!(method.as_str(), "POST" | "PATCH" | "LOCK")
}

/// How long an origin keeps an unused connection: `Keep-Alive: timeout=5, max=100`, in seconds.
pub(super) fn keep_alive_secs(field: &HeaderValue) -> Option<u32> {
    let mut options = field.to_str().ok()?.split(',');
    options.find_map(|option| {
        let (name, secs) = option.split_once('=')?;
        let is_time = name.trim().eq_ignore_ascii_case("timeout");
        is_time.then(|| secs.trim().trim_matches('"').parse().ok())?
    })
}

/// How long we keep what the origin keeps so long: a second less, since what we send crosses its
/// farewell.
pub(super) const fn ours(secs: u32) -> Duration {
    match secs {
        0 => Duration::ZERO,
        1 => Duration::from_millis(500),
        secs => Duration::from_secs(secs as u64 - 1),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::{fd::AsRawFd, unix::net::UnixStream},
    };

    use super::*;

    #[test]
    fn an_end_and_unasked_bytes_spend_a_connection() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        // Another test's connection may have had this descriptor.
        trust(near.as_raw_fd());
        assert!(!is_spent(near.as_raw_fd()));
        far.write_all(b"x").unwrap();
        assert!(is_spent(near.as_raw_fd()));
        near.read_exact(&mut [0]).unwrap();
        assert!(!is_spent(near.as_raw_fd()), "looking takes nothing away");
        suspect(near.as_raw_fd());
        assert!(is_spent(near.as_raw_fd()));
        trust(near.as_raw_fd());
        assert!(!is_spent(near.as_raw_fd()));
        drop(far);
        assert!(is_spent(near.as_raw_fd()));
    }

    #[test]
    fn the_origins_time_is_read() {
        let check = |field: &'static str, expected: Option<u32>| {
            let found = keep_alive_secs(&HeaderValue::from_static(field));
            assert_eq!(found, expected, "{field}");
        };
        check("timeout=5, max=100", Some(5));
        check("max=100,Timeout = 75", Some(75));
        check("timeout=\"5\"", Some(5));
        for nothing in [
            "",
            "5",
            "max=5",
            "timeout",
            "timeout=",
            "timeout=-1",
            "timeout=5s",
        ] {
            check(nothing, None);
        }
        assert!(ours(0).is_zero() && !ours(1).is_zero());
        assert!(ours(1) < Duration::from_secs(1));
        assert_eq!(ours(75), Duration::from_secs(74));
    }
}
