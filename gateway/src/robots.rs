//! The robots.txt of every public host: read from the origin beside the request path, sent to
//! filters, and served with the tarpit's prefix disallowed, so that no obedient crawler ever follows
//! its links.
//!
//! A file belongs to one host and scheme (RFC 9309 section 2.3), and is read once a client asks that
//! host for something. Where it cannot be read the origin's own answer is passed on as it is, and no
//! crawler is judged by it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use thornwall_detectors::robots::{Robots as Rules, with_disallow};
use tokio::time::timeout;

use crate::{hash::Key, hosts::Hosts};

mod line;
mod table;

pub(crate) use line::Want;
pub(crate) use table::Robots;

use table::Found;

#[derive(Debug)]
pub(crate) struct RobotsFile {
    /// The text that crawlers get.
    pub text: Bytes,
    /// Names the text among all others.
    pub etag: HeaderValue,
    /// What the origin asks for.
    pub rules: Rules,
}

impl RobotsFile {
    /// The file of an origin that says this, with the tarpit's prefix closed.
    pub(crate) fn new(written: &[u8], prefix: &str) -> Self {
        let text = with_disallow(&String::from_utf8_lossy(written), prefix);
        let etag = HeaderValue::try_from(format!("\"{:016x}\"", Key::of(text.as_bytes()).0));
        Self {
            rules: Rules::parse(written),
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
pub(crate) struct FileKey<'a> {
    /// The site's number.
    pub(crate) site: u16,
    /// Whether it is asked for by HTTPS.
    pub(crate) secure: bool,
    /// The host, in the form that sites are looked up by.
    pub(crate) host: &'a str,
    /// The port, where it makes another place than none.
    pub(crate) port: Option<u16>,
}

/// The path that crawlers ask for.
pub(crate) const PATH: &str = "/robots.txt";

/// Longest wait of a request for a file that the origin has just been asked for.
const WAIT: Duration = Duration::from_secs(1);

impl Robots {
    /// The file of a host, where it is known; else it is to be read.
    pub(crate) fn of(
        &self,
        key: &FileKey<'_>,
        hosts: &Hosts,
        now: Duration,
    ) -> Option<Arc<RobotsFile>> {
        match self.find(key, hosts, now) {
            Found::Known(file) => file,
            Found::Unknown { .. } => None,
        }
    }

    /// The file to answer a request for one with. It waits for the origin for a moment, as the request itself
    /// would.
    pub(crate) async fn answer(
        &self,
        key: &FileKey<'_>,
        hosts: &Hosts,
        now: Duration,
    ) -> Option<Arc<RobotsFile>> {
        let mut news = self.news();
        match self.find(key, hosts, now) {
            Found::Known(file) => return file,
            Found::Unknown { comes: false } => return None,
            Found::Unknown { comes: true } => {}
        }
        let _guest = self.enter()?;
        let known = async {
            while news.changed().await.is_ok() {
                if let Found::Known(file) = self.find(key, hosts, now) {
                    return file;
                }
            }
            None
        };
        timeout(WAIT, known).await.ok().flatten()
    }
}

/// Whether a port makes another authority than none. One that is none of our listeners' is only what a client
/// says, and would multiply what is kept.
pub(crate) fn counts(ports: &[u16], secure: bool, port: u16) -> bool {
    let usual = if secure { 443 } else { 80 };
    port != usual && ports.contains(&port)
}
