//! Contract suites for [`Throttle`].
//!
//! Run each suite once, on a throttle that is empty or was only used by other suites of this crate. The
//! suites charge fewer than a thousand keys of each kind.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::{ApiKeyId, Throttle, ThrottleKey};
use mfa_domain::quota::{Charge, Quota};
use mfa_domain::{AccountKey, TenantId, Timestamp, UserId};

use crate::race::{rounds, together};
use crate::violation::run;
use crate::{Violation, ensure};

/// Checks the contract for one caller at a time.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn basic(throttle: &dyn Throttle) -> Result<(), Violation> {
    run![
        a_burst_is_admitted_and_no_more(throttle),
        refused_charges_cost_nothing(throttle),
        keys_do_not_share_a_bucket(throttle),
        the_largest_quota_is_kept(throttle),
    ]
}

/// Checks that the throttle uses the time of its caller and no clock of its own.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn time(throttle: &dyn Throttle) -> Result<(), Violation> {
    run![
        a_bucket_recovers_bit_by_bit(throttle),
        whoever_waits_as_told_is_admitted(throttle),
        a_clock_set_back_grants_nothing(throttle),
        a_clock_that_is_ahead_does_not_stop_the_others(throttle),
        the_ends_of_time_are_times(throttle),
    ]
}

/// Checks the contract for concurrent callers. `one` and `other` are two handles on the same buckets.
/// Requires a multi-thread runtime.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn race(one: Arc<dyn Throttle>, other: Arc<dyn Throttle>) -> Result<(), Violation> {
    let throttles = &[one, other];
    run![
        each_of_many_charges_counts(throttles),
        each_counts_whatever_its_clock_says(throttles),
        a_flood_of_one_key_leaves_the_others(throttles),
    ]
}

const START: u64 = 1_700_000_000_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_unix_millis(START + millis)
}

/// A burst of `burst`, refilled by one a second.
fn one_a_second(burst: u32) -> Quota {
    Quota::new(burst, Duration::from_secs(burst.into())).unwrap()
}

fn user(tenant: &str, name: &str) -> ThrottleKey {
    ThrottleKey::user(&account(tenant, name))
}

fn account(tenant: &str, name: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(name).unwrap())
}

/// The number of admitted charges among `count` at one time.
async fn admitted(
    throttle: &dyn Throttle,
    key: &ThrottleKey,
    quota: Quota,
    now: Timestamp,
    count: usize,
) -> Result<usize, Violation> {
    let mut admitted = 0;
    for _ in 0..count {
        admitted += usize::from(throttle.charge(key, quota, now).await? == Charge::Admitted);
    }
    Ok(admitted)
}

async fn a_burst_is_admitted_and_no_more(throttle: &dyn Throttle) -> Result<(), Violation> {
    for burst in [1_u32, 2, 7] {
        let key = user("throttle-burst", &burst.to_string());
        let count = admitted(throttle, &key, one_a_second(burst), at(0), 20).await?;
        ensure!(count == burst as usize, "{count} charges were admitted by a burst of {burst}");
    }
    Ok(())
}

async fn refused_charges_cost_nothing(throttle: &dyn Throttle) -> Result<(), Violation> {
    let (key, quota) = (user("throttle-refused", "alice"), one_a_second(2));
    admitted(throttle, &key, quota, at(0), 2).await?;
    let count = admitted(throttle, &key, quota, at(999), 50).await?;
    ensure!(count == 0, "{count} charges were admitted before the refill");
    let Charge::Refused { retry_after } = throttle.charge(&key, quota, at(600)).await? else {
        return Err(Violation::new("a charge was admitted before the refill"));
    };
    ensure!(retry_after == Duration::from_millis(400), "retry_after is {retry_after:?} instead of 400 ms");
    let count = admitted(throttle, &key, quota, at(2000), 3).await?;
    ensure!(
        count == 2,
        "after two seconds {count} charges were admitted instead of 2: rejected ones were counted"
    );
    Ok(())
}

