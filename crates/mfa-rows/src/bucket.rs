//! Columns of throttle buckets.

use mfa_domain::Timestamp;
use mfa_domain::quota::Bucket;

use crate::{ColumnError, Row, integer, millis};

/// A bucket of a throttle.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is the column of that name")]
pub struct BucketColumns {
    pub arrival: i64,
    pub latest: i64,
    pub kept_until: i64,
}

impl BucketColumns {
    /// The columns of a bucket. It is kept until one hour after it has recovered, rounded up to a full hour.
    /// So that time seldom changes, and a charge seldom updates its index.
    ///
    /// # Errors
    /// [`ColumnError::TooLarge`].
    pub fn of(bucket: Bucket) -> Result<Self, ColumnError> {
        const HOUR: u64 = 60 * 60 * 1000;
        let hours = bucket.recovered_at().unix_millis().div_ceil(HOUR) + 1;
        Ok(Self {
            arrival: integer("arrival", bucket.arrival_micros())?,
            latest: integer("latest", bucket.latest_micros())?,
            kept_until: millis(Timestamp::from_unix_millis(hours * HOUR)),
        })
    }

    /// Reads the bucket with this `arrival` and `latest`.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn read(arrival: i64, latest: i64) -> Result<Bucket, ColumnError> {
        let row = Row::of("throttles");
        Ok(Bucket::from_micros(row.number("arrival", arrival)?, row.number("latest", latest)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_kept_for_an_hour_after_it_recovered_and_not_for_more_than_two() {
        let hour = 3_600_000_000;
        for arrival in [1, hour - 1, hour, hour + 1, 1_700_000_000_000_000] {
            let columns = BucketColumns::of(Bucket::from_micros(arrival, 0)).unwrap();
            let kept = u64::try_from(columns.kept_until).unwrap() * 1000;
            assert!((arrival + hour..=arrival + 2 * hour).contains(&kept), "{arrival} is kept until {kept}");
        }
    }
}
