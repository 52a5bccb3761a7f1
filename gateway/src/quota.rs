//! How much each client may have at once: connections, requests, wide windows.

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
const SHARDS: usize = 16;

/// Permits that clients hold for one thing. A client is one IPv4 address, or one /64 of IPv6, which
/// is what a subscriber gets (RFC 6177). A client without any takes up no room.
#[derive(Debug, Default)]
pub(crate) struct ClientQuota {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    taken: HashMap<IpAddr, u32>,
    queues: HashMap<IpAddr, Queue>,
}

/// Requests that wait for a permit of one client.
#[derive(Debug, Default)]
struct Queue {
    waiting: u32,
    given_back: Arc<Notify>,
}

/// A request in the queue of a client, taken out when dropped.
struct Waiting<'a> {
    quota: &'a ClientQuota,
    client: IpAddr,
}

/// One permit of a client, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    quota: Arc<ClientQuota>,
    client: IpAddr,
}

impl Permit {
    /// Whether it is a permit of this quota.
    pub(crate) fn is_of(&self, quota: &Arc<ClientQuota>) -> bool {
        Arc::ptr_eq(&self.quota, quota)
    }
}

impl ClientQuota {
    /// A further permit for `client`, unless it has so many already.
    pub(crate) fn take(self: &Arc<Self>, client: IpAddr, most: u32) -> Option<Permit> {
        let client = subscriber(client);
        let mut shard = self.shard(client).lock();
        let mine = shard.taken.entry(client).or_insert(0);
        if *mine >= most {
            return None;
        }
        *mine += 1;
        Some(Permit {
            quota: Arc::clone(self),
            client,
        })
    }

    /// A further permit for `client`, for which it waits `within` where it has `most` already,
    /// unless as many as `most_waiting` do so.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        client: IpAddr,
        most: u32,
        most_waiting: u32,
        within: Duration,
    ) -> Option<Permit> {
        if let Some(permit) = self.take(client, most) {
            return Some(permit);
        }
        let (_waiting, given_back) = self.queue(client, most_waiting)?;
        let waited = timeout(within, async {
            loop {
                let notified = given_back.notified();
                if let Some(permit) = self.take(client, most) {
                    return permit;
                }
                notified.await;
            }
        });
        waited.await.ok()
    }

    fn queue(&self, client: IpAddr, most: u32) -> Option<(Waiting<'_>, Arc<Notify>)> {
        let client = subscriber(client);
        let mut shard = self.shard(client).lock();
        let queue = shard.queues.entry(client).or_default();
        if queue.waiting >= most {
            return None;
        }
        queue.waiting += 1;
        let given_back = Arc::clone(&queue.given_back);
        let quota = self;
        Some((Waiting { quota, client }, given_back))
    }

    /// How many clients hold permits.
    pub(crate) fn clients(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().taken.len())
            .sum()
    }

    /// How many requests wait for a permit.
    pub(crate) fn waiting(&self) -> usize {
        let queued = self.shards.iter().map(|shard| {
            let shard = shard.lock();
            shard
                .queues
                .values()
                .map(|queue| queue.waiting as usize)
                .sum::<usize>()
        });
        queued.sum()
    }

    fn shard(&self, client: IpAddr) -> &Mutex<Shard> {
        // Far below 2^32, and the remainder below 16.
        let index = self.hasher.hash_one(client) % SHARDS as u64;
        &self.shards[index as usize]
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut shard = self.quota.shard(self.client).lock();
        if let Some(mine) = shard.taken.get_mut(&self.client) {
            *mine -= 1;
            if *mine == 0 {
                shard.taken.remove(&self.client);
            }
        }
        if let Some(queue) = shard.queues.get(&self.client) {
            queue.given_back.notify_one();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut shard = self.quota.shard(self.client).lock();
        if let Some(queue) = shard.queues.get_mut(&self.client) {
            queue.waiting -= 1;
            if queue.waiting == 0 {
                shard.queues.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::ClientQuota;

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_is_given_back() {
        let quota = Arc::new(ClientQuota::default());
        let wait = |within| {
            let quota = Arc::clone(&quota);
            let client = "192.0.2.1".parse().unwrap();
            async move { quota.wait(client, 1, 2, Duration::from_secs(within)).await }
        };
        let first = wait(1).await.unwrap();
        assert!(wait(1).await.is_none());
        let waiting = [tokio::spawn(wait(9)), tokio::spawn(wait(9))];
        tokio::task::yield_now().await;
        assert_eq!(quota.waiting(), 2);
        assert!(wait(9).await.is_none());
        drop(first);
        for waited in waiting {
            drop(waited.await.unwrap().expect("its turn comes"));
        }
        assert_eq!((quota.waiting(), quota.clients()), (0, 0));
    }

    #[test]
    fn each_client_has_its_own_quota() {
        let quota = Arc::new(ClientQuota::default());
        let take = |client: &str| quota.take(client.parse().unwrap(), 2);
        let held = [take("192.0.2.1"), take("192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
        assert_eq!(quota.clients(), 1);
        drop(held);
        assert_eq!(quota.clients(), 0);
        let of_one_network = [take("2001:db8::1"), take("2001:db8::2")];
        assert!(of_one_network.iter().all(Option::is_some));
        assert!(take("2001:db8::3").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
    }
}
