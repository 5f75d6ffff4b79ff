//! A clock to compare the local one with.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;

use super::{Clock, port_error};
use crate::Timestamp;

/// A clock of another machine, such as a database or time server.
///
/// It decides nothing: TOTP steps and locks follow [`Clock`]. It serves to detect a wrong clock.
#[async_trait]
pub trait ReferenceClock: Debug + Send + Sync + 'static {
    /// Compares `clock` with this one, by [`Deviation::between`].
    ///
    /// MUST read `clock` before and after it requests the time. SHOULD do nothing else in between, such as resolving
    /// a name, since a long round trip hides a deviation.
    async fn compare(&self, clock: &dyn Clock) -> Result<Deviation, ReferenceClockError>;
}

/// How far a clock is ahead of another one, in milliseconds; negative if it is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deviation(i64);

impl Deviation {
    /// The deviation that is certain: a clock showed `before`, the other one then showed `there`, and the first one
    /// then showed `after`. The round trip between the two readings does not count as a deviation.
    ///
    /// ```
    /// use mfa_domain::Timestamp;
    /// use mfa_domain::ports::Deviation;
    ///
    /// let at = Timestamp::from_unix_millis;
    /// assert_eq!(Deviation::between(at(5_000), at(2_000), at(5_300)).as_millis(), 3_000);
    /// assert_eq!(Deviation::between(at(5_000), at(5_200), at(5_300)).as_millis(), 0);
    /// assert_eq!(Deviation::between(at(5_000), at(9_000), at(5_300)).as_millis(), -3_700);
    /// ```
    #[must_use]
    pub fn between(before: Timestamp, there: Timestamp, after: Timestamp) -> Self {
        // Timestamps are far below `i64::MAX` milliseconds.
        let millis = |ahead: Duration| i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
        // If the clock was set back between its two readings, only the larger one bounds the deviation.
        let after = after.max(before);
        Self(millis(before.since(there)) - millis(there.since(after)))
    }

    /// In milliseconds; negative if the clock is behind.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// In seconds; negative if the clock is behind.
    #[must_use]
    pub fn as_secs(self) -> f64 {
        let size = self.size().as_secs_f64();
        if self.0 < 0 { -size } else { size }
    }

    /// The absolute value.
    #[must_use]
    pub const fn size(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.0 < 0 { "behind" } else { "ahead" };
        write!(f, "{:.3} s {way}", self.size().as_secs_f64())
    }
}

port_error! {
    /// The time could not be read.
    ReferenceClockError, "the reference clock could not be read"
}
