//! Connections that are lost, rows that stay locked, servers that do not answer: never a false answer.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mfa_domain::ports::{AccountStore, ApiKeyStore, Commit, DeliveryStore, EventPosition, EventQuery};
use mfa_domain::{Account, Version};
use mfa_store_postgres::{PostgresError, PostgresOptions, PostgresStore};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::server::Server;
use crate::support::{assert_only_locked_fail, change, delta, factor, inner, key, make, raw, store};

/// Ends the sessions of the store that are in a state; tells how many there were.
async fn terminate(shell: &mut PgConnection, which: &str) -> i64 {
    let statement = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'mfa' AND {which}"
    );
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(shell).await.unwrap()
}

/// Ends the sessions of the store that are in a state, once there is one.
async fn terminate_when(shell: &mut PgConnection, which: &str) {
    for _ in 0..500 {
        if terminate(shell, which).await > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("no session of the store: {which}");
}

#[tokio::test]
async fn a_connection_that_is_lost_while_a_commit_waits_is_an_error_and_changes_nothing() {
    let (store, url) = store().await;
    let alice = key("alice");
    make(&store, &alice, |draft| draft.put(factor(1, 20))).await;
    let (mut other, mut shell) = (raw(&url).await, raw(&url).await);
    other.execute("BEGIN; SELECT * FROM mfa.accounts FOR UPDATE").await.unwrap();
    let (committed, ()) = tokio::join!(
        change(&store, &alice, |draft| draft.put(factor(2, 20))),
        terminate_when(&mut shell, "wait_event_type = 'Lock'"),
    );
    let error = committed.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::ConnectionLost(_)), "{error:?}");
    other.execute("ROLLBACK").await.unwrap();
    let read = store.load(&alice).await.unwrap();
    assert_eq!((read.version, read.value.factors), (Version(1), vec![factor(1, 20)]));
    make(&store, &alice, |draft| draft.put(factor(3, 20))).await;
}

