//! How much of something each client has at once: connections, or requests.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
};

use parking_lot::Mutex;
use thornwall_detectors::address::subscriber;

/// Parts that are locked by themselves, so that requests of different clients seldom meet.
const PARTS: usize = 16;

/// What clients have of one thing. A client is one IPv4 address, or one /64 of IPv6, which is what a
/// subscriber gets (RFC 6177). Who has nothing takes up no room.
#[derive(Debug, Default)]
pub struct Shares {
    hasher: RandomState,
    parts: [Mutex<HashMap<IpAddr, u32>>; PARTS],
}

/// One piece of what a client has, given back when dropped.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Shares {
    /// A further piece for `client`, unless it has so many already.
    pub fn take(self: &Arc<Self>, client: IpAddr, most: u32) -> Option<Share> {
        let client = subscriber(client);
        let mut part = self.part(client).lock();
        let mine = part.entry(client).or_insert(0);
        if *mine >= most {
            return None;
        }
        *mine += 1;
        Some(Share {
            shares: Arc::clone(self),
            client,
        })
    }

    /// How many clients have any.
    pub fn clients(&self) -> usize {
        self.parts.iter().map(|part| part.lock().len()).sum()
    }

    fn part(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, u32>> {
        // Far below 2^32, and the remainder below 16.
        let place = self.hasher.hash_one(client) % PARTS as u64;
        &self.parts[place as usize]
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut part = self.shares.part(self.client).lock();
        if let Some(mine) = part.get_mut(&self.client) {
            *mine -= 1;
            if *mine == 0 {
                part.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Shares;

    #[test]
    fn each_client_has_its_own_share() {
        let shares = Arc::new(Shares::default());
        let take = |client: &str| shares.take(client.parse().unwrap(), 2);
        let held = [take("192.0.2.1"), take("192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
        assert_eq!(shares.clients(), 1);
        drop(held);
        assert_eq!(shares.clients(), 0);
        let of_one_network = [take("2001:db8::1"), take("2001:db8::2")];
        assert!(of_one_network.iter().all(Option::is_some));
        assert!(take("2001:db8::3").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
    }
}
