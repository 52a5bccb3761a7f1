//! Pseudonyms in place of clients' addresses, where `[privacy]` wants them.
//!
//! The raw address lives in memory alone, as long as a connection, a counter or a decision needs it.
//! What is logged or shown is the network of its neighbours, or a hash under a key that is random,
//! never leaves memory and is forgotten when the day (UTC) ends: no one, the operator included, can
//! then find out whose it was, not even by trying all addresses.
//!
//! Networks that are as wide as neighbourhoods (/24, /48) are no client's address, and are shown as
//! they are.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwapOption;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thornwall_decisions::prefix_set::Prefix;
use thornwall_detectors::{
    address::{neighbourhood, subscriber},
    signal::Evidence,
};

pub(crate) use crate::config::PrivacyMode;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// Bytes of a hash that are shown: among a million clients a day, two share one in a few of 10^7 days
/// (birthday bound).
const SHOWN: usize = 8;

/// Formats addresses as far as they may be shown.
#[derive(Debug)]
pub(crate) struct Pseudonymiser {
    mode: PrivacyMode,
    key: ArcSwapOption<DayKey>,
}

/// The key of one day.
struct DayKey {
    day: u64,
    key: [u8; 32],
}

impl std::fmt::Debug for DayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whatever holds a key does not print it.
        f.debug_struct("DayKey")
            .field("day", &self.day)
            .finish_non_exhaustive()
    }
}

impl Pseudonymiser {
    /// A pseudonymiser of this mode.
    pub(crate) const fn new(mode: PrivacyMode) -> Self {
        Self {
            mode,
            key: ArcSwapOption::const_empty(),
        }
    }

    /// Whether addresses are hidden at all.
    pub(crate) fn hides(&self) -> bool {
        self.mode != PrivacyMode::Full
    }

    /// Whether this network is replaced by a pseudonym.
    pub(crate) fn hides_subject(&self, subject: Prefix) -> bool {
        self.hides() && !subject.is_coarse()
    }

    /// A client's address, as it may be shown at this time (milliseconds of Unix time).
    pub(crate) fn client(&self, address: IpAddr, now_ms: u64) -> String {
        match self.mode {
            PrivacyMode::Full => address.to_string(),
            PrivacyMode::Hash => self.hash(
                Prefix::around(subscriber(address), own_length(address)),
                now_ms,
            ),
            PrivacyMode::Truncate => neighbourhood(address).to_string(),
        }
    }

    /// The subject of a decision, as it may be shown at this time.
    pub(crate) fn subject(&self, subject: Prefix, now_ms: u64) -> String {
        match self.mode {
            _ if !self.hides_subject(subject) => subject.to_string(),
            PrivacyMode::Full => subject.to_string(),
            PrivacyMode::Hash => self.hash(Some(subject), now_ms),
            // It is not the whole network that is meant.
            PrivacyMode::Truncate => format!("in {}", coarse(subject)),
        }
    }

    /// The evidence of a signal, as it may be shown at this time.
    pub(crate) fn evidence(&self, evidence: &Evidence, now_ms: u64) -> String {
        let network = |first, length| Prefix::around(first, length);
        match evidence {
            Evidence::Network(first, length, by) if self.hides() => {
                let shown = network(*first, *length).map(|subject| self.subject(subject, now_ms));
                format!("{} by {by}", shown.unwrap_or_default())
            }
            // A range of a list: whose entry it was shows in the list.
            Evidence::Range(first, _) if self.hides() => {
                let host = Prefix::host(*first);
                format!("a range around {}", self.client(host.first(), now_ms))
            }
            other => other.to_string(),
        }
    }

    /// The hash under the key of this day. Where no key can be had, it is empty.
    fn hash(&self, subject: Option<Prefix>, now_ms: u64) -> String {
        let hashed = subject.and_then(|subject| {
            let key = self.key_of(now_ms / DAY_MS)?;
            let mut hmac = Hmac::<Sha256>::new_from_slice(&key.key).ok()?;
            hmac.update(subject.to_string().as_bytes());
            let digest = hmac.finalize().into_bytes();
            Some(
                digest[..SHOWN]
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>(),
            )
        });
        format!("#{}", hashed.unwrap_or_default())
    }

