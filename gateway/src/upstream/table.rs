//! The servers of an upstream as they are now: every address with its share of the requests.

use std::{sync::Arc, time::Duration};

use pingora::upstreams::peer::HttpPeer;

use super::{kept::ours, server_health::ServerHealth};
use crate::hash::Key;

/// Most addresses of one upstream: each of them is looked at now and then.
pub(super) const MOST_ENDPOINTS: usize = 1024;

/// Longest list of turns; shares are rounded where it would be longer.
const MOST_TURNS: u64 = 1 << 14;

/// A server's address that requests go to.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The server as it is written in the configuration: the label of metrics.
    pub server: Arc<str>,
    /// Names the address among all of the upstream, whatever their order.
    pub key: Key,
    /// What the cookie of its clients says, where there is one.
    pub cookie: Option<Box<str>>,
    /// Share of the requests that the address gets, beside those of the others.
    pub weight: f64,
    /// Requests at once; 0 for any number.
    pub max_connections: u32,
    /// What Pingora connects to.
    pub peer: HttpPeer,
    pub health: Arc<ServerHealth>,
}

impl Endpoint {
    /// Whether it is asked over HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.peer.options.alpn.get_min_http_version() == 2
    }

    /// Lets go of unused connections before the server does, where it has said when.
    pub(super) fn bound_idle(&self, peer: &mut HttpPeer) {
        let Some(secs) = self.health.keeps_secs() else {
            return;
        };
        let configured = peer.options.idle_timeout;
        peer.options.idle_timeout = Some(ours(secs).min(configured.unwrap_or(Duration::MAX)));
    }
}

/// All addresses, and whose turn it is when.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The addresses, in the order of the configuration.
    pub endpoints: Box<[Arc<Endpoint>]>,
    /// Places in `endpoints`, each as often as its share says, spread evenly.
    pub turns: Box<[u16]>,
    /// Whether any of them takes only so many requests at once.
    pub limited: bool,
}

impl Table {
    /// A table of these addresses.
    pub(super) fn new(mut endpoints: Vec<Arc<Endpoint>>) -> Self {
        endpoints.truncate(MOST_ENDPOINTS);
        let weights: Vec<f64> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        Self {
            turns: turns(&weights),
            limited: endpoints
                .iter()
                .any(|endpoint| endpoint.max_connections > 0),
            endpoints: endpoints.into(),
        }
    }
}

/// A list in which each place stands as often as its weight says, as far from its next as can be:
/// the smooth weighted round robin that nginx made known, written down beforehand. At each turn
/// everybody gains their weight, and whoever has most goes, and pays what all gained together.
fn turns(weights: &[f64]) -> Box<[u16]> {
    let whole = whole(weights);
    let total: i64 = whole.iter().sum();
    let mut gained = vec![0_i64; whole.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        let mut next = 0;
        for (place, weight) in whole.iter().enumerate() {
            gained[place] += weight;
            if gained[place] > gained[next] {
                next = place;
            }
        }
        gained[next] -= total;
        // At most 1024 places.
        turns.extend(u16::try_from(next));
    }
    turns.into()
}

/// Whole numbers in the proportions of the weights, as small as they can be.
fn whole(weights: &[f64]) -> Vec<i64> {
    let total: f64 = weights.iter().sum();
    let scales = (1..=MOST_TURNS).take_while(|scale| total * *scale as f64 <= MOST_TURNS as f64);
    let is_whole = |weight: f64| (weight - weight.round()).abs() < 1e-6 * weight;
    let exact = scales.take(720).find(|scale| {
        let scaled = weights.iter().map(|weight| weight * *scale as f64);
        scaled.into_iter().all(is_whole)
    });
    let scale = exact.map_or(MOST_TURNS as f64 / 4.0 / total, |scale| scale as f64);
    let rounded = weights
        .iter()
        .map(|weight| (weight * scale).round().max(1.0) as i64);
    let whole: Vec<i64> = rounded.collect();
    let divisor = whole.iter().copied().fold(0, gcd).max(1);
    whole.iter().map(|weight| weight / divisor).collect()
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(weights: &[f64], expected: &[u16]) {
        assert_eq!(*turns(weights), *expected, "{weights:?}");
    }

    #[test]
    fn turns_follow_the_weights_and_are_spread() {
        check(&[], &[]);
        check(&[7.0], &[0]);
        check(&[2.0, 2.0], &[0, 1]);
        check(&[5.0, 1.0, 1.0], &[0, 0, 1, 0, 2, 0, 0]);
        // A name of weight 1 with two addresses, beside one of weight 1.
        check(&[0.5, 0.5, 1.0], &[2, 0, 1, 2]);
    }

    #[test]
    fn odd_weights_are_rounded_and_stay_bounded() {
        let weights: Vec<f64> = (1..1000).map(|n| 1000.0 / f64::from(n)).collect();
        let turns = turns(&weights);
        assert!(turns.len() < 2 * MOST_TURNS as usize, "{}", turns.len());
        let count = |place: u16| turns.iter().filter(|turn| **turn == place).count() as f64;
        assert!((count(0) / count(1) - 2.0).abs() < 0.01);
        assert!((998..=998).all(|place| count(place) >= 1.0));
    }
}
