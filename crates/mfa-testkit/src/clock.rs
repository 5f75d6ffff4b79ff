//! Clocks that tests control.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mfa_domain::Timestamp;
use mfa_domain::ports::{Clock, SystemClock};

/// A clock that changes only when a test sets or advances it.
///
/// ```
/// use std::time::Duration;
/// use mfa_domain::ports::Clock;
/// use mfa_testkit::ManualClock;
///
/// let clock = ManualClock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(30));
/// assert_eq!(clock.now().since(before), Duration::from_secs(30));
/// ```
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Creates a clock that stands at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.unix_millis()))
    }

    /// Sets the clock, forwards or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.unix_millis(), Ordering::SeqCst);
    }

    /// Advances the clock.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Default for ManualClock {
    /// 2027-01-15T08:00:00Z, where a TOTP step of 30 seconds begins.
    fn default() -> Self {
        Self::new(Timestamp::from_unix_seconds(1_800_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The clock of this machine, shifted ahead by this many milliseconds; back if negative.
#[derive(Clone, Copy, Debug)]
pub struct ShiftedClock(pub i64);

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let shifted = SystemClock.now().unix_millis().saturating_add_signed(self.0);
        Timestamp::from_unix_millis(shifted)
    }
}