async fn keys_do_not_share_a_bucket(throttle: &dyn Throttle) -> Result<(), Violation> {
    let id = |text| ApiKeyId::new(text).unwrap();
    let (tenant, other) = (TenantId::new("throttle-keys").unwrap(), TenantId::new("throttle-keys2").unwrap());
    let keys = [
        ThrottleKey::tenant(&tenant),
        ThrottleKey::tenant(&other),
        ThrottleKey::tenant_messages(&tenant),
        ThrottleKey::tenant_challenges(&tenant),
        ThrottleKey::api_key(&tenant, &id("alice")),
        ThrottleKey::api_key(&tenant, &id("alice2")),
        ThrottleKey::api_key(&other, &id("alice")),
        user("throttle-keys", "alice"),
        user("throttle-keys", "Alice"),
        user("throttle-keys", "alice2"),
        user("throttle-keys", "192.0.2.77"),
        user("throttle-keys2", "alice"),
        user("throttle-keys", "a/alice"),
        user("throttle-keys", "}"),
        user("throttle-keys", "{alice}"),
        user("throttle-keys", "alice}:user"),
        user("throttle-keys", "Álice"),
        ThrottleKey::change(&account("throttle-keys", "alice")),
        ThrottleKey::address("192.0.2.77".parse().unwrap()),
        ThrottleKey::address("192.0.2.78".parse().unwrap()),
        ThrottleKey::address("2001:db8:0:77::1".parse().unwrap()),
        ThrottleKey::address("2001:db8:0:78::1".parse().unwrap()),
    ];
    for key in &keys {
        let count = admitted(throttle, key, one_a_second(3), at(0), 5).await?;
        ensure!(count == 3, "{key} was admitted {count} times instead of 3");
    }
    Ok(())
}

async fn the_largest_quota_is_kept(throttle: &dyn Throttle) -> Result<(), Violation> {
    let key = user("throttle-largest", "alice");
    let fastest = Quota::new(1_000_000, Duration::from_secs(1)).unwrap();
    let count = admitted(throttle, &key, fastest, at(0), 100).await?;
    ensure!(count == 100, "{count} of 100 charges were admitted by a burst of a million");
    let key = user("throttle-largest", "bob");
    let slowest = Quota::new(1, Quota::MAX_PER).unwrap();
    admitted(throttle, &key, slowest, at(0), 1).await?;
    let charge = throttle.charge(&key, slowest, at(0)).await?;
    let expected = Charge::Refused { retry_after: Quota::MAX_PER };
    ensure!(charge == expected, "with a quota of one in 30 days, the second charge is {charge:?}");
    Ok(())
}

async fn a_bucket_recovers_bit_by_bit(throttle: &dyn Throttle) -> Result<(), Violation> {
    let (key, quota) = (user("throttle-recovers", "alice"), one_a_second(3));
    for (now, expected) in [(0, 3), (999, 0), (1000, 1), (1000, 0), (3000, 2), (60_000, 3)] {
        let count = admitted(throttle, &key, quota, at(now), 5).await?;
        ensure!(count == expected, "after {now} ms, {count} charges were admitted instead of {expected}");
    }
    Ok(())
}

async fn whoever_waits_as_told_is_admitted(throttle: &dyn Throttle) -> Result<(), Violation> {
    let key = user("throttle-waits", "alice");
    // Three per second do not divide one second into whole milliseconds.
    let quota = Quota::new(3, Duration::from_secs(1)).unwrap();
    let mut now = at(0);
    for _ in 0..20 {
        if let Charge::Refused { retry_after } = throttle.charge(&key, quota, now).await? {
            // Rounded up, since a timestamp has whole milliseconds.
            let wait = Duration::from_millis(u64::try_from(retry_after.as_micros().div_ceil(1000)).unwrap());
            let early = now.plus(wait.saturating_sub(Duration::from_millis(1)));
            ensure!(
                throttle.charge(&key, quota, early).await? != Charge::Admitted,
                "a charge was admitted before {retry_after:?} had passed"
            );
            now = now.plus(wait);
            ensure!(
                throttle.charge(&key, quota, now).await? == Charge::Admitted,
                "a charge was rejected after {retry_after:?}"
            );
        }
    }
    Ok(())
}

