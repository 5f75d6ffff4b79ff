//! Challenges and throttles: what is forgotten and when, what travels together, and that stores without
//! the guards of the statements fail the race suites on the same tables.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::Bucket;
use mfa_domain::{Charge, Quota, Timestamp, Version};
use mfa_store_postgres::{PostgresError, PostgresOptions, PostgresStore};
use mfa_testkit::{UnguardedChallenges, challenge_store, throttle};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio::task::JoinSet;

use crate::support::server::Server;
use crate::support::{
    assert_only_locked_fail, challenge, end, inner, key, now, raw, store, transactions,
    until_one_waits_for_a_lock,
};

fn user(name: &str) -> ThrottleKey {
    ThrottleKey::user(&key(name))
}

/// One a second.
fn quota(burst: u32) -> Quota {
    Quota::new(burst, Duration::from_secs(burst.into())).unwrap()
}

async fn count(shell: &mut PgConnection, what: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {what}"))).fetch_one(shell).await.unwrap()
}

#[tokio::test]
async fn challenges_that_expired_an_hour_ago_go_in_passing_and_not_before() {
    let (store, url) = store().await;
    let mut shell = raw(&url).await;
    for number in 0..30 {
        store.put(&challenge(number, now())).await.unwrap();
    }
    let later = now().plus(Duration::from_mins(70));
    let just_before = Timestamp::from_unix_millis(later.unix_millis() - 1);
    store.put(&challenge(100, just_before)).await.unwrap();
    assert_eq!(count(&mut shell, "mfa.challenges").await, 31);
    for (number, left) in [(101, 22), (102, 13), (103, 4), (104, 5)] {
        store.put(&challenge(number, later)).await.unwrap();
        assert_eq!(count(&mut shell, "mfa.challenges").await, left, "after {number}");
    }
    assert!(store.get(&challenge(100, just_before).id).await.unwrap().is_some());
}

#[tokio::test]
async fn buckets_that_recovered_an_hour_ago_go_in_passing() {
    let (store, url) = store().await;
    let mut shell = raw(&url).await;
    for number in 0..30 {
        let _ = store.charge(&user(&format!("user-{number}")), quota(1), now()).await.unwrap();
    }
    let _ = store.charge(&user("later"), quota(1), now().plus(Duration::from_mins(59))).await.unwrap();
    assert_eq!(count(&mut shell, "mfa.throttles").await, 31);
    let much_later = now().plus(Duration::from_hours(3));
    for left in [29, 27] {
        let _ = store.charge(&user("much-later"), quota(1_000_000), much_later).await.unwrap();
        assert_eq!(count(&mut shell, "mfa.throttles WHERE key <> 'user/acme/much-later'").await, left);
    }
}

/// Whoever cannot be locked is left to whoever has them.
#[tokio::test]
async fn forgetting_waits_for_nobody() {
    let (store, url) = store().await;
    let (mut shell, mut other) = (raw(&url).await, raw(&url).await);
    store.put(&challenge(1, now())).await.unwrap();
    let _ = store.charge(&user("alice"), quota(1), now()).await.unwrap();
    other
        .execute("BEGIN; SELECT FROM mfa.challenges FOR UPDATE; SELECT FROM mfa.throttles FOR UPDATE")
        .await
        .unwrap();
    let later = now().plus(Duration::from_hours(4));
    store.put(&challenge(2, later)).await.unwrap();
    let _ = store.charge(&user("bob"), quota(1), later).await.unwrap();
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(count(&mut shell, "mfa.challenges").await, 2);
    assert_eq!(count(&mut shell, "mfa.throttles").await, 2);
}

#[tokio::test]
async fn a_refused_charge_writes_nothing() {
    let (store, url) = store().await;
    let mut shell = raw(&url).await;
    let row = "SELECT key || arrival || ' ' || latest || ' ' || xmin || ' ' || ctid FROM mfa.throttles";
    assert_eq!(store.charge(&user("alice"), quota(1), now()).await.unwrap(), Charge::Admitted);
    let before: String = sqlx::query_scalar(row).fetch_one(&mut shell).await.unwrap();
    for _ in 0..5 {
        let refused = store.charge(&user("alice"), quota(1), now()).await.unwrap();
        assert_eq!(refused, Charge::Refused { retry_after: Duration::from_secs(1) });
    }
    let after: String = sqlx::query_scalar(row).fetch_one(&mut shell).await.unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn what_is_queued_together_is_charged_together() {
    let (store, url) = store().await;
    let mut tasks = JoinSet::new();
    for n in 0..60 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.charge(&user(&format!("user-{n}")), quota(1), now()).await.unwrap() });
    }
    assert!(tasks.join_all().await.iter().all(|charge| *charge == Charge::Admitted));
    let used = transactions(&mut raw(&url).await, "mfa.throttles").await;
    assert!((1..=15).contains(&used), "60 charges took {used} transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_another_transaction_keeps_locked_holds_up_its_own_charges_only() {
    let (store, url) = store().await;
    for n in 0..10 {
        let _ = store.charge(&user(&format!("user-{n}")), quota(5), now()).await.unwrap();
    }
    let mut other = raw(&url).await;
    other
        .execute("BEGIN; SELECT FROM mfa.throttles WHERE key = 'user/acme/user-7' FOR UPDATE")
        .await
        .unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..10 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { (n, store.charge(&user(&format!("user-{n}")), quota(5), now()).await) });
    }
    assert_only_locked_fail(tasks.join_all().await, |n| n == 7, &Charge::Admitted);
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(store.charge(&user("user-7"), quota(5), now()).await.unwrap(), Charge::Admitted);
}

