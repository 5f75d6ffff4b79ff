//! One lock per account within a process.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_lock::{Mutex as AsyncMutex, MutexGuardArc};

/// One asynchronous lock per key, created on demand and dropped with its last user.
///
/// It decides nothing: correctness depends on the store's compare-and-swap. It only prevents that an attack on one
/// account causes a storm of conflicts.
pub(crate) struct KeyedLock<K> {
    locks: Mutex<HashMap<K, Arc<AsyncMutex<()>>>>,
}

/// Holds the lock of one key until it is dropped.
pub(crate) struct KeyGuard<'a, K: Eq + Hash> {
    lock: &'a KeyedLock<K>,
    key: &'a K,
    guard: Option<MutexGuardArc<()>>,
}

impl<K: Eq + Hash + Clone> KeyedLock<K> {
    pub(crate) fn new() -> Self {
        Self { locks: Mutex::new(HashMap::new()) }
    }

    /// Waits for the lock of the key.
    pub(crate) async fn lock<'a>(&'a self, key: &'a K) -> KeyGuard<'a, K> {
        // Created before the wait and so dropped after it: the entry is removed even if the wait is cancelled.
        let mut turn = KeyGuard { lock: self, key, guard: None };
        let lock = Arc::clone(self.locks().entry(key.clone()).or_default());
        turn.guard = Some(lock.lock_arc().await);
        turn
    }
}

impl<K: Eq + Hash> KeyedLock<K> {
    fn locks(&self) -> MutexGuard<'_, HashMap<K, Arc<AsyncMutex<()>>>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for KeyGuard<'_, K> {
    fn drop(&mut self) {
        let mut locks = self.lock.locks();
        self.guard = None;
        // Every waiter holds a reference, taken under the same mutex.
        if locks.get(self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(self.key);
        }
    }
}

impl<K> fmt::Debug for KeyedLock<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedLock(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time_for_a_key_and_nothing_left_behind() {
        let lock = KeyedLock::new();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (lock, inside) = (&lock, &inside);
                scope.spawn(move || {
                    for _ in 0..500 {
                        let key = thread % 2;
                        let turn = async_lock_block_on(lock.lock(&key));
                        if key == 0 {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                        drop(turn);
                    }
                });
            }
        });
        assert!(lock.locks().is_empty());
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_nothing_behind() {
        let lock = KeyedLock::new();
        let turn = async_lock_block_on(lock.lock(&1));
        let mut wait = Box::pin(lock.lock(&1));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        drop(turn);
        drop(wait);
        assert!(lock.locks().is_empty());
    }

    /// Drives a future on this thread.
    fn async_lock_block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut cx = std::task::Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut cx) {
                std::task::Poll::Ready(output) => return output,
                std::task::Poll::Pending => std::thread::park(),
            }
        }
    }
}
