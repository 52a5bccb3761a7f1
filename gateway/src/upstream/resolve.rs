//! What the names of servers stand for, looked up away from requests. The last good answer stays
//! until there is a better one.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use thornwall_decisions::clock::ProcessTime;
use tokio::{
    net::lookup_host,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};

use super::Upstream;

/// How long start and reload wait for the first answers. Requests that come before them get 502.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// How soon a name that has never had an answer is looked up again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Names of one upstream that are looked up at once: each of them keeps a thread of the system.
const AT_ONCE: usize = 32;

/// Longest wait for one name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The name of a server, with the result of its lookup.
type Lookup = (Arc<str>, io::Result<Vec<SocketAddr>>);

/// Looks names up.
pub(super) trait Resolver: Send + Sync + 'static {
    /// The addresses of a name.
    fn look_up(
        &self,
        name: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The system: its files and name servers.
#[derive(Debug, Clone, Copy)]
pub(super) struct System;

impl Resolver for System {
    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((name, port)).await?.collect())
    }
}

/// Waits a little for names that are not known yet, so that the first requests find servers.
pub(crate) async fn settle(upstreams: impl IntoIterator<Item = Arc<Upstream>>) {
    let mut lookups = JoinSet::new();
    for upstream in upstreams
        .into_iter()
        .filter(|upstream| upstream.has_unknown_names())
    {
        lookups.spawn(async move { upstream.look_up_names(&System).await });
    }
    let all = async { while lookups.join_next().await.is_some() {} };
    if timeout(FIRST_ANSWERS, all).await.is_err() {
        log::warn!("names of servers are still being looked up; requests to them fail until then");
    }
}

/// Looks the names of an upstream up until it is dropped.
pub(super) async fn keep_looking_up(upstream: Arc<Upstream>, time: ProcessTime) {
    loop {
        let every = upstream.settings.resolve_every;
        let pause = if upstream.has_unknown_names() {
            every.min(RETRY_EVERY)
        } else {
            every
        };
        sleep(pause).await;
        upstream.look_up_names(&System).await;
        upstream.forget_what_is_gone(time.since_start());
    }
}

impl Upstream {
    fn has_unknown_names(&self) -> bool {
        self.named()
            .any(|(label, _, _)| self.learned.answer(label).is_none())
    }

    /// Looks all names up at once, so that none waits for another.
    async fn look_up_names(&self, resolver: &(impl Resolver + Clone)) {
        let mut lookups = JoinSet::new();
        for (label, name, port) in self.named() {
            if lookups.len() >= AT_ONCE {
                self.take_over(lookups.join_next().await);
            }
            let (resolver, label) = (resolver.clone(), Arc::clone(label));
            let name = name.to_owned();
            lookups.spawn(async move {
                let found = timeout(LOOKUP_TIMEOUT, resolver.look_up(&name, port)).await;
                let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                let found = match found {
                    Ok(found) if found.is_empty() => Err(io::Error::other("no address")),
                    other => other,
                };
                (label, found)
            });
        }
        while let Some(found) = lookups.join_next().await {
            self.take_over(Some(found));
        }
    }

    fn take_over(&self, found: Option<Result<Lookup, JoinError>>) {
        let upstream = &self.name;
        match found {
            Some(Ok((label, Ok(found)))) => {
                let count = found.len();
                if self.learn(&label, found) {
                    log::info!(
                        "server found; upstream={upstream} server={label} addresses={count}"
                    );
                }
            }
            Some(Ok((label, Err(error)))) => {
                self.learned.lookup_failed();
                let kept = self.learned.answer(&label).is_some();
                log::warn!(
                    "name of a server cannot be looked up; upstream={upstream} server={label} \
                     last_answer_kept={kept} error={error}"
                );
            }
            Some(Err(error)) => log::error!("lookup ended; upstream={upstream} error={error}"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::upstream::tests::upstream;

    /// Gives the answer that a test has set.
    #[derive(Clone)]
    struct StubResolver(Arc<Mutex<Result<Vec<SocketAddr>, io::ErrorKind>>>);

    impl Resolver for StubResolver {
        async fn look_up(&self, name: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            if name == "silent.test" {
                return std::future::pending().await;
            }
            self.0.lock().clone().map_err(io::Error::from)
        }
    }

    fn addresses(upstream: &Upstream) -> Vec<String> {
        let table = upstream.table.load();
        let endpoints = table.endpoints.iter();
        endpoints
            .map(|endpoint| format!("{} {}", endpoint.peer._address, endpoint.weight))
            .collect()
    }

    #[tokio::test]
    async fn names_become_servers_and_the_last_answer_stays() {
        let upstream = upstream(
            "servers = [{ address = \"a.test:80\", weight = 3 }, { address = \"192.0.2.9:80\" }]",
        );
        assert_eq!(addresses(&upstream), ["192.0.2.9:80 1"]);
        assert!(upstream.has_unknown_names());
        let resolver = StubResolver(Arc::new(Mutex::new(Err(io::ErrorKind::NotFound))));
        let check = async |answer: Result<&[&str], io::ErrorKind>, expected: &[&str]| {
            let parse = |text: &&str| text.parse().unwrap();
            *resolver.0.lock() = answer.map(|texts| texts.iter().map(parse).collect());
            upstream.look_up_names(&resolver).await;
            assert_eq!(addresses(&upstream), expected);
        };
        check(Err(io::ErrorKind::NotFound), &["192.0.2.9:80 1"]).await;
        let two = ["192.0.2.1:80 1.5", "192.0.2.2:80 1.5", "192.0.2.9:80 1"];
        check(Ok(&["192.0.2.2:80", "192.0.2.1:80"]), &two).await;
        assert!(!upstream.has_unknown_names());
        check(Err(io::ErrorKind::TimedOut), &two).await;
        check(Ok(&[]), &two).await;
        check(Ok(&["192.0.2.2:80"]), &["192.0.2.2:80 3", "192.0.2.9:80 1"]).await;
        assert_eq!(upstream.learned.lookups_failed(), 3);
    }
    #[tokio::test(start_paused = true)]
    async fn a_name_without_an_answer_keeps_no_other_waiting() {
        let upstream =
            upstream("servers = [{ address = \"silent.test:80\" }, { address = \"a.test:80\" }]");
        let resolver = StubResolver(Arc::new(Mutex::new(Ok(vec![
            "192.0.2.1:80".parse().unwrap(),
        ]))));
        let ended = timeout(FIRST_ANSWERS, upstream.look_up_names(&resolver)).await;
        assert!(ended.is_err(), "the silent one is waited for");
        assert!(upstream.learned.answer("a.test:80").is_some());
        let ended = timeout(2 * LOOKUP_TIMEOUT, upstream.look_up_names(&resolver)).await;
        assert!(ended.is_ok(), "but not for ever");
        assert_eq!(upstream.learned.lookups_failed(), 1);
    }
}
