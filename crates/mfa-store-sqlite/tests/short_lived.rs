//! Challenges and throttles: what is forgotten and when, what a restart leaves, and that stores without
//! the guards of the statements fail the race suites on the same tables.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{AccountStore, ChallengeStore, Commit, StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::Bucket;
use mfa_domain::{Charge, Quota, Timestamp, Version};
use mfa_store_sqlite::{SqliteError, SqliteOptions, SqliteStore};
use mfa_testkit::{UnguardedChallenges, challenge_store, throttle};
use sqlx::{AssertSqlSafe, Executor};
use tempfile::TempDir;

use crate::support::{challenge, change, end, inner, key, make, now, raw};

async fn store() -> (Arc<SqliteStore>, PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    (Arc::new(SqliteStore::open(&path).await.unwrap()), path, folder)
}

fn user(name: &str) -> ThrottleKey {
    ThrottleKey::user(&key(name))
}

/// One a second.
fn quota(burst: u32) -> Quota {
    Quota::new(burst, Duration::from_secs(burst.into())).unwrap()
}

async fn count(path: &Path, what: &str) -> i64 {
    let count = AssertSqlSafe(format!("SELECT count(*) FROM {what}"));
    sqlx::query_scalar(count).fetch_one(&mut raw(path).await).await.unwrap()
}

#[tokio::test]
async fn challenges_that_expired_an_hour_ago_go_in_passing_and_not_before() {
    let (store, path, _folder) = store().await;
    for number in 0..30 {
        store.put(&challenge(number, now())).await.unwrap();
    }
    let later = now().plus(Duration::from_mins(70));
    let just_before = Timestamp::from_unix_millis(later.unix_millis() - 1);
    store.put(&challenge(100, just_before)).await.unwrap();
    assert_eq!(count(&path, "challenges").await, 31);
    for (number, left) in [(101, 22), (102, 13), (103, 4), (104, 5)] {
        store.put(&challenge(number, later)).await.unwrap();
        assert_eq!(count(&path, "challenges").await, left, "after {number}");
    }
    assert!(store.get(&challenge(100, just_before).id).await.unwrap().is_some());
}

#[tokio::test]
async fn challenges_outlive_the_process() {
    let (store, path, _folder) = store().await;
    let [open, answered] = [1, 2].map(|number| challenge(number, now()));
    store.put(&open).await.unwrap();
    store.put(&answered).await.unwrap();
    assert_eq!(end(store.as_ref(), &answered.id).await.unwrap(), Some(answered.clone()));
    // As a crash leaves it: it is not closed.
    let again = SqliteStore::open(&path).await.unwrap();
    assert_eq!(end(&again, &answered.id).await.unwrap(), None);
    assert_eq!(end(&again, &open.id).await.unwrap(), Some(open));
}

#[tokio::test]
async fn a_restart_gives_nobody_their_burst_again() {
    let (store, path, _folder) = store().await;
    for expected in [true, true, false] {
        let charge = store.charge(&user("alice"), quota(2), now()).await.unwrap();
        assert_eq!(charge == Charge::Admitted, expected);
    }
    store.close().await;
    let again = SqliteStore::open(&path).await.unwrap();
    let charge = again.charge(&user("alice"), quota(2), now()).await.unwrap();
    assert_eq!(charge, Charge::Refused { retry_after: Duration::from_secs(1) });
    let later = now().plus(Duration::from_secs(1));
    assert_eq!(again.charge(&user("alice"), quota(2), later).await.unwrap(), Charge::Admitted);
}

