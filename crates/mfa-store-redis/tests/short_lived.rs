//! The guards in the scripts are what the race suites rest on: stores that compare in memory and then write, on
//! the same keys, fail them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::Bucket;
use mfa_domain::{Charge, Quota, Timestamp};
use mfa_testkit::{UnguardedChallenges, challenge_store, throttle};
use redis::aio::MultiplexedConnection;

use crate::support::{open_ephemeral, raw, server};

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_compare_in_memory_fail() {
    let url = server::url();
    let (one, other) = (open_ephemeral(&url).await, open_ephemeral(&url).await);
    let unguarded = UnguardedChallenges(one);
    challenge_store::basic(&unguarded).await.unwrap();
    challenge_store::time(&unguarded).await.unwrap();
    let stores: challenge_store::race::Stores =
        [Arc::new(unguarded), Arc::new(UnguardedChallenges(other.clone()))];
    let ended = challenge_store::race::one_of_many_ends_it(&stores).await.unwrap_err().to_string();
    assert!(ended.contains("one challenge was ended"), "{ended}");
    let swapped = challenge_store::race::one_swap_wins_each_version(&stores).await.unwrap_err().to_string();
    assert!(swapped.contains("swaps of one version won"), "{swapped}");
    let (one, other) = (naive(&url).await, naive(&url).await);
    throttle::basic(one.as_ref()).await.unwrap();
    throttle::time(one.as_ref()).await.unwrap();
    let charged = throttle::race(one, other).await.unwrap_err().to_string();
    assert!(charged.contains("64 charges at once were admitted"), "{charged}");
}

async fn naive(url: &str) -> Arc<Naive> {
    let (shell, namespace) = raw(url).await;
    Arc::new(Naive { shell, namespace })
}

/// Reads, decides, and writes whatever is there by then.
struct Naive {
    shell: MultiplexedConnection,
    namespace: String,
}

#[async_trait]
impl Throttle for Naive {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        let mut shell = self.shell.clone();
        let name = format!("{}:naive:{key}", self.namespace);
        let read: Option<String> = redis::cmd("GET").arg(&name).query_async(&mut shell).await.unwrap();
        let bucket = read.map_or_else(Bucket::default, |read| {
            let (arrival, latest) = read.split_once(' ').unwrap();
            Bucket::from_micros(arrival.parse().unwrap(), latest.parse().unwrap())
        });
        let (charge, after) = quota.charge(bucket, now);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let write = format!("{} {}", after.arrival_micros(), after.latest_micros());
        redis::cmd("SET").arg(&name).arg(write).exec_async(&mut shell).await.unwrap();
        Ok(charge)
    }
}

impl fmt::Debug for Naive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Naive(..)")
    }
}
