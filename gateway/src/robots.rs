//! The robots.txt of every public host: read from the origin beside the request path, told to
//! filters, and served with the tarpit's prefix disallowed, so that no obedient crawler ever follows
//! its links.
//!
//! A file belongs to one host and scheme (RFC 9309 section 2.3), and is read once somebody asks that
//! host for something. Where it cannot be read the origin's own answer is passed on as it is, and no
//! crawler is judged by it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method};
use pingora::http::RequestHeader;
use thornwall_detectors::robots::{Robots as Rules, with_disallow};
use tokio::time::timeout;

use crate::{
    exchange::Exchange, forward::sent_authority, generation::Generation, hash::Key,
    hosts::split_authority,
};

mod fetch;
mod keeper;
mod line;
mod table;

pub use keeper::keep;
pub use table::Robots;

use table::Found;

/// A robots.txt.
#[derive(Debug)]
pub struct RobotsFile {
    /// What crawlers are told.
    pub text: Bytes,
    /// Names the text among all others.
    pub etag: HeaderValue,
    /// What the origin asks for.
    pub rules: Rules,
}

impl RobotsFile {
    /// The file of an origin that says this, with the tarpit's prefix closed.
    fn new(said: &[u8], prefix: &str) -> Self {
        let text = with_disallow(&String::from_utf8_lossy(said), prefix);
        let etag = HeaderValue::try_from(format!("\"{:016x}\"", Key::of(text.as_bytes()).0));
        Self {
            rules: Rules::parse(said),
            etag: etag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
            text: Bytes::from(text),
        }
    }

    /// Memory that it takes.
    fn cost(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.rules.heap_bytes()
    }
}

/// Whose robots.txt it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place<'a> {
    site: u16,
    secure: bool,
    host: &'a str,
    port: Option<u16>,
}

/// The path that crawlers ask for.
const PATH: &str = "/robots.txt";

/// Longest wait of a request for a file that the origin has just been asked for.
const WAIT: Duration = Duration::from_secs(1);

impl Robots {
    /// The file of the host that a request asks for, where it is known; else it is to be read.
    pub fn of(
        &self,
        request: &RequestHeader,
        exchange: &Exchange,
        now: Duration,
    ) -> Option<Arc<RobotsFile>> {
        match self.find(&place(request, exchange)?, &exchange.generation, now) {
            Found::Known(file) => file,
            Found::Unknown { .. } => None,
        }
    }

    /// The file to answer with, where this is a request for one. It waits for the origin for a
    /// moment, as the request itself would.
    pub async fn answer(
        &self,
        request: &RequestHeader,
        exchange: &Exchange,
        now: Duration,
    ) -> Option<Arc<RobotsFile>> {
        let asked = exchange.path(&request.uri) == PATH;
        if !asked || !matches!(request.method, Method::GET | Method::HEAD) {
            return None;
        }
        let place = place(request, exchange)?;
        let mut news = self.news();
        match self.find(&place, &exchange.generation, now) {
            Found::Known(file) => return file,
            Found::Unknown { comes: false } => return None,
            Found::Unknown { comes: true } => {}
        }
        let _guest = self.enter()?;
        let known = async {
            while news.changed().await.is_ok() {
                if let Found::Known(file) = self.find(&place, &exchange.generation, now) {
                    return file;
                }
            }
            None
        };
        timeout(WAIT, known).await.ok().flatten()
    }
}

/// Whose file a request is about. A port that is none of our listeners' is only what the client
/// says, and would multiply what is kept.
fn place<'a>(request: &RequestHeader, exchange: &'a Exchange) -> Option<Place<'a>> {
    // Who names no host asks for nobody's file.
    if exchange.host.is_empty() {
        return None;
    }
    let sent = sent_authority(request)?;
    let port = if sent.len() > exchange.host.len() {
        split_authority(sent).and_then(|(_, port)| port)
    } else {
        None
    };
    Some(Place {
        site: exchange.site()?.id,
        secure: exchange.secure,
        host: &exchange.host,
        port: port.filter(|port| counts(&exchange.generation, exchange.secure, *port)),
    })
}

/// Whether a port makes another authority than none.
fn counts(generation: &Generation, secure: bool, port: u16) -> bool {
    let usual = if secure { 443 } else { 80 };
    port != usual && generation.ports.contains(&port)
}
