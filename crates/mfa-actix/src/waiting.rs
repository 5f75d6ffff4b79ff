//! Calls that wait for a change.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};

/// The largest number of calls that wait at the same time.
const MOST: usize = 1000;

/// The places for waiting calls. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    room: Arc<Semaphore>,
    over: Arc<watch::Sender<bool>>,
}

/// A call that waits.
pub(crate) struct Waiter {
    _place: OwnedSemaphorePermit,
    over: watch::Receiver<bool>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(MOST)), over: Arc::new(watch::Sender::new(false)) }
    }
}

impl Waiting {
    /// Takes a place; `None` if all are taken or waiting has ended.
    pub(crate) fn enter(&self) -> Option<Waiter> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Waiter { _place: place, over: self.over.subscribe() })
    }

    /// Wakes all waiting calls. Later calls do not wait.
    pub(crate) fn end(&self) {
        self.room.close();
        self.over.send_replace(true);
    }
}

impl Waiter {
    /// Waits until this time and returns `true`; returns `false` as soon as waiting has ended.
    pub(crate) async fn until(&mut self, time: Instant) -> bool {
        timeout_at(time, self.over.wait_for(|over| *over)).await.is_err()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_at_the_end_and_nobody_waits_from_then_on() {
        let waiting = Waiting::default();
        let mut waiter = waiting.enter().unwrap();
        assert!(waiter.until(Instant::now() + Duration::from_secs(1)).await);
        let end = tokio::spawn({
            let waiting = waiting.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                waiting.end();
            }
        });
        let begin = Instant::now();
        assert!(!waiter.until(begin + Duration::from_secs(25)).await);
        assert_eq!(begin.elapsed().as_secs(), 1);
        end.await.unwrap();
        assert!(waiting.enter().is_none());
    }

    #[tokio::test]
    async fn no_more_than_a_thousand_wait() {
        let waiting = Waiting::default();
        let mut waiters: Vec<_> = (0..MOST).map_while(|_| waiting.enter()).collect();
        assert_eq!(waiters.len(), MOST);
        assert!(waiting.enter().is_none());
        waiters.pop();
        assert!(waiting.enter().is_some());
    }
}
