//! How much of something each client has at once: connections, or requests.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use thornwall_detectors::address::subscriber;
use tokio::{sync::Notify, time::timeout};

/// Parts that are locked by themselves, so that requests of different clients seldom meet.
const PARTS: usize = 16;

/// What clients have of one thing. A client is one IPv4 address, or one /64 of IPv6, which is what a
/// subscriber gets (RFC 6177). Who has nothing takes up no room.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    taken: HashMap<IpAddr, u32>,
    queues: HashMap<IpAddr, Queue>,
}

/// Who waits for a piece of what one client has.
#[derive(Debug, Default)]
struct Queue {
    waiting: u32,
    given_back: Arc<Notify>,
}

/// A place in the queue of a client, given up when dropped.
struct Waiting<'a> {
    shares: &'a Shares,
    client: IpAddr,
}

/// One piece of what a client has, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Share {
    /// Whether it is a piece of this.
    pub(crate) fn is_of(&self, shares: &Arc<Shares>) -> bool {
        Arc::ptr_eq(&self.shares, shares)
    }
}

impl Shares {
    /// A further piece for `client`, unless it has so many already.
    pub(crate) fn take(self: &Arc<Self>, client: IpAddr, most: u32) -> Option<Share> {
        let client = subscriber(client);
        let mut part = self.part(client).lock();
        let mine = part.taken.entry(client).or_insert(0);
        if *mine >= most {
            return None;
        }
        *mine += 1;
        Some(Share {
            shares: Arc::clone(self),
            client,
        })
    }

    /// A further piece for `client`, for which it waits `within` where it has `most` already, unless as
    /// many as `most_waiting` do so.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        client: IpAddr,
        most: u32,
        most_waiting: u32,
        within: Duration,
    ) -> Option<Share> {
        if let Some(share) = self.take(client, most) {
            return Some(share);
        }
        let (_waiting, given_back) = self.queue(client, most_waiting)?;
        let waited = timeout(within, async {
            loop {
                let notified = given_back.notified();
                if let Some(share) = self.take(client, most) {
                    return share;
                }
                notified.await;
            }
        });
        waited.await.ok()
    }

    fn queue(&self, client: IpAddr, most: u32) -> Option<(Waiting<'_>, Arc<Notify>)> {
        let client = subscriber(client);
        let mut part = self.part(client).lock();
        let queue = part.queues.entry(client).or_default();
        if queue.waiting >= most {
            return None;
        }
        queue.waiting += 1;
        let given_back = Arc::clone(&queue.given_back);
        let shares = self;
        Some((Waiting { shares, client }, given_back))
    }

    /// How many clients have any.
    pub(crate) fn clients(&self) -> usize {
        self.parts.iter().map(|part| part.lock().taken.len()).sum()
    }

    /// How many pieces are waited for.
    pub(crate) fn waiting(&self) -> usize {
        let queued = self.parts.iter().map(|part| {
            let part = part.lock();
            part.queues
                .values()
                .map(|queue| queue.waiting as usize)
                .sum::<usize>()
        });
        queued.sum()
    }

    fn part(&self, client: IpAddr) -> &Mutex<Part> {
        // Far below 2^32, and the remainder below 16.
        let place = self.hasher.hash_one(client) % PARTS as u64;
        &self.parts[place as usize]
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut part = self.shares.part(self.client).lock();
        if let Some(mine) = part.taken.get_mut(&self.client) {
            *mine -= 1;
            if *mine == 0 {
                part.taken.remove(&self.client);
            }
        }
        if let Some(queue) = part.queues.get(&self.client) {
            queue.given_back.notify_one();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut part = self.shares.part(self.client).lock();
        if let Some(queue) = part.queues.get_mut(&self.client) {
            queue.waiting -= 1;
            if queue.waiting == 0 {
                part.queues.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::Shares;

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_is_given_back() {
        let shares = Arc::new(Shares::default());
        let wait = |within| {
            let shares = Arc::clone(&shares);
            let client = "192.0.2.1".parse().unwrap();
            async move { shares.wait(client, 1, 2, Duration::from_secs(within)).await }
        };
        let first = wait(1).await.unwrap();
        assert!(wait(1).await.is_none());
        let waiting = [tokio::spawn(wait(9)), tokio::spawn(wait(9))];
        tokio::task::yield_now().await;
        assert_eq!(shares.waiting(), 2);
        assert!(wait(9).await.is_none());
        drop(first);
        for waited in waiting {
            drop(waited.await.unwrap().expect("its turn comes"));
        }
        assert_eq!((shares.waiting(), shares.clients()), (0, 0));
    }

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
