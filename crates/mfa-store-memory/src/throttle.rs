//! Buckets in a map of limited size.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey, ThrottleKind};
use mfa_domain::quota::{Bucket, Charge, Quota};

/// How long a bucket is kept after it has recovered: setting the clock back by less gains nothing.
const KEPT: Duration = Duration::from_hours(1);

/// A throttle in memory: shared by all clones, lost with the process.
///
/// An attacker can make up keys, so the number of buckets of each kind is limited. A bucket is dropped an
/// hour after it has recovered, or, if there are too many of its kind, when it is the next to recover. To
/// have a used-up bucket dropped, an attacker must make up as many keys as the limit, and charge each of them
/// more than that bucket: this costs more than it gains. Keys of one kind never displace those of another, so
/// strangers, who can only make up addresses, affect no bucket of a user or an API key.
#[derive(Clone)]
pub struct MemoryThrottle {
    kinds: Arc<Mutex<BTreeMap<ThrottleKind, Buckets>>>,
    most: NonZeroUsize,
}

/// The buckets of one kind.
#[derive(Default)]
struct Buckets {
    of: HashMap<Arc<ThrottleKey>, Bucket>,
    /// The same keys by the time at which their bucket recovers, the first first.
    in_order: BTreeSet<(u64, Arc<ThrottleKey>)>,
}

impl MemoryThrottle {
    /// The default limit of buckets of each kind; all of them take about 40 MB.
    pub const DEFAULT_MOST: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

    /// A throttle that keeps at most `most` buckets of each kind.
    #[must_use]
    pub fn new(most: NonZeroUsize) -> Self {
        Self { kinds: Arc::default(), most }
    }

    /// The number of stored buckets of a kind.
    #[must_use]
    pub fn remembered(&self, kind: ThrottleKind) -> usize {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.get(&kind).map_or(0, |buckets| buckets.of.len())
    }
}

#[async_trait]
impl Throttle for MemoryThrottle {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        // Locked for the whole operation, which cannot panic half way.
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kinds.entry(key.kind()).or_default().charge(key, quota, now, self.most))
    }
}

impl Buckets {
    fn charge(&mut self, key: &ThrottleKey, quota: Quota, now: Timestamp, most: NonZeroUsize) -> Charge {
        let known = self.of.get_key_value(key).map(|(key, bucket)| (Arc::clone(key), *bucket));
        let (key, before) = known.unwrap_or_else(|| (Arc::new(key.clone()), Bucket::default()));
        let (charge, after) = quota.charge(before, now);
        if charge == Charge::Admitted {
            self.in_order.remove(&(before.arrival_micros(), Arc::clone(&key)));
            self.in_order.insert((after.arrival_micros(), Arc::clone(&key)));
            self.of.insert(key, after);
        }
        self.forget(now, most);
        charge
    }

    /// Deletes buckets that recovered long ago, and the next to recover while there are too many.
    fn forget(&mut self, now: Timestamp, most: NonZeroUsize) {
        while let Some((_, key)) = self.in_order.first() {
            let long_ago = self.of.get(key).is_none_or(|bucket| now.since(bucket.recovered_at()) >= KEPT);
            if !long_ago && self.of.len() <= most.get() {
                return;
            }
            self.of.remove(key);
            self.in_order.pop_first();
        }
    }
}

impl Default for MemoryThrottle {
    fn default() -> Self {
        Self::new(Self::DEFAULT_MOST)
    }
}

impl fmt::Debug for MemoryThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryThrottle").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mfa_domain::{AccountKey, TenantId, UserId};

    use super::*;

    const START: u64 = 1_700_000_000;

    fn user(name: &str) -> ThrottleKey {
        let tenant = TenantId::new("acme").unwrap();
        ThrottleKey::user(&AccountKey::new(tenant, UserId::new(name).unwrap()))
    }

    /// Charges with a quota of one per second and a burst of ten.
    async fn charge(throttle: &MemoryThrottle, key: &ThrottleKey, second: u64) -> bool {
        let quota = Quota::new(10, Duration::from_secs(10)).unwrap();
        let now = Timestamp::from_unix_seconds(START + second);
        throttle.charge(key, quota, now).await.unwrap() == Charge::Admitted
    }

    #[tokio::test]
    async fn keys_that_are_made_up_take_no_more_room_and_free_nobody_who_owes_more() {
        let throttle = MemoryThrottle::new(NonZeroUsize::new(100).unwrap());
        let alice = user("alice");
        for _ in 0..10 {
            assert!(charge(&throttle, &alice, 0).await);
        }
        for number in 0..10_000 {
            charge(&throttle, &user(&format!("made-up-{number}")), 0).await;
        }
        assert_eq!(throttle.remembered(ThrottleKind::User), 100);
        assert!(!charge(&throttle, &alice, 0).await, "pushed out by keys that owe less");
    }

    #[tokio::test]
    async fn a_kind_that_is_full_takes_nothing_from_another() {
        let throttle = MemoryThrottle::new(NonZeroUsize::new(10).unwrap());
        let alice = user("alice");
        for _ in 0..10 {
            charge(&throttle, &alice, 0).await;
        }
        for number in 0..1000_u32 {
            let address = ThrottleKey::address(std::net::Ipv4Addr::from_bits(number).into());
            for _ in 0..10 {
                charge(&throttle, &address, 5).await;
            }
        }
        assert_eq!(throttle.remembered(ThrottleKind::Address), 10);
        for _ in 0..5 {
            assert!(charge(&throttle, &alice, 5).await);
        }
        assert!(!charge(&throttle, &alice, 5).await);
    }

    #[tokio::test]
    async fn what_recovered_long_ago_is_dropped_and_not_before() {
        let throttle = MemoryThrottle::default();
        for number in 0..50 {
            charge(&throttle, &user(&format!("user-{number}")), 0).await;
        }
        charge(&throttle, &user("later"), 3600).await;
        assert_eq!(throttle.remembered(ThrottleKind::User), 51);
        charge(&throttle, &user("later"), 3601).await;
        assert_eq!(throttle.remembered(ThrottleKind::User), 1);
    }
}
