//! A naive throttle.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::{Bucket, Charge, Quota};

/// A throttle that reads a bucket, decides, and writes it back, with no guard across the three steps. It is
/// correct for one caller at a time; the race suite must fail it.
#[derive(Clone, Default)]
pub struct NaiveThrottle(Arc<Mutex<BTreeMap<ThrottleKey, Bucket>>>);

#[async_trait]
impl Throttle for NaiveThrottle {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        let bucket = self.0.lock().unwrap().get(key).copied().unwrap_or_default();
        let (charge, bucket) = quota.charge(bucket, now);
        // The minimum duration of a round trip to a database.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.0.lock().unwrap().insert(key.clone(), bucket);
        Ok(charge)
    }
}

impl fmt::Debug for NaiveThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NaiveThrottle(..)")
    }
}
