//! The throttle keeps the contract, charges as the pure function does, and forgets in time.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::Timestamp;
use mfa_domain::ports::{Throttle, ThrottleKey};
use mfa_domain::quota::{Bucket, Quota};
use mfa_store_redis::RedisEphemeral;
use mfa_testkit::{Violation, throttle};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::server::{self, Cluster, Sentinels};
use crate::support::{key, now, open_ephemeral, raw};

/// Two stores on one namespace, as two processes have them.
async fn replicas(url: &str) -> (Arc<RedisEphemeral>, Arc<RedisEphemeral>) {
    (open_ephemeral(url).await, open_ephemeral(url).await)
}

async fn keeps_the_contract(url: &str) -> Result<(), Violation> {
    let (one, other) = replicas(url).await;
    throttle::basic(one.as_ref()).await?;
    throttle::time(one.as_ref()).await?;
    throttle::race(one, other).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_server() -> Result<(), Violation> {
    keeps_the_contract(&server::url()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster() -> Result<(), Violation> {
    let cluster = Cluster::start(&[]);
    keeps_the_contract(&cluster.url()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sentinels() -> Result<(), Violation> {
    let sentinels = Sentinels::start(&[]);
    keeps_the_contract(&sentinels.url()).await
}

/// Any numbers, any times, forth and back: at every step the script answers and keeps what the pure
/// function does.
#[test]
fn every_step_is_that_of_the_pure_function() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = server::url();
    let (store, (shell, namespace)) =
        runtime.block_on(async { (open_ephemeral(&url).await, raw(&url).await) });
    // A day at a scale where bursts are used up, or at one of years; until 2255, as Bucket says.
    let start = prop_oneof![Just(1_700_000_000_000_u64), Just(9_000_000_000_000 - 86_400_000)];
    let span = prop_oneof![Just(1_000_u64), Just(100_000), Just(86_400_000)];
    let quota = (1_u32..=50, 1_u64..=100_000)
        .prop_map(|(burst, millis)| Quota::new(burst, Duration::from_millis(millis)).unwrap());
    let fast = Just(Quota::new(1_000_000, Duration::from_secs(1)).unwrap());
    let quotas = proptest::collection::vec(prop_oneof![4 => quota, 1 => fast], 1..3);
    let steps = proptest::collection::vec((any::<u64>(), any::<prop::sample::Index>()), 1..40);
    let users = Cell::new(0_u32);
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&(start, span, quotas, steps), |(start, span, quotas, steps)| {
            let user = users.get();
            users.set(user + 1);
            let account = key(&format!("user-{user}"));
            let mut bucket = Bucket::default();
            let mut shell = shell.clone();
            for (at, quota) in steps {
                let (at, quota) = (Timestamp::from_unix_millis(start + at % span), *quota.get(&quotas));
                let (expected, next) = quota.charge(bucket, at);
                bucket = next;
                let charged =
                    runtime.block_on(store.charge(&ThrottleKey::user(&account), quota, at)).unwrap();
                prop_assert_eq!(charged, expected, "{:?} at {}", quota, at);
                let name = format!("{namespace}:throttle:{{acme/user-{user}}}:user");
                let kept: String =
                    runtime.block_on(redis::cmd("GET").arg(name).query_async(&mut shell)).unwrap();
                prop_assert_eq!(kept, format!("{} {}", bucket.arrival_micros(), bucket.latest_micros()));
            }
            Ok(())
        })
        .unwrap();
}

/// An hour after it recovered by the clock of who charged it, nothing is left of a bucket.
#[tokio::test]
async fn a_bucket_is_forgotten_an_hour_after_it_recovered() {
    let url = server::url();
    let store = open_ephemeral(&url).await;
    let (mut shell, namespace) = raw(&url).await;
    let quota = Quota::new(2, Duration::from_mins(2)).unwrap();
    let (alice, hour) = (ThrottleKey::user(&key("alice")), 3_600_000);
    let mut left = async || {
        let name = format!("{namespace}:throttle:{{acme/alice}}:user");
        redis::cmd("PTTL").arg(name).query_async::<i64>(&mut shell).await.unwrap()
    };
    let almost = |left: i64, expected: i64| (expected - 20_000..=expected).contains(&left);
    let _ = store.charge(&alice, quota, now()).await.unwrap();
    let first = left().await;
    assert!(almost(first, hour + 60_000), "{first}");
    // A clock that is behind takes longer to get there.
    let earlier = Timestamp::from_unix_millis(now().unix_millis() - 600_000);
    let _ = store.charge(&alice, quota, earlier).await.unwrap();
    let second = left().await;
    assert!(almost(second, hour + 120_000 + 600_000), "{second}");
}

/// What one account is charged is with the account, and everything else is spread.
#[tokio::test]
async fn buckets_of_one_account_are_in_one_slot() {
    let url = server::url();
    let store = open_ephemeral(&url).await;
    let quota = Quota::new(2, Duration::from_mins(2)).unwrap();
    let (alice, bob) = (key("alice"), key("bob"));
    let address = ThrottleKey::address("2001:db8::1".parse().unwrap());
    for key in [ThrottleKey::user(&alice), ThrottleKey::change(&alice), ThrottleKey::user(&bob), address] {
        let _ = store.charge(&key, quota, now()).await.unwrap();
    }
    let (mut shell, namespace) = raw(&url).await;
    let pattern = format!("{namespace}:*");
    let mut keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut shell).await.unwrap();
    keys.retain(|key| key.contains("throttle"));
    keys.sort();
    let expected = ["{/2001:db8::}:address", "{acme/alice}:change", "{acme/alice}:user", "{acme/bob}:user"];
    assert_eq!(keys, expected.map(|key| format!("{namespace}:throttle:{key}")));
}
