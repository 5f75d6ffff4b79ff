//! The time.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::Timestamp;

/// Tells the time. It may jump, either way: nothing that was accepted becomes acceptable again.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now.
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
    /// Whether it shows a time that there is a [`Timestamp`] for; [`Clock::now`] is 1970 otherwise.
    ///
    /// # Errors
    /// [`ClockBeforeEpoch`] if it does not. Let it stop the program: no code is right by such a clock.
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
