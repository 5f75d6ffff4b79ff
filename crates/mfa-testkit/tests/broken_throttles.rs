//! Throttles that are wrong in one way each: the suites must find every one of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{Clock, StoreError, SystemClock, Throttle, ThrottleKey};
use mfa_domain::quota::{Bucket, Charge, Quota};
use mfa_testkit::{NaiveThrottle, Violation, throttle};

/// What is wrong with a throttle.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    AdmitsAll,
    AdmitsNone,
    OneMore,
    ChargesRefused,
    OneBucketForAll,
    KindsShareABucket,
    TenantsShareABucket,
    OwnClock,
    ForgetsOnTheWayBack,
    ForgetsWhatRecovered,
    ArrivalAlone,
    WholeSeconds,
}

const OF_BASIC: [Wrong; 7] = [
    Wrong::AdmitsAll,
    Wrong::AdmitsNone,
    Wrong::OneMore,
    Wrong::ChargesRefused,
    Wrong::OneBucketForAll,
    Wrong::KindsShareABucket,
    Wrong::TenantsShareABucket,
];

const OF_TIME: [Wrong; 5] = [
    Wrong::OwnClock,
    Wrong::ForgetsOnTheWayBack,
    Wrong::ForgetsWhatRecovered,
    Wrong::ArrivalAlone,
    Wrong::WholeSeconds,
];

#[tokio::test]
async fn whatever_is_wrong_with_a_throttle_is_found() {
    for wrong in OF_BASIC {
        assert!(throttle::basic(&broken(wrong)).await.is_err(), "the basic suite does not find {wrong:?}");
    }
    for wrong in OF_TIME {
        assert!(throttle::time(&broken(wrong)).await.is_err(), "the time suite does not find {wrong:?}");
    }
}

#[tokio::test]
async fn for_one_caller_the_naive_throttle_keeps_the_contract() -> Result<(), Violation> {
    let naive = NaiveThrottle::default();
    throttle::basic(&naive).await?;
    throttle::time(&naive).await
}

#[tokio::test(flavor = "multi_thread")]
async fn for_many_it_does_not() {
    let naive = NaiveThrottle::default();
    let raced = throttle::race(Arc::new(naive.clone()), Arc::new(naive)).await;
    let violation = raced.expect_err("the suite passed").to_string();
    assert!(violation.starts_with("each_of_many_charges_counts"), "{violation}");
}

/// Two replicas that each count for themselves.
#[tokio::test(flavor = "multi_thread")]
async fn limits_of_each_process_alone_are_found() {
    let own = || Arc::new(mfa_store_memory::MemoryThrottle::default());
    let raced = throttle::race(own(), own()).await;
    let violation = raced.expect_err("the suite passed").to_string();
    assert!(violation.contains("20 of 64 charges at once were admitted by a burst of 10"), "{violation}");
}

fn broken(wrong: Wrong) -> Broken {
    Broken { wrong, buckets: Mutex::default() }
}

#[derive(Debug)]
struct Broken {
    wrong: Wrong,
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

impl Broken {
    fn name(&self, key: &ThrottleKey) -> String {
        let text = key.to_string();
        let parts: Vec<_> = text.splitn(3, '/').collect();
        match self.wrong {
            Wrong::OneBucketForAll => String::new(),
            Wrong::KindsShareABucket => parts[1..].join("/"),
            Wrong::TenantsShareABucket => format!("{}/{}", parts[0], parts[2]),
            _ => text,
        }
    }
}

#[async_trait]
impl Throttle for Broken {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        let mut buckets = self.buckets.lock().unwrap();
        let told = now.unix_millis() * 1000;
        let refused = Charge::Refused { retry_after: Duration::from_secs(1) };
        let (quota, now) = match self.wrong {
            Wrong::AdmitsAll => return Ok(Charge::Admitted),
            Wrong::AdmitsNone => return Ok(refused),
            Wrong::OneMore => (Quota::new(quota.burst() + 1, quota.per()).unwrap_or(quota), now),
            Wrong::OwnClock => (quota, SystemClock.now()),
            Wrong::WholeSeconds => (quota, Timestamp::from_unix_seconds(now.unix_seconds())),
            _ => (quota, now),
        };
        if self.wrong == Wrong::ForgetsWhatRecovered {
            buckets.retain(|_, bucket| bucket.recovered_at() > now);
        }
        let bucket = buckets.entry(self.name(key)).or_default();
        match self.wrong {
            Wrong::ForgetsOnTheWayBack if told < bucket.latest_micros() => *bucket = Bucket::default(),
            Wrong::ArrivalAlone => *bucket = Bucket::from_micros(bucket.arrival_micros(), 0),
            _ => {}
        }
        let (charge, after) = quota.charge(*bucket, now);
        *bucket = after;
        if self.wrong == Wrong::ChargesRefused && charge != Charge::Admitted {
            let interval = u64::try_from(quota.per().as_micros()).unwrap() / u64::from(quota.burst());
            *bucket = Bucket::from_micros(after.arrival_micros() + interval, after.latest_micros());
        }
        Ok(charge)
    }
}
