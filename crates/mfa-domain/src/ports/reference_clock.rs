//! A clock elsewhere that ours is compared with.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;

use super::{Clock, port_error};
use crate::Timestamp;

/// A clock elsewhere: the database's, a time server's.
///
/// It decides nothing: TOTP steps and locks follow [`Clock`]. It is there so that a wrong clock is noticed.
#[async_trait]
pub trait ReferenceClock: Debug + Send + Sync + 'static {
    /// How far `clock` is from this one, as [`Deviation::between`] has it.
    ///
    /// MUST read `clock` before and after the time is asked for. SHOULD do nothing else between, such as resolving a name,
    /// since what takes long hides a deviation.
    async fn compare(&self, clock: &dyn Clock) -> Result<Deviation, ReferenceClockError>;
}

/// How far a clock is ahead of another one, in milliseconds; negative if it is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deviation(i64);

impl Deviation {
    /// What is certain when a clock said `before`, another one was then found to say `there`, and the first then said
    /// `after`: a way there and back that takes long is no deviation.
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
        // A timestamp is far below the largest number.
        let millis = |ahead: Duration| i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
        // A clock that is set back between the two readings makes nothing certain but the larger one.
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

    /// How far it is, either way.
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
    /// The time could not be asked for.
    ReferenceClockError, "another clock could not be read"
}
