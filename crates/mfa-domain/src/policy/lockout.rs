//! When failures lock an account or disable its factors.

use std::fmt::Debug;
use std::time::Duration;

use super::InvalidPolicy;
use crate::Timestamp;
use crate::account::Attempts;

/// Judges the recorded attempts of an account.
pub trait LockoutPolicy: Debug + Send + Sync + 'static {
    /// Validates the numbers of the policy. [`Mfa::new`](crate::Mfa::new) calls it.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names each number that is out of range.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// The standing of an account. MUST depend on `attempts` only, and treat all factors alike: one budget for
    /// everything that can be guessed.
    fn judge(&self, attempts: &Attempts) -> Standing;

    /// How many more wrong codes in a row are evaluated if all are sent at `now`, at most 100. For the host only,
    /// never for the caller who guesses.
    fn attempts_left(&self, attempts: &Attempts, now: Timestamp) -> u32 {
        let mut attempts = attempts.clone();
        let is_open = |attempts: &Attempts| self.judge(attempts).at(now) == Standing::Open;
        let evaluated = (0..100).take_while(|_| {
            let open = is_open(&attempts);
            attempts.fail(now);
            open
        });
        evaluated.map(|_| 1).sum()
    }
}

/// The standing of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Codes are evaluated.
    Open,
    /// No code is evaluated before this time; right and wrong codes get the same answer.
    LockedUntil(Timestamp),
    /// No code is evaluated until the factors are bound again.
    Disabled,
}

impl Standing {
    /// The standing at `now`: an expired lock is open.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        match self {
            Self::LockedUntil(until) if until <= now => Self::Open,
            other => other,
        }
    }
}

/// Three budgets. Every failure is charged to all of them.
///
/// - `failures` in a row lock for `first_lock`; each further failure in that row doubles the lock, up to
///   `longest_lock`. A success ends the row.
/// - `rolling_failures` within `rolling_window` lock until the oldest of them leaves the window. A success does not
///   clear these: "5, then 15 minutes" alone allows 175,000 guesses a year; with three valid codes in a million, that
///   lets an attacker in with a probability of 41 % a year.
/// - `disable_after` failures in a row disable the factors until they are bound again (NIST SP 800-63B-4, 3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardLockout {
    /// The failures in a row that lock. Default 5; 1 to 100.
    pub failures: u32,
    /// The duration of the first lock. Default 15 minutes; at least 1 second.
    pub first_lock: Duration,
    /// The longest duration of a lock. Default 24 hours; at least `first_lock`.
    pub longest_lock: Duration,
    /// The failures within the window that lock. Default 20; 1 to [`Attempts::REMEMBERED`].
    pub rolling_failures: usize,
    /// The length of the window. Default 30 days; at least 1 second.
    pub rolling_window: Duration,
    /// The failures in a row that disable. Default 100; at least `failures`.
    pub disable_after: u32,
}

impl Default for StandardLockout {
    fn default() -> Self {
        Self {
            failures: 5,
            first_lock: Duration::from_mins(15),
            longest_lock: Duration::from_hours(24),
            rolling_failures: 20,
            rolling_window: Duration::from_hours(30 * 24),
            disable_after: 100,
        }
    }
}

impl StandardLockout {
    fn lock_of_row(&self, attempts: &Attempts) -> Option<Timestamp> {
        let beyond = attempts.strikes().checked_sub(self.failures)?;
        let doubled = self.first_lock.saturating_mul(2_u32.saturating_pow(beyond));
        Some(attempts.recent.last()?.plus(doubled.min(self.longest_lock)))
    }

    fn lock_of_window(&self, attempts: &Attempts) -> Option<Timestamp> {
        let oldest = attempts.recent.len().checked_sub(self.rolling_failures)?;
        Some(attempts.recent.get(oldest)?.plus(self.rolling_window))
    }
}

