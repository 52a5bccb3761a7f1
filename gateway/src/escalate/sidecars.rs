//! The sidecars, and which of them a case goes to.
//!
//! Where there are several, rendezvous hashing of site and client chooses: each sidecar draws a number
//! for the pair, and the highest wins. So whatever one client does at one site comes together at one
//! of them, through every gateway that writes the addresses alike, and a sidecar more or less moves
//! only its own clients.
//!
//! Whether a sidecar is there plays no part: the cases of one that is away wait in its table. Another
//! one would see the half of a case and none of its past, and would let go what the two halves
//! together condemn; when the first one is back, the case would be split once more.

use std::{collections::HashMap, iter, net::IpAddr, sync::Arc};

use parking_lot::RwLock;
use thornwall_decisions::{decision::Scope, decisions::Decisions};
use thornwall_detectors::address::{canonical, subscriber};
use thornwall_filters::{
    escalation::{CaseId, Escalation, Interest, Sighting},
    key::KeySeed,
};

use super::{Assessment, Sidecar};
use crate::hash::Key;

/// Most assessments that all sidecars keep together.
const MOST_ASSESSMENTS: usize = 16_384;

/// All sidecars of this gateway, one at least.
pub(crate) struct Sidecars {
    first: Drawer,
    others: Vec<Drawer>,
    /// What names of sites hash to, by number: a number never gets another name.
    sites: RwLock<HashMap<u16, Key>>,
    decisions: Arc<Decisions>,
    /// What shapes of requests are hashed with, here as in filters.
    pub(crate) key_seed: KeySeed,
}

/// A sidecar, and what its address hashes to.
struct Drawer {
    key: Key,
    sidecar: Arc<Sidecar>,
}

impl Sidecars {
    /// Sidecars at these addresses, none connected; nothing where there is no address. Together they
    /// keep as many cases as given, each its share: one that is away takes no room from the others.
    pub(crate) fn new(
        addresses: &[&str],
        max_cases: usize,
        key_seed: KeySeed,
        decisions: Arc<Decisions>,
    ) -> Option<Self> {
        let count = addresses.len();
        let make = |address: &&str| Drawer {
            key: Key::of(address.as_bytes()),
            sidecar: Arc::new(Sidecar::new(
                address,
                max_cases / count,
                MOST_ASSESSMENTS / count,
            )),
        };
        let (first, others) = addresses.split_first()?;
        Some(Self {
            first: make(first),
            others: others.iter().map(make).collect(),
            sites: RwLock::default(),
            decisions,
            key_seed,
        })
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Sidecar>> {
        let others = self.others.iter().map(|other| &other.sidecar);
        iter::once(&self.first.sidecar).chain(others)
    }

    /// What a case came to, where that is still known.
    pub(crate) fn assessment(&self, case: CaseId) -> Option<Assessment> {
        self.iter()
            .find_map(|sidecar| sidecar.assessments.find(case))
    }

    /// The sidecar of what this client does at this site.
    pub(crate) fn of(&self, site: u16, client: IpAddr) -> &Arc<Sidecar> {
        if self.others.is_empty() {
            return &self.first.sidecar;
        }
        let client = match subscriber(canonical(client)) {
            IpAddr::V4(v4) => Key::of(&v4.octets()),
            IpAddr::V6(v6) => Key::of(&v6.octets()),
        };
        let pair = self.site(site).with(client);
        let mut best = &self.first;
        for other in &self.others {
            if other.key.with(pair) > best.key.with(pair) {
                best = other;
            }
        }
        &best.sidecar
    }

    /// What the name of a site hashes to: its number is another one at other gateways.
    fn site(&self, number: u16) -> Key {
        if let Some(key) = self.sites.read().get(&number) {
            return *key;
        }
        match self.decisions.sites().scope(number) {
            Some(Scope::Site(name)) => {
                let key = Key::of(name.as_bytes());
                self.sites.write().insert(number, key);
                key
            }
            Some(Scope::Deployment) | None => Key::default(),
        }
    }
}

impl Escalation for Sidecars {
    fn sight(&self, sighting: &Sighting) -> Interest {
        let sidecar = self.of(sighting.site, sighting.client);
        sidecar.cases.sight(sighting)
    }
}

#[cfg(test)]
mod tests;
