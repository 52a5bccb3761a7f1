//! The sites' robots.txt: fetched from the origin beside the request path, read by filters, and
//! served with the tarpit's prefix disallowed, so that no obedient crawler ever follows its links.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Method;
use thornwall_detectors::robots::{Robots, with_disallow};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{generation::Site, state::State, upstream};

/// Where a site's robots.txt lies once it is known.
pub type RobotsCell = ArcSwapOption<RobotsFile>;

/// A site's robots.txt.
#[derive(Debug)]
pub struct RobotsFile {
    /// What crawlers are told.
    pub text: Bytes,
    /// What the origin asks for.
    pub rules: Robots,
}

/// RFC 9309 section 2.5: crawlers must read at least this much.
const MOST_BYTES: usize = 500 << 10;

/// Well below the 24 hours that crawlers may keep a copy (RFC 9309 section 2.4).
const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// While a site's robots.txt has never been read: its origin may just be starting.
const RETRY_EVERY: Duration = Duration::from_secs(5);

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The path that crawlers ask for.
const PATH: &str = "/robots.txt";

/// The text to answer with, where this is a request for a robots.txt that is known.
pub fn answer(site: &Site, method: &Method, path: &str) -> Option<Bytes> {
    let asked = path == PATH && matches!(*method, Method::GET | Method::HEAD);
    let file = if asked { site.robots.load_full() } else { None };
    file.map(|file| file.text.clone())
}

/// Keeps every site's robots.txt fresh until the process ends. Task `robots`.
pub async fn refresh(state: Arc<State>, mut reloaded: watch::Receiver<u64>) {
    let mut shutdown = state.shutdown.clone();
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            changed = reloaded.changed() => if changed.is_err() { return },
            _ = shutdown.changed() => return,
        }
        let generation = state.generation.load_full();
        for site in &generation.sites {
            refresh_site(site, state.now()).await;
        }
        let all_known = generation
            .sites
            .iter()
            .all(|site| site.robots.load().is_some());
        pause = if all_known {
            REFRESH_EVERY
        } else {
            RETRY_EVERY
        };
    }
}

async fn refresh_site(site: &Site, now: Duration) {
    let fetched = timeout(FETCH_TIMEOUT, fetch(site, now)).await;
    match fetched.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
        Ok(text) => {
            let file = RobotsFile {
                rules: Robots::parse(text.as_bytes()),
                text: Bytes::from(with_disallow(&text, site.links.prefix())),
            };
            site.robots.store(Some(Arc::new(file)));
        }
        Err(error) => {
            // The last good copy stays: RFC 9309 section 2.3.1.4.
            log::warn!(
                "robots.txt could not be read; site={} error={error}",
                site.name
            );
        }
    }
}

/// The origin's text. Any 4xx means that it has none (RFC 9309 section 2.3.1.3).
async fn fetch(site: &Site, now: Duration) -> Result<String, String> {
    let own = || site.upstream.authority();
    let host = site.own_host.clone().unwrap_or_else(own);
    let told = upstream::fetch(&site.upstream, &host, PATH, MOST_BYTES, now).await;
    let told = told.map_err(|error| error.to_string())?;
    match told.status {
        200 => Ok(String::from_utf8_lossy(&told.body).into_owned()),
        400..=499 => Ok(String::new()),
        status => Err(format!("status {status}")),
    }
}
