//! Skips a throttle that does not work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the throttle is skipped after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// A circuit breaker: decides whether a request uses the throttle.
///
/// Closed: every request does. Open: no request does until the pause ends, then one per pause. Its success closes the
/// breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    begin: Instant,
    /// The end of the pause, in milliseconds since `begin`; 0 while closed.
    paused_until: AtomicU64,
}

impl Default for Breaker {
    #[expect(clippy::disallowed_methods, reason = "measures a pause; decides nothing about codes")]
    fn default() -> Self {
        Self { begin: Instant::now(), paused_until: AtomicU64::new(0) }
    }
}

impl Breaker {
    pub(super) fn admits(&self) -> bool {
        self.admits_at(self.begin.elapsed())
    }

    pub(super) fn open(&self) {
        self.open_at(self.begin.elapsed());
    }

    pub(super) fn close(&self) {
        // Read first, so that requests do not write a shared value while the throttle works.
        if self.paused_until.load(Ordering::Relaxed) != 0 {
            self.paused_until.store(0, Ordering::Relaxed);
        }
    }

    fn admits_at(&self, now: Duration) -> bool {
        let paused_until = self.paused_until.load(Ordering::Relaxed);
        if paused_until == 0 {
            return true;
        }
        let over = millis(now) >= paused_until;
        let (order, next) = (Ordering::Relaxed, millis(now + PAUSE));
        over && self.paused_until.compare_exchange(paused_until, next, order, order).is_ok()
    }

    fn open_at(&self, now: Duration) {
        self.paused_until.store(millis(now + PAUSE), Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn after_a_failure_one_at_a_time_is_let_through_until_it_succeeds() {
        let breaker = Breaker::default();
        assert!(breaker.admits_at(at(0)) && breaker.admits_at(at(0)));
        breaker.open_at(at(10));
        assert!(!breaker.admits_at(at(1009)));
        let admitted = [1010, 1010, 1011, 2009, 2010, 2010].map(|now| breaker.admits_at(at(now)));
        assert_eq!(admitted, [true, false, false, false, true, false]);
        breaker.close();
        assert!(breaker.admits_at(at(2011)) && breaker.admits_at(at(2011)));
    }
}