impl LockoutPolicy for StandardLockout {
    /// Rejects a budget that can never be spent: it would not limit guesses.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        let second = Duration::from_secs(1);
        InvalidPolicy::unless(&[
            ("failures", (1..=100).contains(&self.failures), "1 to 100"),
            ("first_lock", self.first_lock >= second, "at least 1s"),
            ("longest_lock", self.longest_lock >= self.first_lock, "at least first_lock"),
            ("rolling_failures", (1..=Attempts::REMEMBERED).contains(&self.rolling_failures), "1 to 64"),
            ("rolling_window", self.rolling_window >= second, "at least 1s"),
            ("disable_after", self.disable_after >= self.failures, "at least failures"),
        ])
    }

    fn judge(&self, attempts: &Attempts) -> Standing {
        if attempts.failures >= self.disable_after {
            return Standing::Disabled;
        }
        let until = self.lock_of_row(attempts).max(self.lock_of_window(attempts));
        until.map_or(Standing::Open, Standing::LockedUntil)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Assurance;
    use proptest::prelude::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(1_000_000_000 + seconds)
    }

    fn failed(times: impl IntoIterator<Item = u64>) -> Attempts {
        let mut attempts = Attempts::default();
        times.into_iter().for_each(|time| attempts.fail(at(time)));
        attempts
    }

    #[test]
    fn each_failure_beyond_the_fifth_doubles_the_lock_up_to_a_day() {
        let policy = StandardLockout::default();
        assert_eq!(policy.judge(&failed([0; 4])), Standing::Open);
        let hours = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 24.0];
        for (beyond, hours) in hours.into_iter().enumerate() {
            let attempts = failed(vec![0; 5 + beyond]);
            let lock = Duration::from_secs_f64(hours * 3600.0);
            assert_eq!(policy.judge(&attempts), Standing::LockedUntil(at(0).plus(lock)), "{beyond}");
        }
    }

    #[test]
    fn a_success_ends_the_row_but_not_the_rolling_budget() {
        let policy = StandardLockout::default();
        let mut attempts = Attempts::default();
        for day in 0..5 {
            (0..4).for_each(|_| attempts.fail(at(day * DAY)));
            if day < 4 {
                assert_eq!(policy.judge(&attempts).at(at(day * DAY)), Standing::Open, "day {day}");
            }
            attempts.succeed(Assurance::Low, at(day * DAY + 1));
        }
        assert_eq!(attempts.failures, 0);
        assert_eq!(policy.judge(&attempts), Standing::LockedUntil(at(30 * DAY)));
    }

    #[test]
    fn a_hundred_in_a_row_disable_even_if_each_lock_was_lifted() {
        let policy = StandardLockout::default();
        let mut attempts = Attempts::default();
        for failure in 0..100 {
            assert_ne!(policy.judge(&attempts), Standing::Disabled, "{failure}");
            attempts.fail(at(failure));
            attempts.forgive();
        }
        assert_eq!(policy.judge(&attempts), Standing::Disabled);
    }

    #[test]
    fn the_attempts_that_are_left_are_those_of_the_budget_that_ends_first() {
        let policy = StandardLockout::default();
        for (failures, left) in [(0, 5), (1, 4), (4, 1), (5, 0)] {
            assert_eq!(policy.attempts_left(&failed(vec![0; failures]), at(0)), left, "{failures}");
        }
        // After the lock, one more failure locks again.
        assert_eq!(policy.attempts_left(&failed([0; 5]), at(HOUR)), 1);
        let mut rolling = failed([0; 18]);
        rolling.clear_row();
        assert_eq!(policy.attempts_left(&rolling, at(HOUR)), 2);
        assert_eq!(policy.attempts_left(&rolling, at(31 * DAY)), 5);
        assert_eq!(policy.attempts_left(&failed([0; 100]), at(99 * DAY)), 0, "disabled");
        let lax = StandardLockout { failures: 1000, rolling_failures: 64, ..policy };
        assert_eq!(lax.attempts_left(&Attempts::default(), at(0)), 64);
    }

    #[test]
    fn an_unlock_opens_and_the_next_five_failures_lock_again() {
        let policy = StandardLockout::default();
        let mut attempts = failed([0; 7]);
        attempts.forgive();
        assert_eq!(policy.judge(&attempts), Standing::Open);
        (0..5).for_each(|_| attempts.fail(at(HOUR)));
        assert_eq!(policy.judge(&attempts), Standing::LockedUntil(at(HOUR + 15 * MINUTE)));
    }

    #[test]
    fn a_clock_set_back_opens_no_lock() {
        let policy = StandardLockout::default();
        let mut attempts = failed([HOUR; 4]);
        attempts.fail(at(0));
        assert_eq!(policy.judge(&attempts), Standing::LockedUntil(at(HOUR + 15 * MINUTE)));
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let good = StandardLockout::default();
        assert_eq!(good.validate(), Ok(()));
        for bad in [
            StandardLockout { failures: 0, ..good.clone() },
            StandardLockout { failures: 101, disable_after: 1_000_000, ..good.clone() },
            StandardLockout { first_lock: Duration::ZERO, ..good.clone() },
            StandardLockout { longest_lock: Duration::from_secs(1), ..good.clone() },
            StandardLockout { rolling_failures: 65, ..good.clone() },
            StandardLockout { rolling_failures: 0, ..good.clone() },
            StandardLockout { rolling_window: Duration::ZERO, ..good.clone() },
            StandardLockout { disable_after: 4, ..good.clone() },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// With any timing of guesses, at most 20 are evaluated within 30 days.
        #[test]
        fn no_timing_beats_the_rolling_budget(gaps in prop::collection::vec(1..5 * DAY, 1..400)) {
            let policy = StandardLockout { disable_after: u32::MAX, ..StandardLockout::default() };
            let mut attempts = Attempts::default();
            let mut evaluated = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                if policy.judge(&attempts).at(at(now)) == Standing::Open {
                    attempts.fail(at(now));
                    evaluated.push(now);
                }
                let in_window = evaluated.iter().filter(|time| **time + 30 * DAY > now).count();
                prop_assert!(in_window <= 20);
            }
        }
    }
}