/// Rows are locked in the order of keys, whatever the order in which charges were queued: so no two
/// batches ever wait for each other in a circle.
#[tokio::test]
async fn a_batch_waits_for_the_first_bucket_before_it_locks_the_second() {
    let (store, url) = store().await;
    let (first, second) = (user("user-1"), user("user-2"));
    for key in [&first, &second] {
        let _ = store.charge(key, quota(5), now()).await.unwrap();
    }
    let (mut holder, mut observer) = (raw(&url).await, raw(&url).await);
    holder
        .execute("BEGIN; SELECT FROM mfa.throttles WHERE key = 'user/acme/user-1' FOR UPDATE")
        .await
        .unwrap();
    let (of_second, of_first, ()) =
        tokio::join!(store.charge(&second, quota(5), now()), store.charge(&first, quota(5), now()), async {
            until_one_waits_for_a_lock(&mut observer).await;
            observer
                .execute("SELECT FROM mfa.throttles WHERE key = 'user/acme/user-2' FOR UPDATE NOWAIT")
                .await
                .expect("the second is locked while the first is waited for");
            holder.execute("COMMIT").await.unwrap();
        },);
    assert_eq!((of_first.unwrap(), of_second.unwrap()), (Charge::Admitted, Charge::Admitted));
    assert_eq!(transactions(&mut observer, "mfa.throttles").await, 1, "they were not in one batch");
}

/// What another replica was faster with is read and decided again.
#[tokio::test]
async fn a_bucket_that_was_charged_while_a_charge_waited_for_it_is_charged_as_it_is_then() {
    let (store, url) = store().await;
    let alice = user("alice");
    let _ = store.charge(&alice, quota(2), now()).await.unwrap();
    let mut other = raw(&url).await;
    // The second of the burst, as another replica charges it.
    other.execute("BEGIN; UPDATE mfa.throttles SET arrival = arrival + 1000000").await.unwrap();
    let (charged, ()) = tokio::join!(store.charge(&alice, quota(2), now()), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute("COMMIT").await.unwrap();
    });
    assert_eq!(charged.unwrap(), Charge::Refused { retry_after: Duration::from_secs(1) });
}