/// Nobody calls for it, and nobody closes the store.
#[tokio::test]
async fn charges_are_written_behind_and_read_again() {
    let (store, path, _folder) = store().await;
    for second in 0..3 {
        let at = now().plus(Duration::from_secs(second));
        // Two at once, and one a second.
        let admitted = if second == 0 { 2 } else { 1 };
        for number in 0..3 {
            let charge = store.charge(&user("alice"), quota(2), at).await.unwrap();
            assert_eq!(charge == Charge::Admitted, number < admitted, "{number} in second {second}");
        }
        let written = format!("throttles WHERE latest = {}", at.unix_millis() * 1000);
        for wait in 0.. {
            if count(&path, &written).await == 1 {
                break;
            }
            assert!(wait < 1000, "it was not written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn buckets_that_recovered_an_hour_ago_go_in_passing() {
    let (store, path, _folder) = store().await;
    for number in 0..30 {
        let _ = store.charge(&user(&format!("user-{number}")), quota(1), now()).await.unwrap();
    }
    store.close().await;
    assert_eq!(count(&path, "throttles").await, 30);
    for left in [28, 26] {
        let store = SqliteStore::open(&path).await.unwrap();
        let much_later = now().plus(Duration::from_hours(3));
        let _ = store.charge(&user("much-later"), quota(1000), much_later).await.unwrap();
        store.close().await;
        assert_eq!(count(&path, "throttles WHERE key <> 'user/acme/much-later'").await, left);
    }
}

/// Nor does it wait for the disk: whoever writes to the file has it for themselves.
#[tokio::test]
async fn a_charge_waits_for_no_commit() {
    let (_, path, _folder) = store().await;
    // However slow the machine is.
    let options = SqliteOptions { busy_timeout: Duration::from_mins(10), ..SqliteOptions::default() };
    let store = Arc::new(SqliteStore::open_with(&path, &options).await.unwrap());
    let mut other = raw(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let committing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { change(&store, &key("alice"), |_| ()).await }
    });
    for expected in [true, true, false] {
        let charge = store.charge(&user("alice"), quota(2), now()).await.unwrap();
        assert_eq!(charge == Charge::Admitted, expected);
    }
    assert_eq!(store.load(&key("alice")).await.unwrap().version, Version(0), "the commit did not wait");
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(committing.await.unwrap().unwrap(), Commit::Won);
}

/// They count on, and are written once that is possible.
#[tokio::test]
async fn charges_that_cannot_be_written_are_not_forgotten() {
    let (_, path, _folder) = store().await;
    let options = SqliteOptions { busy_timeout: Duration::from_millis(20), ..SqliteOptions::default() };
    let store = SqliteStore::open_with(&path, &options).await.unwrap();
    let mut other = raw(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.charge(&user("alice"), quota(2), now()).await.unwrap(), Charge::Admitted);
    }
    // Time enough to try, and to fail.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_ne!(store.charge(&user("alice"), quota(2), now()).await.unwrap(), Charge::Admitted);
    other.execute("ROLLBACK").await.unwrap();
    store.close().await;
    let again = SqliteStore::open(&path).await.unwrap();
    assert_ne!(again.charge(&user("alice"), quota(2), now()).await.unwrap(), Charge::Admitted);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_names_the_column() {
    let (store, path, _folder) = store().await;
    let mut shell = raw(&path).await;
    for (number, (column, value)) in (0..).zip([
        ("tenant", "''"),
        ("user", "' a'"),
        ("factor", "'no id'"),
        ("purpose", "'verify_in_2'"),
        ("nonce", "''"),
        ("created_at", "-1"),
        ("expires_at", "9223372036854775807"),
        ("version", "-1"),
        ("state", "'approved_in_2'"),
        ("failures", "4294967296"),
        ("data", "zeroblob(65537)"),
    ]) {
        let one = challenge(number, now());
        store.put(&one).await.unwrap();
        let broken = format!("UPDATE challenges SET {column} = {value} WHERE id = '{}'", one.id);
        shell.execute(AssertSqlSafe(broken)).await.unwrap();
        let error = store.get(&one.id).await.unwrap_err();
        let named = matches!(inner(&error), SqliteError::Undecodable { table: "challenges", column: named, .. } if *named == column);
        assert!(named, "{column}: {error:?}");
    }
    shell.execute("INSERT INTO throttles VALUES ('user/acme/alice', -1, 0, 0)").await.unwrap();
    let (alice, bob) = (user("alice"), user("bob"));
    let (broken, whole) =
        tokio::join!(store.charge(&alice, quota(5), now()), store.charge(&bob, quota(5), now()));
    let error = broken.unwrap_err();
    assert!(matches!(inner(&error), SqliteError::Undecodable { column: "arrival", .. }), "{error:?}");
    assert_eq!(whole.unwrap(), Charge::Admitted);
}

/// The guards in the statements, and the one place where buckets are charged, are what the race suites
/// rest on.
#[tokio::test(flavor = "multi_thread")]
async fn stores_that_compare_in_memory_fail() {
    let (store, path, _folder) = store().await;
    make(&store, &key("alice"), |_| ()).await;
    let unguarded = Arc::new(UnguardedChallenges(store));
    challenge_store::basic(unguarded.as_ref()).await.unwrap();
    challenge_store::time(unguarded.as_ref()).await.unwrap();
    let stores: challenge_store::race::Stores = [unguarded.clone(), unguarded];
    let ended = challenge_store::race::one_of_many_ends_it(&stores).await.unwrap_err().to_string();
    assert!(ended.contains("one challenge was ended"), "{ended}");
    let swapped = challenge_store::race::one_swap_wins_each_version(&stores).await.unwrap_err().to_string();
    assert!(swapped.contains("swaps of one version won"), "{swapped}");
    let naive = Arc::new(Naive { path });
    throttle::basic(naive.as_ref()).await.unwrap();
    throttle::time(naive.as_ref()).await.unwrap();
    let charged = throttle::race(naive.clone(), naive).await.unwrap_err().to_string();
    assert!(charged.contains("64 charges at once were admitted"), "{charged}");
}

/// Reads, decides, and writes whatever is there by then.
struct Naive {
    path: PathBuf,
}

#[async_trait]
impl Throttle for Naive {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        let mut shell = raw(&self.path).await;
        let read = "SELECT arrival, latest FROM throttles WHERE key = ?";
        let read = sqlx::query_as(read).bind(key.to_string()).fetch_optional(&mut shell).await.unwrap();
        let (arrival, latest): (i64, i64) = read.unwrap_or_default();
        let micros = |number: i64| u64::try_from(number).unwrap();
        let (charge, after) = quota.charge(Bucket::from_micros(micros(arrival), micros(latest)), now);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let write = "INSERT INTO throttles VALUES (?, ?, ?, 0)
            ON CONFLICT (key) DO UPDATE SET arrival = excluded.arrival, latest = excluded.latest";
        let integer = |number: u64| i64::try_from(number).unwrap();
        let write = sqlx::query(write).bind(key.to_string());
        let write = write.bind(integer(after.arrival_micros())).bind(integer(after.latest_micros()));
        write.execute(&mut shell).await.unwrap();
        Ok(charge)
    }
}

impl fmt::Debug for Naive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Naive(..)")
    }
}