/// The server has done the statement, and waits before the commit is answered, for a
/// standby that does not exist; and when it is stopped from waiting, the change is there all the same.
#[tokio::test]
async fn a_commit_whose_end_is_not_known_is_an_error_and_never_won() {
    let server = Server::start(&[]);
    let url = server.database().await;
    let store = PostgresStore::open(&url).await.unwrap();
    let alice = key("alice");
    make(&store, &alice, |draft| draft.put(factor(1, 20))).await;
    let mut shell = raw(&url).await;
    shell.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    shell.execute("SELECT pg_reload_conf()").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (committed, ()) = tokio::join!(change(&store, &alice, |draft| draft.put(factor(2, 20))), async {
        terminate_when(&mut shell, "wait_event = 'SyncRep'").await;
    });
    let error = committed.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::ConnectionLost(_)), "{error:?}");
    assert_eq!(store.load(&alice).await.unwrap().version, Version(2));
    // Nor is it told when nobody stops it: the caller gets an error in time.
    let begin = Instant::now();
    let error = change(&store, &alice, |draft| draft.put(factor(3, 20))).await.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::Timeout), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn after_all_connections_were_lost_loads_and_commits_go_on() {
    let (store, url) = store().await;
    let mut shell = raw(&url).await;
    for round in 0..5 {
        // Several connections, all of them idle.
        let mut tasks = JoinSet::new();
        for n in 0..64 {
            let store = Arc::clone(&store);
            tasks.spawn(async move { change(&store, &key(&format!("user-{n}")), |_| ()).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await, [Commit::Won; 64]);
        assert!(terminate(&mut shell, "true").await > 0);
        // The load finds out, and what comes after it has new connections.
        assert_eq!(store.load(&key("user-1")).await.unwrap().version, Version(round + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_another_transaction_keeps_locked_holds_up_its_own_change_only() {
    let (store, url) = store().await;
    for n in 0..20 {
        make(&store, &key(&format!("user-{n}")), |draft| draft.put(factor(1, 20))).await;
    }
    let mut other = raw(&url).await;
    // So many that a second round of the same connection only comes to its end if its patience is as before.
    let locked = |n: u32| n % 2 == 1;
    other
        .execute(
            "BEGIN; SELECT * FROM mfa.accounts WHERE split_part(user_id, '-', 2)::int % 2 = 1 FOR UPDATE",
        )
        .await
        .unwrap();
    for round in 0..12 {
        let mut tasks = JoinSet::new();
        for n in 0..20 {
            let store = Arc::clone(&store);
            tasks
                .spawn(async move { ((n, round), change(&store, &key(&format!("user-{n}")), |_| ()).await) });
        }
        assert_only_locked_fail(tasks.join_all().await, |(n, _)| locked(n), &Commit::Won);
    }
    other.execute("ROLLBACK").await.unwrap();
    make(&store, &key("user-7"), |_| ()).await;
}

#[tokio::test]
async fn a_row_that_was_changed_while_a_commit_waited_for_it_is_a_conflict() {
    let (store, url) = store().await;
    let alice = key("alice");
    make(&store, &alice, |draft| draft.put(factor(1, 20))).await;
    let mut other = raw(&url).await;
    other.execute("BEGIN; UPDATE mfa.accounts SET version = version + 1").await.unwrap();
    let (committed, ()) = tokio::join!(change(&store, &alice, |draft| draft.put(factor(2, 20))), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute("COMMIT").await.unwrap();
    });
    assert_eq!(committed.unwrap(), Commit::Conflict);
    let read = store.load(&alice).await.unwrap();
    assert_eq!(read.value.factors, [factor(1, 20)], "a part of a change that lost was made");
    // A change that was taken back is none.
    other.execute("BEGIN; UPDATE mfa.accounts SET version = version + 1").await.unwrap();
    let (committed, ()) = tokio::join!(change(&store, &alice, |draft| draft.put(factor(3, 20))), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute("ROLLBACK").await.unwrap();
    });
    assert_eq!(committed.unwrap(), Commit::Won);
    assert_eq!(store.load(&alice).await.unwrap().value.factors, [factor(3, 20)]);
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_an_error_within_two_seconds() {
    let (_, url) = store().await;
    let patient = Duration::from_secs(30);
    let options =
        PostgresOptions { statement_timeout: patient, lock_timeout: patient, ..PostgresOptions::default() };
    let store = PostgresStore::open_with(&url, &options).await.unwrap();
    make(&store, &key("alice"), |_| ()).await;
    let mut other = raw(&url).await;
    other.execute("BEGIN; LOCK TABLE mfa.accounts IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begin = Instant::now();
    let (alice, bob) = (key("alice"), key("bob"));
    let delta = delta(&Account::default(), &bob, |_| ());
    let (loaded, committed) = tokio::join!(store.load(&alice), store.commit(&bob, Version(0), &delta));
    for error in [loaded.unwrap_err(), committed.unwrap_err()] {
        assert!(matches!(inner(&error), PostgresError::Timeout), "{error:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    other.execute("ROLLBACK").await.unwrap();
    make(&store, &alice, |_| ()).await;
}

#[tokio::test]
async fn a_server_that_was_stopped_is_an_error_in_time_and_one_that_is_back_is_used_again() {
    let server = Server::start(&[]);
    let url = server.database().await;
    let store = PostgresStore::open(&url).await.unwrap();
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    server.stop();
    for _ in 0..2 {
        let begin = Instant::now();
        let error = store.load(&key("alice")).await.unwrap_err();
        let lost = matches!(
            inner(&error),
            PostgresError::ConnectionLost(_)
                | PostgresError::NoConnection(_)
                | PostgresError::Unreachable { .. }
        );
        assert!(lost, "{error:?}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
    server.start_again();
    let begin = Instant::now();
    let read = loop {
        match store.load(&key("alice")).await {
            Ok(read) => break read,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(10), "{error:?}"),
        }
    };
    assert_eq!(read.value.factors, [factor(1, 20)]);
    make(&store, &key("alice"), |draft| draft.put(factor(2, 20))).await;
}

/// Ids are given before a transaction is committed, and one that got its ids early may commit late.
#[tokio::test]
async fn no_page_passes_an_event_that_is_not_committed_yet() {
    let (store, url) = store().await;
    for user in ["alice", "bob"] {
        make(&store, &key(user), |_| ()).await;
    }
    let query = EventQuery { tenant: key("alice").tenant, user: None, after: None, limit: 10 };
    let mut late = raw(&url).await;
    late.execute(
        "BEGIN; INSERT INTO mfa.events (tenant_id, account_id, sequence, at, kind, actor, detail, previous, hash)
         SELECT tenant_id, account_id, 2, at, kind, actor, detail, previous, hash FROM mfa.events LIMIT 1",
    )
    .await
    .unwrap();
    make(&store, &key("bob"), |_| ()).await;
    // It is not known what comes before bob's second event, so nothing is told of it.
    let error = store.events(&query).await.unwrap_err();
    let process: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut late).await.unwrap();
    assert!(
        matches!(inner(&error), PostgresError::Unsettled { process: found } if *found == process),
        "{error:?}"
    );
    let (page, ()) = tokio::join!(store.events(&query), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        late.execute("COMMIT").await.unwrap();
    });
    let events = page.unwrap().events;
    assert_eq!(events.len(), 4, "{events:?}");
    assert!(events.is_sorted_by_key(|event| event.position));
    // Nor does whoever begins after the last event pass one.
    late.execute(
        "BEGIN; INSERT INTO mfa.events (tenant_id, account_id, sequence, at, kind, actor, detail, previous, hash)
         SELECT tenant_id, account_id, 3, at, kind, actor, detail, previous, hash FROM mfa.events LIMIT 1",
    )
    .await
    .unwrap();
    let error = store.last_event().await.unwrap_err();
    assert!(matches!(inner(&error), PostgresError::Unsettled { .. }), "{error:?}");
    late.execute("ROLLBACK").await.unwrap();
    store.last_event().await.unwrap();
    // Whoever only reads, and whoever writes elsewhere, is not waited for.
    let mut others = raw(&url).await;
    others.execute("BEGIN; SELECT * FROM mfa.events; CREATE TABLE elsewhere (n int)").await.unwrap();
    assert_eq!(store.events(&query).await.unwrap().events.len(), 4);
}

#[tokio::test]
async fn a_commit_is_made_even_if_nobody_waits_for_it() {
    let (store, _) = store().await;
    let alice = key("alice");
    let delta = delta(&Account::default(), &alice, |_| ());
    // It is polled once, which queues it, and dropped.
    let mut commit = store.commit(&alice, Version(0), &delta);
    let polled = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
    assert!(polled.is_pending(), "it was made before anybody could go away");
    drop(commit);
    for _ in 0..100 {
        if store.load(&alice).await.unwrap().version == Version(1) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was not made");
}

/// Each endpoint follows the trail, and waits for writers with a connection in its hand.
#[tokio::test]
async fn however_many_follow_the_trail_others_get_connections() {
    let (_, url) = store().await;
    let options = PostgresOptions {
        max_connections: 4,
        acquire_timeout: Duration::from_secs(5),
        call_timeout: Duration::from_mins(1),
        ..PostgresOptions::default()
    };
    let store = Arc::new(PostgresStore::open_with(&url, &options).await.unwrap());
    make(&store, &key("alice"), |_| ()).await;
    let mut writer = raw(&url).await;
    writer.execute("BEGIN; LOCK TABLE mfa.events IN ROW EXCLUSIVE MODE").await.unwrap();
    let mut followers = JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        followers.spawn(async move { store.trail(EventPosition(0), 10).await });
    }
    // They are before us in every queue.
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.load(&key("alice")).await.expect("all connections follow the trail");
    store.list(None).await.expect("all connections follow the trail");
    assert!(followers.try_join_next().is_none(), "one did not wait");
    writer.execute("COMMIT").await.unwrap();
    for page in followers.join_all().await {
        assert_eq!(page.unwrap().events.len(), 1);
    }
}
