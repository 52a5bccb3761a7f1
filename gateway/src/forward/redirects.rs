//! Addresses in answers that lead to the origin's own place: back to where the client came from.
//!
//! An origin that knows nothing of the gateway builds `Location` from where it listens
//! (`http://shop.example:9000/docs/`), which clients cannot reach, or from plain HTTP, which they
//! left. nginx mends that by default (`proxy_redirect default`), and so does this. Whatever names
//! another host stays as it is.

use pingora::http::ResponseHeader;

use super::public::Public;
use crate::{exchange::Exchange, hosts::split_authority, upstream::Upstream};

/// What decides about addresses in one answer.
pub(crate) struct Way<'a> {
    /// Where the client believes to be.
    pub public: &'a Public,
    /// The host that the origin was asked for.
    pub asked: &'a str,
    /// The target that it was asked for, where the answer is to be asked for in the same way.
    pub target: Option<&'a str>,
    /// Servers of the upstream.
    pub upstream: &'a Upstream,
    /// Whether `https` can lead nowhere but to the origin itself.
    pub never_secure: bool,
}

impl<'a> Way<'a> {
    /// The way of a request that was forwarded.
    pub(super) fn of(
        exchange: &'a Exchange,
        public: &'a Public,
        target: Option<&'a str>,
    ) -> Option<Self> {
        let upstream = exchange.upstream()?;
        let offers_tls = exchange.generation.tls.https_port().is_some();
        Some(Self {
            public,
            asked: &exchange.asked.host,
            target,
            upstream,
            never_secure: !offers_tls && !exchange.client.peer_trusted,
        })
    }

    /// The public address for one of the origin's own; `None` for any other, and for text that is
    /// no address.
    pub(crate) fn mend(&self, address: &[u8]) -> Option<Vec<u8>> {
        let found = Absolute::parse(address, self.public.secure)?;
        if !self.is_origins(&found.place) {
            return None;
        }
        let scheme = if found.schemeless {
            String::new()
        } else {
            format!("{}:", self.public.scheme())
        };
        let mut mended = format!("{scheme}//{}", self.public.authority()).into_bytes();
        mended.extend_from_slice(found.rest);
        // Who leads from HTTPS to HTTP and nowhere else means it: mended it would lead in circles.
        let leads_down = !found.place.secure
            && self.public.secure
            && found.place.port.is_none()
            && self.target.is_some_and(|target| {
                found.rest == target.as_bytes() || (found.rest.is_empty() && target == "/")
            });
        (mended != address && !leads_down).then_some(mended)
    }

    /// Mends the field `Refresh`: seconds, and an address behind `url=`.
    fn mend_refresh(&self, value: &[u8]) -> Option<Vec<u8>> {
        let at = value
            .windows(4)
            .position(|part| part.eq_ignore_ascii_case(b"url="))?
            + 4;
        let quoted = value.get(at).copied().filter(|byte| b"\"'".contains(byte));
        let start = at + usize::from(quoted.is_some());
        let rest = value.get(start..)?;
        let end = quoted.and_then(|quote| rest.iter().position(|byte| *byte == quote));
        let (address, after) = rest.split_at(end.unwrap_or(rest.len()));
        let mended = self.mend(address)?;
        Some([&value[..start], &mended, after].concat())
    }

    /// Whether a place is the origin's own view of itself.
    fn is_origins(&self, place: &Public) -> bool {
        let port = place.effective_port();
        if self.upstream.is_at(&place.host, port) {
            return true;
        }
        let public = self.public;
        if place.host != self.asked && place.host != public.host {
            return false;
        }
        if !place.secure && public.secure {
            // The origin does not know that TLS ended before it.
            return place.port.is_none()
                || port == public.effective_port()
                || self.upstream.has_port(port);
        }
        if place.secure && !public.secure && place.port.is_none() && !self.never_secure {
            // Who leads from HTTP to HTTPS means it.
            return false;
        }
        port != public.effective_port() && self.upstream.has_port(port)
    }
}

/// Mends the fields that browsers follow.
pub(super) fn mend(response: &mut ResponseHeader, way: &Way<'_>) -> pingora::Result<()> {
    use http::header::{CONTENT_LOCATION, LOCATION, REFRESH};
    super::replace(response, &LOCATION, |value| way.mend(value))?;
    super::replace(response, &CONTENT_LOCATION, |value| way.mend(value))?;
    super::replace(response, &REFRESH, |value| way.mend_refresh(value))
}

/// An address with a host, taken apart.
struct Absolute<'a> {
    place: Public,
    schemeless: bool,
    /// Path, query and fragment.
    rest: &'a [u8],
}

impl<'a> Absolute<'a> {
    fn parse(address: &'a [u8], secure: bool) -> Option<Self> {
        let scheme = |name: &[u8]| {
            let start = address.get(..name.len())?;
            start
                .eq_ignore_ascii_case(name)
                .then(|| &address[name.len()..])
        };
        let (secure, rest) = match (scheme(b"http://"), scheme(b"https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => (secure, scheme(b"//")?),
        };
        let end = rest.iter().position(|byte| b"/?#".contains(byte));
        let (authority, rest) = rest.split_at(end.unwrap_or(rest.len()));
        // An address with a user, or anything else beside host and port, is not understood.
        let (host, port) = split_authority(str::from_utf8(authority).ok()?)?;
        Some(Self {
            place: Public::new(secure, host, port),
            schemeless: address.starts_with(b"//"),
            rest,
        })
    }
}
