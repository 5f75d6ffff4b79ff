//! Callers that go away, other processes that stay, and the end.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use mfa_domain::ports::{AccountStore, ApiKeyId, ApiKeyStore, Commit};
use mfa_domain::{Account, Version};
use mfa_store_sqlite::{SqliteError, SqliteOptions, SqliteStore};
use sqlx::Executor;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::support::{self, change, delta, factor, inner, key, make, raw};

#[tokio::test]
async fn a_commit_that_nobody_waits_for_any_more_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("mfa.db")).await.unwrap();
    let alice = key("alice");
    let delta = delta(&Account::default(), &alice, |_| ());
    // It is polled once, which queues it, and dropped.
    let mut commit = store.commit(&alice, Version(0), &delta);
    let polled = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
    assert!(polled.is_pending(), "it was made before anybody could go away");
    drop(commit);
    // The queue is in order, so this one is made after it.
    make(&store, &key("bob"), |_| ()).await;
    assert_eq!(store.load(&alice).await.unwrap().version, Version(0));
}

#[tokio::test]
async fn a_database_that_another_process_keeps_locked_is_an_error_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    let options = SqliteOptions { busy_timeout: Duration::from_millis(50), ..SqliteOptions::default() };
    let store = SqliteStore::open_with(&path, &options).await.unwrap();
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;

    let mut other = raw(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    for _ in 0..3 {
        let error = change(&store, &key("alice"), |draft| draft.put(factor(2, 20))).await.unwrap_err();
        assert!(matches!(inner(&error), SqliteError::Locked), "{error:?}");
    }
    assert_eq!(store.load(&key("alice")).await.unwrap().value.factors, [factor(1, 20)]);
    let error = SqliteStore::open_with(&path, &options).await.expect_err("it was opened");
    assert!(matches!(error, SqliteError::Locked), "{error:?}");

    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(change(&store, &key("alice"), |_| ()).await.unwrap(), Commit::Won);
}

#[tokio::test]
async fn a_short_lock_of_another_process_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let mut other = raw(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let alice = key("alice");
    let (committed, ()) = tokio::join!(change(&store, &alice, |_| ()), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute("COMMIT").await.unwrap();
    });
    assert_eq!(committed.unwrap(), Commit::Won);
}

/// It needs the file for itself for a moment, to switch it to a write-ahead log.
#[tokio::test]
async fn a_new_database_that_another_process_reads_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    let mut other = raw(&path).await;
    other.execute("BEGIN; SELECT count(*) FROM sqlite_schema").await.unwrap();
    let (opened, ()) = tokio::join!(SqliteStore::open(&path), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute("COMMIT").await.unwrap();
    });
    make(&opened.unwrap(), &key("alice"), |_| ()).await;
}

#[tokio::test]
async fn closing_makes_what_is_queued_and_then_answers_that_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let store = store.clone();
        let user = key(&format!("user-{n}"));
        let delta = delta(&Account::default(), &user, |_| ());
        tasks.spawn(async move { store.commit(&user, Version(0), &delta).await.unwrap() });
    }
    // Lets each of them get into the queue.
    tokio::task::yield_now().await;
    store.close().await;
    assert_eq!(tasks.join_all().await, [Commit::Won; 50]);
    assert!(!path.with_extension("db-wal").exists(), "the file is still open");

    let error = change(&store, &key("late"), |_| ()).await.unwrap_err();
    assert!(matches!(inner(&error), SqliteError::Closed), "{error:?}");
    let late = key("late");
    let error =
        store.commit(&late, Version(0), &delta(&Account::default(), &late, |_| ())).await.unwrap_err();
    assert!(matches!(inner(&error), SqliteError::Closed), "{error:?}");
    let error = store.revoke(&ApiKeyId::new("k").unwrap(), support::now()).await.unwrap_err();
    assert!(matches!(inner(&error), SqliteError::Closed), "{error:?}");
    store.close().await;

    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.load(&key("user-49")).await.unwrap().version, Version(1));
}

#[test]
fn a_store_neither_holds_up_its_runtime_nor_outlives_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(SqliteStore::open(&path)).unwrap();
    runtime.block_on(make(&store, &key("alice"), |_| ()));
    drop(runtime);

    let next = Runtime::new().unwrap();
    let bob = key("bob");
    let delta = delta(&Account::default(), &bob, |_| ());
    let error = next.block_on(store.commit(&bob, Version(0), &delta)).unwrap_err();
    assert!(matches!(inner(&error), SqliteError::Closed), "{error:?}");
    drop(store);
    let store = next.block_on(SqliteStore::open(&path)).unwrap();
    assert_eq!(next.block_on(store.load(&key("alice"))).unwrap().version, Version(1));
}
