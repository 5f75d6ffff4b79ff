//! Times of the domain.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time: whole milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// `Display` is RFC 3339 in UTC; `FromStr` parses RFC 3339 with any offset, and drops fractions of a millisecond.
///
/// ```
/// use mfa_domain::Timestamp;
/// assert_eq!(Timestamp::from_unix_seconds(59).to_string(), "1970-01-01T00:00:59Z");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last second of the year 9999, the last time that RFC 3339 can express.
    pub const MAX: Self = Self(253_402_300_799_000);

    /// From milliseconds since the epoch; capped at [`Timestamp::MAX`].
    #[must_use]
    pub fn from_unix_millis(millis: u64) -> Self {
        Self(millis).min(Self::MAX)
    }

    /// From seconds since the epoch; capped at [`Timestamp::MAX`].
    #[must_use]
    pub fn from_unix_seconds(seconds: u64) -> Self {
        Self::from_unix_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: the Unix time of RFC 6238.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The time `later` after this one; capped at [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        let millis = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        Self::from_unix_millis(self.0.saturating_add(millis))
    }

    /// The time `sooner` before this one; capped at the epoch.
    #[must_use]
    pub fn minus(self, sooner: Duration) -> Self {
        let millis = u64::try_from(sooner.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// The time since `earlier`; zero if this time is before it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .map_err(|_| fmt::Error)?
            .format(&Rfc3339)
            .map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTime)?;
        let millis = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|_| InvalidTime)?;
        if time.unix_timestamp_nanos() < 0 { Err(InvalidTime) } else { Ok(Self::from_unix_millis(millis)) }
    }
}

/// The text is not a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a time since 1970 with an offset, such as 2026-01-31T00:00:00Z")]
pub struct InvalidTime;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_back_and_nothing_else_is_read() {
        for millis in [0, 1, 59_000, 1_800_000_000_123, Timestamp::MAX.unix_millis()] {
            let time = Timestamp::from_unix_millis(millis);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!("1970-01-01T01:00:00.9999+01:00".parse(), Ok(Timestamp::from_unix_millis(999)));
        for text in ["", "1", "2026-01-31", "2026-01-31T00:00:00", "1969-12-31T23:59:59.9999Z"] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTime), "{text}");
        }
    }

    #[test]
    fn extremes_are_capped_and_still_print() {
        assert_eq!(Timestamp::from_unix_seconds(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp::default().since(Timestamp::MAX), Duration::ZERO);
    }
}