    fn key_of(&self, day: u64) -> Option<Arc<DayKey>> {
        // What is shown late, about a moment before midnight, is hashed under the new day's key:
        // the old one is gone, and another would not match what was shown before either.
        let is_current = |held: &DayKey| held.day == day || held.day.checked_sub(1) == Some(day);
        let current = |key: &Arc<DayKey>| is_current(key);
        if let Some(key) = self.key.load_full().filter(current) {
            return Some(key);
        }
        let mut key = [0; 32];
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        random.fill(&mut key).ok()?;
        let fresh = Arc::new(DayKey { day, key });
        // Of several at once, one counts for all.
        self.key.rcu(|held| match held {
            Some(held) if is_current(held) => Arc::clone(held),
            _ => Arc::clone(&fresh),
        });
        self.key.load_full().filter(current)
    }
}

/// What one client's addresses have in common: all of an IPv4 address, the /64 of an IPv6 one.
const fn own_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 64,
    }
}

/// The neighbourhood that a narrower network lies in.
fn coarse(subject: Prefix) -> Prefix {
    let first = neighbourhood(subject.first());
    let length = if first.is_ipv4() { 24 } else { 48 };
    Prefix::around(first, length).unwrap_or(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn hashes_are_the_same_for_a_day_and_a_client() {
        let pseudonymiser = Pseudonymiser::new(PrivacyMode::Hash);
        let noon = DAY_MS * 20_000 + DAY_MS / 2;
        let client = pseudonymiser.client(address("192.0.2.7"), noon);
        assert_eq!(client.len(), 1 + 2 * SHOWN);
        assert_eq!(
            client,
            pseudonymiser.client(address("192.0.2.7"), noon + 1000)
        );
        assert_eq!(client, pseudonymiser.subject(prefix("192.0.2.7"), noon));
        assert_ne!(client, pseudonymiser.client(address("192.0.2.8"), noon));
        let one = pseudonymiser.client(address("2001:db8:1:2::1"), noon);
        assert_eq!(
            one,
            pseudonymiser.client(address("2001:db8:1:2:3::4"), noon)
        );
        assert_eq!(
            one,
            pseudonymiser.subject(prefix("2001:db8:1:2::/64"), noon)
        );
        // Tomorrow, and in another process, no one can see that it is the same.
        assert_ne!(
            client,
            pseudonymiser.client(address("192.0.2.7"), noon + DAY_MS)
        );
        let other = Pseudonymiser::new(PrivacyMode::Hash);
        assert_ne!(client, other.client(address("192.0.2.7"), noon));
        // The key of the day before is gone.
        assert_ne!(client, pseudonymiser.client(address("192.0.2.7"), noon));
    }

    #[test]
    fn what_is_shown_late_leaves_the_days_key_alone() {
        let pseudonymiser = Pseudonymiser::new(PrivacyMode::Hash);
        let midnight = DAY_MS * 20_000;
        let today = pseudonymiser.client(address("192.0.2.7"), midnight + 1);
        // A request that began before midnight ends after it.
        assert_eq!(
            today,
            pseudonymiser.client(address("192.0.2.7"), midnight - 1)
        );
        assert_eq!(
            today,
            pseudonymiser.client(address("192.0.2.7"), midnight + 2)
        );
    }

    #[test]
    fn what_is_shown_is_no_ones_address() {
        let check = |mode, subject: &str, expected: &str| {
            assert_eq!(
                Pseudonymiser::new(mode).subject(prefix(subject), 1),
                expected,
                "{subject}"
            );
        };
        check(PrivacyMode::Full, "192.0.2.7", "192.0.2.7");
        check(PrivacyMode::Truncate, "192.0.2.7", "in 192.0.2.0/24");
        check(PrivacyMode::Truncate, "192.0.2.128/25", "in 192.0.2.0/24");
        check(PrivacyMode::Truncate, "192.0.0.0/16", "192.0.0.0/16");
        check(
            PrivacyMode::Truncate,
            "2001:db8:1:2::/64",
            "in 2001:db8:1::/48",
        );
        check(PrivacyMode::Hash, "192.0.2.0/24", "192.0.2.0/24");
        let pseudonymiser = Pseudonymiser::new(PrivacyMode::Truncate);
        assert_eq!(pseudonymiser.client(address("192.0.2.7"), 1), "192.0.2.0");
        assert_eq!(
            pseudonymiser.client(address("2001:db8:1:2::3"), 1),
            "2001:db8:1::"
        );
        let network = Evidence::Network(address("192.0.2.7"), 32, "operator");
        assert_eq!(
            pseudonymiser.evidence(&network, 1),
            "in 192.0.2.0/24 by operator"
        );
        let range = Evidence::Range(address("192.0.2.7"), address("192.0.2.9"));
        assert_eq!(
            pseudonymiser.evidence(&range, 1),
            "a range around 192.0.2.0"
        );
        assert_eq!(pseudonymiser.evidence(&Evidence::Text("curl"), 1), "curl");
    }
}