async fn a_clock_set_back_grants_nothing(throttle: &dyn Throttle) -> Result<(), Violation> {
    let (key, quota) = (user("throttle-back", "alice"), one_a_second(5));
    let minute = 60_000;
    let mut count = 0;
    for jump in 0..10 {
        count += admitted(throttle, &key, quota, at(minute), 5).await?;
        count += admitted(throttle, &key, quota, at(jump * 5000), 5).await?;
    }
    ensure!(count == 5, "{count} charges were admitted by a burst of 5 while the clock moved back and forth");
    // Charges of other keys do not refill the bucket either.
    admitted(throttle, &user("throttle-back", "bob"), quota, at(minute * 50), 5).await?;
    let count = admitted(throttle, &key, quota, at(0), 5).await?;
    ensure!(count == 0, "{count} more charges were admitted after another key was charged with a later time");
    Ok(())
}

async fn a_clock_that_is_ahead_does_not_stop_the_others(throttle: &dyn Throttle) -> Result<(), Violation> {
    let (key, quota) = (user("throttle-ahead", "alice"), one_a_second(10));
    for second in 0..5 {
        for ahead in [120_000, 0] {
            let count = admitted(throttle, &key, quota, at(ahead + 2000 * second), 1).await?;
            ensure!(
                count == 1,
                "a charge within the quota was rejected because another clock is two minutes ahead"
            );
        }
    }
    Ok(())
}

async fn the_ends_of_time_are_times(throttle: &dyn Throttle) -> Result<(), Violation> {
    for (name, now) in [("first", Timestamp::default()), ("last", Timestamp::MAX)] {
        let count = admitted(throttle, &user("throttle-ends", name), one_a_second(2), now, 4).await?;
        ensure!(count == 2, "at {now}, {count} charges were admitted instead of 2");
    }
    Ok(())
}

type Throttles = [Arc<dyn Throttle>; 2];

async fn each_of_many_charges_counts(throttles: &Throttles) -> Result<(), Violation> {
    for round in 0..rounds(4_u32, 10) {
        let (key, quota) = (user("throttle-race", &round.to_string()), one_a_second(10));
        let charges = charge_together(throttles, 64, move |_| (key.clone(), quota, at(0))).await?;
        let count = charges.iter().filter(|charge| **charge == Charge::Admitted).count();
        ensure!(count == 10, "{count} of 64 charges at once were admitted by a burst of 10");
    }
    Ok(())
}

async fn each_counts_whatever_its_clock_says(throttles: &Throttles) -> Result<(), Violation> {
    let (key, quota) = (user("throttle-race-time", "alice"), one_a_second(10));
    // The times are up to ten seconds apart, so up to ten charges may have been refilled.
    let charges = charge_together(throttles, 64, move |number| {
        (key.clone(), quota, at(u64::try_from(number * 7919 % 10_001).unwrap()))
    });
    let count = charges.await?.iter().filter(|charge| **charge == Charge::Admitted).count();
    ensure!((10..=20).contains(&count), "{count} charges were admitted instead of 10 to 20");
    Ok(())
}

async fn a_flood_of_one_key_leaves_the_others(throttles: &Throttles) -> Result<(), Violation> {
    let quota = one_a_second(5);
    let charges = charge_together(throttles, 60, move |number| {
        // Every tenth charge is Bob's.
        let name = if number % 10 == 0 { "bob" } else { "alice" };
        (user("throttle-flood", name), one_a_second(if name == "bob" { 6 } else { 5 }), at(0))
    });
    let charges = charges.await?;
    let bobs = charges.iter().step_by(10);
    let refused = bobs.filter(|charge| **charge != Charge::Admitted).count();
    ensure!(refused == 0, "{refused} of another key's charges were refused in a flood of one");
    let count = admitted(throttles[0].as_ref(), &user("throttle-flood", "alice"), quota, at(0), 1).await?;
    ensure!(count == 0, "the flood was not counted");
    Ok(())
}

/// Charges that start together, alternating between the handles.
async fn charge_together(
    throttles: &Throttles,
    count: usize,
    which: impl Fn(usize) -> (ThrottleKey, Quota, Timestamp),
) -> Result<Vec<Charge>, Violation> {
    let charges = together(count, |number| {
        let throttle = Arc::clone(&throttles[number % 2]);
        let (key, quota, now) = which(number);
        async move { throttle.charge(&key, quota, now).await }
    });
    charges.await?.into_iter().map(|charge| charge.map_err(Violation::from)).collect()
}
