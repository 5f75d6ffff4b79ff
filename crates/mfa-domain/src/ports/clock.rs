//! The clock.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::Timestamp;

/// Tells the time. The clock may jump in either direction: no code that was accepted becomes acceptable again.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The clock shows a time before 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the clock of this machine shows a time before 1970")]
pub struct ClockBeforeEpoch;

impl SystemClock {
    /// Checks that the time can be a [`Timestamp`], and returns it as the time since 1970. [`Clock::now`] returns
    /// 1970 for any earlier time.
    ///
    /// # Errors
    /// [`ClockBeforeEpoch`] if the clock shows a time before 1970. Stop the program then: no TOTP code is right by
    /// such a clock.
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's clock is read")]
    pub fn check(&self) -> Result<Duration, ClockBeforeEpoch> {
        SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| ClockBeforeEpoch)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = self.check().unwrap_or_default();
        Timestamp::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
