//! Rate limits: the generic cell rate algorithm as one pure function.
//!
//! The formula is the virtual scheduling algorithm of ITU-T I.371, annex A. Each charge uses one *emission interval*
//! `T`; the *theoretical arrival time* says until when the bucket is used; a charge is admitted while that is no
//! further ahead than the whole burst.

use std::time::Duration;

use thiserror::Error;

use crate::Timestamp;

/// At most `burst` charges at once, and `burst` per `per` on average.
///
/// In any period at most `burst` charges are admitted, and one more for each `per / burst` of it, in whole
/// microseconds, rounded up.
///
/// ```
/// use std::time::Duration;
/// use mfa_domain::Timestamp;
/// use mfa_domain::quota::{Bucket, Charge, Quota};
///
/// let quota = Quota::new(2, Duration::from_secs(60))?;
/// let now = Timestamp::from_unix_seconds(1_700_000_000);
/// let (first, bucket) = quota.charge(Bucket::default(), now);
/// let (second, bucket) = quota.charge(bucket, now);
/// let (third, _) = quota.charge(bucket, now);
/// assert_eq!((first, second), (Charge::Admitted, Charge::Admitted));
/// assert_eq!(third, Charge::Refused { retry_after: Duration::from_secs(30) });
/// # Ok::<(), mfa_domain::quota::InvalidQuota>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    burst: u32,
    per: Duration,
}

/// The result of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused charge must stop the charged operation"]
pub enum Charge {
    /// The charge is within the quota and was counted.
    Admitted,
    /// The charge exceeds the quota and cost nothing.
    Refused {
        /// When the next charge is admitted, unless another one comes first.
        retry_after: Duration,
    },
}

/// The state of one key's charges: two times in microseconds since the epoch. The default is a bucket that was never
/// charged.
///
/// Microseconds are fine enough for a million charges a second. As numbers they are exact in signed 64-bit integers
/// until the year 9999, and in the 53 bits of Lua and JSON until 2255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// The theoretical arrival time, until which the bucket is used.
    arrival: u64,
    /// The latest time at which a charge was admitted. Time never goes back for this key.
    latest: u64,
}

impl Quota {
    /// The largest burst.
    pub const MAX_BURST: u32 = 10_000_000;
    /// The longest period.
    pub const MAX_PER: Duration = Duration::from_hours(30 * 24);

    /// `burst` charges, 1 to [`MAX_BURST`](Self::MAX_BURST), per `per`, 1 millisecond to [`MAX_PER`](Self::MAX_PER);
    /// at most one per microsecond.
    ///
    /// # Errors
    /// [`InvalidQuota`] if one of them is out of range. So no quota admits nothing, and none admits everything.
    pub const fn new(burst: u32, per: Duration) -> Result<Self, InvalidQuota> {
        let micros = per.as_micros();
        let in_range = 1 <= burst
            && burst <= Self::MAX_BURST
            && 1000 <= micros
            && micros <= Self::MAX_PER.as_micros()
            && burst as u128 <= micros;
        if in_range { Ok(Self { burst, per }) } else { Err(InvalidQuota) }
    }

    /// How many charges are admitted at once.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// The period in which a whole burst is refilled.
    #[must_use]
    pub const fn per(self) -> Duration {
        self.per
    }

    /// Charges one call to a bucket. Returns the result and the bucket to store; a refused charge leaves the bucket
    /// unchanged.
    ///
    /// However `now` jumps, and in whatever order several quotas charge one bucket, no more charges are admitted than
    /// if `now` had stayed at the latest time seen before. So a clock that is set back grants nothing more, and of
    /// two replicas with different clocks the later one counts.
    pub fn charge(self, bucket: Bucket, now: Timestamp) -> (Charge, Bucket) {
        let given = now.unix_millis().saturating_mul(1000);
        let now = given.max(bucket.latest);
        let interval = self.interval();
        let arrival = bucket.arrival.max(now).saturating_add(interval);
        // When the bucket has room for this charge.
        let admitted_at = arrival.saturating_sub(interval.saturating_mul(u64::from(self.burst)));
        if admitted_at <= now {
            return (Charge::Admitted, Bucket { arrival, latest: now });
        }
        let retry_after = Duration::from_micros(admitted_at.saturating_sub(given));
        (Charge::Refused { retry_after }, bucket)
    }

