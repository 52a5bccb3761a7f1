//! The sites' robots.txt: fetched from the origin beside the request path, read by filters, and
//! served with the tarpit's prefix disallowed, so that no obedient crawler ever follows its links.

use std::{io::Read, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Method;
use thornwall_detectors::robots::{Robots, with_disallow};
use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use crate::{generation::Site, state::State};

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
const MOST_BYTES: u64 = 500 << 10;

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
        let fetched = spawn_blocking(move || {
            generation.sites.iter().for_each(refresh_site);
            generation
                .sites
                .iter()
                .all(|site| site.robots.load().is_some())
        });
        let all_known = fetched.await.unwrap_or_else(|error| {
            log::warn!("robots.txt could not be refreshed; error={error}");
            false
        });
        pause = if all_known {
            REFRESH_EVERY
        } else {
            RETRY_EVERY
        };
    }
}

fn refresh_site(site: &Site) {
    match fetch(site) {
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
fn fetch(site: &Site) -> Result<String, Box<ureq::Error>> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(FETCH_TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let address = site.upstream.address;
    let host = site.own_host.clone().unwrap_or_else(|| address.to_string());
    let mut answer = agent
        .get(format!("http://{address}{PATH}"))
        .header("host", host)
        .call()?;
    match answer.status().as_u16() {
        200 => {
            let mut body = Vec::new();
            let mut reader = answer.body_mut().as_reader().take(MOST_BYTES);
            reader.read_to_end(&mut body).map_err(ureq::Error::from)?;
            Ok(String::from_utf8_lossy(&body).into_owned())
        }
        400..=499 => Ok(String::new()),
        status => Err(Box::new(ureq::Error::StatusCode(status))),
    }
}