/// Users start again, and nothing is open that was answered before.
#[tokio::test]
async fn a_crash_of_the_server_loses_all_of_it_and_brings_nothing_back() {
    let server = Server::start(&[]);
    let store = PostgresStore::open(&server.database().await).await.unwrap();
    let [answered, open] = [1, 2].map(|number| challenge(number, now()));
    store.put(&answered).await.unwrap();
    store.put(&open).await.unwrap();
    assert_eq!(store.charge(&user("alice"), quota(1), now()).await.unwrap(), Charge::Admitted);
    server.connect().await.execute("CHECKPOINT").await.unwrap();
    assert_eq!(end(&store, &answered.id).await.unwrap(), Some(answered.clone()));
    server.crash();
    server.start_again();
    let mut tries = 1;
    let again = loop {
        match end(&store, &answered.id).await {
            Ok(again) => break again,
            Err(error) => assert!(tries < 1000, "{error:?}"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(again, None, "it was answered twice");
    assert_eq!(store.get(&open.id).await.unwrap(), None);
    assert_eq!(store.charge(&user("alice"), quota(1), now()).await.unwrap(), Charge::Admitted);
    store.put(&challenge(3, now())).await.unwrap();
}

/// Whoever calls is answered in time, also while all connections are taken.
#[tokio::test]
async fn to_wait_for_a_connection_is_part_of_the_time_of_a_call() {
    let (_, url) = store().await;
    let (long, short) = (Duration::from_secs(30), Duration::from_millis(200));
    let options = PostgresOptions {
        max_connections: 2,
        acquire_timeout: long,
        call_timeout: short,
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open_with(&url, &options).await.unwrap();
    let turn = store.turn().await.unwrap();
    let other = store.clone();
    let waiting = tokio::spawn(async move { other.turn().await.unwrap() });
    let (mut observer, locks) =
        (raw(&url).await, "pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()");
    while count(&mut observer, locks).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let one = challenge(1, now());
    let (id, progress) = (&one.id, &one.progress);
    let begin = tokio::time::Instant::now();
    for error in [
        store.put(&one).await.unwrap_err(),
        store.get(id).await.unwrap_err(),
        store.swap(id, Version(1), progress).await.unwrap_err(),
    ] {
        assert!(matches!(inner(&error), PostgresError::Timeout), "{error:?}");
    }
    assert!(begin.elapsed() < long, "{:?}", begin.elapsed());
    drop(turn);
    drop(waiting.await.unwrap());
    // So short a time may not be enough on a busy machine.
    while let Err(error) = store.get(id).await {
        assert!(matches!(inner(&error), PostgresError::Timeout), "{error:?}");
        assert!(begin.elapsed() < long, "{error:?}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_names_the_column() {
    let (store, url) = store().await;
    let mut shell = raw(&url).await;
    let one = challenge(1, now());
    store.put(&one).await.unwrap();
    for (column, value) in [
        ("tenant_id", "''"),
        ("user_id", "' a'"),
        ("purpose", "'verify_in_2'"),
        ("nonce", "''"),
        ("created_at", "-1"),
        ("state", "'approved_in_2'"),
        ("failures", "4294967296"),
        ("data", "convert_to(repeat('x', 65537), 'UTF8')"),
    ] {
        let saved = "CREATE TABLE saved AS SELECT * FROM mfa.challenges";
        let broken = AssertSqlSafe(format!("UPDATE mfa.challenges SET {column} = {value}"));
        shell.execute(saved).await.unwrap();
        shell.execute(broken).await.unwrap();
        let error = store.get(&one.id).await.unwrap_err();
        let told = matches!(inner(&error), PostgresError::Undecodable { table: "challenges", column: told, .. } if *told == column);
        assert!(told, "{column}: {error:?}");
        shell
            .execute("DELETE FROM mfa.challenges; INSERT INTO mfa.challenges SELECT * FROM saved; DROP TABLE saved")
            .await
            .unwrap();
    }
    let _ = store.charge(&user("alice"), quota(5), now()).await.unwrap();
    shell.execute("UPDATE mfa.throttles SET arrival = -1").await.unwrap();
    let (alice, bob) = (user("alice"), user("bob"));
    let (broken, whole) =
        tokio::join!(store.charge(&alice, quota(5), now()), store.charge(&bob, quota(5), now()));
    let error = broken.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::Undecodable { column: "arrival", .. }), "{error:?}");
    assert_eq!(whole.unwrap(), Charge::Admitted);
}

/// Nothing of them is in the log of the database, nor in a backup.
#[tokio::test]
async fn what_is_short_lived_is_unlogged() {
    let (_, url) = store().await;
    let unlogged: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'mfa'::regnamespace AND relkind = 'r'
             AND relpersistence = 'u' ORDER BY relname",
    )
    .fetch_all(&mut raw(&url).await)
    .await
    .unwrap();
    assert_eq!(unlogged, ["challenges", "throttles"]);
}

/// The guards in the statements are what the race suites rest on.
#[tokio::test(flavor = "multi_thread")]
async fn stores_that_compare_in_memory_fail() {
    let (one, url) = store().await;
    let other = Arc::new(PostgresStore::open(&url).await.unwrap());
    let unguarded = UnguardedChallenges(one);
    challenge_store::basic(&unguarded).await.unwrap();
    challenge_store::time(&unguarded).await.unwrap();
    let stores: challenge_store::race::Stores =
        [Arc::new(unguarded), Arc::new(UnguardedChallenges(other.clone()))];
    let ended = challenge_store::race::one_of_many_ends_it(&stores).await.unwrap_err().to_string();
    assert!(ended.contains("one challenge was ended"), "{ended}");
    let swapped = challenge_store::race::one_swap_wins_each_version(&stores).await.unwrap_err().to_string();
    assert!(swapped.contains("swaps of one version won"), "{swapped}");
    let pool = PgPoolOptions::new().max_connections(16).connect(&url).await.unwrap();
    let naive = Arc::new(Naive { pool });
    throttle::basic(naive.as_ref()).await.unwrap();
    throttle::time(naive.as_ref()).await.unwrap();
    let charged = throttle::race(naive.clone(), naive).await.unwrap_err().to_string();
    assert!(charged.contains("64 charges at once were admitted"), "{charged}");
}

/// Reads, decides, and writes whatever is there by then.
struct Naive {
    pool: PgPool,
}

#[async_trait]
impl Throttle for Naive {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        let read = "SELECT arrival, latest FROM mfa.throttles WHERE key = $1";
        let read = sqlx::query_as(read).bind(key.to_string()).fetch_optional(&self.pool).await.unwrap();
        let (arrival, latest): (i64, i64) = read.unwrap_or_default();
        let micros = |number: i64| u64::try_from(number).unwrap();
        let (charge, after) = quota.charge(Bucket::from_micros(micros(arrival), micros(latest)), now);
        let write = "INSERT INTO mfa.throttles VALUES ($1, $2, $3, 0)
            ON CONFLICT (key) DO UPDATE SET arrival = excluded.arrival, latest = excluded.latest";
        let integer = |number: u64| i64::try_from(number).unwrap();
        let write = sqlx::query(write).bind(key.to_string());
        let write = write.bind(integer(after.arrival_micros())).bind(integer(after.latest_micros()));
        write.execute(&self.pool).await.unwrap();
        Ok(charge)
    }
}

impl fmt::Debug for Naive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Naive(..)")
    }
}
