//! Where requests wait while every server has as many as it may.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// How often who waits looks by itself: a server that comes back frees nothing, and notifies no one.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The waiting requests of one upstream, first come, first served.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: AtomicU32,
    refused: AtomicU64,
    freed: Notify,
}

/// How many wait, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Requests in waiting.
    pub max_waiting: u32,
    pub timeout: Duration,
}

impl Queue {
    /// Requests in waiting.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// Requests that found no room, or waited in vain.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// A server has room for one more.
    pub(super) fn freed(&self) {
        if self.waiting() > 0 {
            self.freed.notify_one();
        }
    }

    /// Waits until `enter` finds a server, whenever one might be free; `None` where there is no
    /// room to wait, or not in time.
    pub(super) async fn wait<T>(
        &self,
        limits: &Limits,
        enter: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let entered = match Waiter::take(self, limits.max_waiting) {
            Some(waiter) => timeout(limits.timeout, waiter.wait(enter)).await.ok(),
            None => None,
        };
        if entered.is_none() {
            self.refused.fetch_add(1, Relaxed);
        }
        entered
    }
}

/// A request that waits in the queue.
struct Waiter<'a> {
    queue: &'a Queue,
    is_first: bool,
}

impl<'a> Waiter<'a> {
    fn take(queue: &'a Queue, most: u32) -> Option<Self> {
        let before = queue.waiting.fetch_add(1, Relaxed);
        let waiter = Self {
            queue,
            is_first: before == 0,
        };
        // Where there was no room, dropping it gives it back.
        (before < most).then_some(waiter)
    }

    async fn wait<T>(self, mut enter: impl FnMut() -> Option<T>) -> T {
        let mut my_turn = self.is_first;
        loop {
            let freed = self.queue.freed.notified();
            tokio::pin!(freed);
            // Listens before it looks, so that nothing is missed in between.
            freed.as_mut().enable();
            if my_turn && let Some(entered) = enter() {
                return entered;
            }
            // Looking must not cost the turn among those that are notified.
            while timeout(LOOK_EVERY, freed.as_mut()).await.is_err() {
                if let Some(entered) = enter() {
                    return entered;
                }
            }
            my_turn = true;
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Relaxed);
        // There may be more room than for this one, and one that leaves may have been notified of
        // some.
        self.queue.freed();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        sync::{Arc, Mutex},
    };

    use super::*;

    const LIMITS: Limits = Limits {
        max_waiting: 2,
        timeout: Duration::from_secs(1),
    };

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_in_room_and_time() {
        let queue = Queue::default();
        let nothing = || queue.wait(&LIMITS, || None::<()>);
        let (first, second, third) = tokio::join!(nothing(), nothing(), nothing());
        assert_eq!((first, second, third), (None, None, None));
        assert_eq!((queue.waiting(), queue.refused()), (0, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_first_is_served_first() {
        let (queue, free) = (Arc::new(Queue::default()), Arc::new(Mutex::new(0)));
        let served = RefCell::new(Vec::new());
        let wait = async |who: u32| {
            let entered = queue.wait(&LIMITS, || {
                let mut free = free.lock().unwrap();
                (*free > 0).then(|| *free -= 1)
            });
            entered.await.unwrap();
            served.borrow_mut().push(who);
        };
        let release = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            // Room for two, notified once.
            *free.lock().unwrap() = 2;
            queue.freed();
        };
        tokio::join!(wait(1), wait(2), release);
        assert_eq!(*served.borrow(), [1, 2]);
        assert_eq!(queue.refused(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_comes_back_is_found() {
        let (queue, back) = (Queue::default(), RefCell::new(false));
        let enter = || back.borrow().then_some(());
        let comes_back = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            *back.borrow_mut() = true;
        };
        let (waited, ()) = tokio::join!(queue.wait(&LIMITS, enter), comes_back);
        assert_eq!(waited, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_hands_on_what_was_theirs() {
        let (queue, free) = (Queue::default(), Mutex::new(0));
        let enter = || {
            let mut free = free.lock().unwrap();
            (*free > 0).then(|| *free -= 1)
        };
        let impatient = timeout(
            Duration::from_millis(10),
            queue.wait(&LIMITS, || None::<()>),
        );
        let release = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            *free.lock().unwrap() = 1;
            queue.freed();
        };
        let (_, served, ()) = tokio::join!(impatient, queue.wait(&LIMITS, enter), release);
        assert!(served.is_some());
    }
}