    /// The emission interval in microseconds, rounded up, so that rounding never grants more.
    fn interval(self) -> u64 {
        micros(self.per).div_ceil(u64::from(self.burst))
    }
}

impl Bucket {
    /// Restores a stored bucket: its [theoretical arrival time](Self::arrival_micros) and
    /// [latest time](Self::latest_micros).
    #[must_use]
    pub const fn from_micros(arrival: u64, latest: u64) -> Self {
        Self { arrival, latest }
    }

    /// The theoretical arrival time, in microseconds since the epoch.
    #[must_use]
    pub const fn arrival_micros(self) -> u64 {
        self.arrival
    }

    /// The latest time at which a charge was admitted, in microseconds since the epoch.
    #[must_use]
    pub const fn latest_micros(self) -> u64 {
        self.latest
    }

    /// When the bucket equals one that was never charged, unless the clock is set back.
    #[must_use]
    pub fn recovered_at(self) -> Timestamp {
        Timestamp::from_unix_millis(self.arrival.div_ceil(1000))
    }
}

/// A number of a quota is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a quota must be 1 to 10000000 charges per 1ms to 30d, at most one per microsecond")]
pub struct InvalidQuota;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const START: u64 = 1_700_000_000_000;

    fn quota(burst: u32, millis: u64) -> Quota {
        Quota::new(burst, Duration::from_millis(millis)).unwrap()
    }

    /// Charges at these milliseconds after the start; returns whether each was admitted.
    fn admitted(quota: Quota, at: &[u64]) -> Vec<bool> {
        let mut bucket = Bucket::default();
        let mut charge = |millis: &u64| {
            let (charge, next) = quota.charge(bucket, Timestamp::from_unix_millis(START + millis));
            bucket = next;
            charge == Charge::Admitted
        };
        at.iter().map(&mut charge).collect()
    }

    #[rstest]
    #[case::a_burst_at_once(3, 3000, &[0, 0, 0, 0], &[true, true, true, false])]
    #[case::then_one_an_interval(3, 3000, &[0, 0, 0, 999, 1000, 1000, 2000], &[true, true, true, false, true, false, true])]
    #[case::all_of_it_after_a_rest(2, 2000, &[0, 0, 2000, 2000, 2000], &[true, true, true, true, false])]
    #[case::rest_is_not_saved_up(2, 2000, &[0, 900_000, 900_000, 900_000], &[true, true, true, false])]
    #[case::one_at_a_time(1, 1000, &[0, 999, 1000, 1999, 2000], &[true, false, true, false, true])]
    #[case::refused_ones_cost_nothing(1, 1000, &[0, 1, 2, 3, 4, 5, 1000], &[true, false, false, false, false, false, true])]
    #[case::back_by_a_minute(1, 1000, &[60_000, 0, 59_999, 60_999, 61_000], &[true, false, false, false, true])]
    #[case::forth_and_back(2, 2000, &[0, 60_000, 0, 0, 60_000], &[true, true, true, false, false])]
    fn the_rate_is_kept(#[case] burst: u32, #[case] per: u64, #[case] at: &[u64], #[case] expected: &[bool]) {
        assert_eq!(admitted(quota(burst, per), at), expected);
    }

    #[test]
    fn a_second_clock_that_is_ahead_does_not_stop_the_first() {
        // Two replicas two minutes apart, and a burst that is refilled within one.
        let at: Vec<_> = (0..1000).flat_map(|n| [120_000 + n * 10, n * 10]).collect();
        assert!(admitted(quota(60_000, 60_000), &at).iter().all(|admitted| *admitted));
    }

    #[rstest]
    #[case::an_interval_is_rounded_up(3, 1000, &[0, 0, 0, 0], 333_334)]
    #[case::less_what_has_passed(2, 2000, &[0, 0, 600], 400_000)]
    #[case::by_the_clock_of_whoever_asks(1, 1000, &[60_000, 0], 61_000_000)]
    fn the_last_is_told_how_long_to_wait(
        #[case] burst: u32,
        #[case] per: u64,
        #[case] at: &[u64],
        #[case] micros: u64,
    ) {
        let (mut bucket, mut last) = (Bucket::default(), Charge::Admitted);
        for millis in at {
            (last, bucket) = quota(burst, per).charge(bucket, Timestamp::from_unix_millis(START + millis));
        }
        assert_eq!(last, Charge::Refused { retry_after: Duration::from_micros(micros) });
    }

    #[rstest]
    #[case(0, 1000)]
    #[case(Quota::MAX_BURST + 1, 60_000_000)]
    #[case(1, 0)]
    #[case(1, 30 * 86_400_000 + 1)]
    #[case(1001, 1)]
    fn senseless_quotas_are_refused(#[case] burst: u32, #[case] millis: u64) {
        assert_eq!(Quota::new(burst, Duration::from_millis(millis)), Err(InvalidQuota));
    }

    #[test]
    fn nothing_overflows_at_the_ends_of_time() {
        let most = Quota::new(Quota::MAX_BURST, Quota::MAX_PER).unwrap();
        for now in [Timestamp::default(), Timestamp::MAX] {
            let (charge, bucket) = most.charge(Bucket::default(), now);
            assert_eq!(charge, Charge::Admitted);
            assert!(i64::try_from(bucket.arrival_micros()).is_ok());
        }
        let broken = Bucket::from_micros(u64::MAX, 0);
        assert_ne!(quota(1, 1).charge(broken, Timestamp::MAX).0, Charge::Admitted);
    }

    fn a_quota() -> impl Strategy<Value = Quota> {
        (1_u32..50, 1_u64..100_000).prop_map(|(burst, millis)| quota(burst, millis))
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_the_burst_and_one_for_each_interval(
            quota in a_quota(),
            gaps in proptest::collection::vec(0_u64..5000, 1..200),
        ) {
            let at: Vec<_> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let verdicts = admitted(quota, &at);
            let times: Vec<_> = at.iter().zip(verdicts).filter(|(_, ok)| *ok).map(|(at, _)| *at).collect();
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let count = u64::try_from(last - first + 1).unwrap();
                    prop_assert!(count <= u64::from(quota.burst) + (to - from) * 1000 / quota.interval());
                }
            }
        }

        #[test]
        fn whoever_waits_as_told_is_admitted_and_nobody_before(
            quota in a_quota(),
            gaps in proptest::collection::vec(0_u64..500, 1..200),
        ) {
            let (mut bucket, mut at) = (Bucket::default(), START);
            for gap in gaps {
                at += gap;
                let (charge, next) = quota.charge(bucket, Timestamp::from_unix_millis(at));
                if let Charge::Refused { retry_after } = charge {
                    prop_assert_eq!(next, bucket, "a refused charge costs nothing");
                    let then = at + u64::try_from(retry_after.as_micros().div_ceil(1000)).unwrap();
                    let charge_at = |millis| quota.charge(bucket, Timestamp::from_unix_millis(millis)).0;
                    prop_assert_eq!(charge_at(then), Charge::Admitted);
                    prop_assert_ne!(charge_at(then - 1), Charge::Admitted);
                }
                bucket = next;
            }
        }

        #[test]
        fn a_clock_that_jumps_grants_no_more_than_one_that_stayed_ahead(
            quota in a_quota(),
            at in proptest::collection::vec(0_u64..200_000, 1..200),
        ) {
            let verdicts = admitted(quota, &at);
            let count = u64::try_from(verdicts.iter().filter(|ok| **ok).count()).unwrap();
            let span = at.iter().max().unwrap() - at.iter().min().unwrap();
            prop_assert!(count <= u64::from(quota.burst) + span * 1000 / quota.interval());
            // In sequence, too: a clock that only moves forward would refuse none of the admitted ones.
            let ahead: Vec<_> = at.iter().scan(0, |max, at| { *max = (*max).max(*at); Some(*max) }).collect();
            let (mut jumping, mut steady) = (0, 0);
            for (jumped, stayed) in verdicts.iter().zip(admitted(quota, &ahead)) {
                jumping += u32::from(*jumped);
                steady += u32::from(stayed);
                prop_assert!(jumping <= steady);
            }
        }
    }
}
