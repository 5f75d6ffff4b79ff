//! Poolers in front of the server: what is promised holds, or the store is not opened.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use mfa_domain::ports::{AccountStore, ApiKeyId, ApiKeyStore, ChallengeStore, Commit, Throttle, ThrottleKey};
use mfa_domain::quota::{Charge, Quota};
use mfa_domain::{Account, Challenge, Version};
use mfa_store_postgres::{PostgresError, PostgresStore};
use mfa_testkit::{
    Violation, account_store, api_key_store, challenge_store, delivery_store, outbox, throttle,
};
use sqlx::Executor;

use crate::support::pgbouncer::PgBouncer;
use crate::support::pooler::{DISCARD, ENCODINGS, FORGETFUL, HOSTILE, NOTHING, OTHER_ROLE, Pooler, SILENT};
use crate::support::server::Server;
use crate::support::{challenge, change, end, factor, inner, key, make, now, patient, raw};

/// The name of a new database, whose server is up.
async fn database(server: &Server) -> String {
    server.database().await.rsplit('/').next().unwrap().to_owned()
}

/// What is promised to one caller at a time, and to many of two stores where codes and challenges count once.
async fn keeps_the_contracts(url: &str) -> Result<(), Violation> {
    let (one, other) = (patient(url).await, patient(url).await);
    account_store::basic(one.as_ref()).await?;
    api_key_store::basic(one.as_ref()).await?;
    challenge_store::basic(one.as_ref()).await?;
    delivery_store::basic(one.as_ref()).await?;
    throttle::basic(one.as_ref()).await?;
    account_store::race(one.clone(), other.clone()).await?;
    outbox::race(one.clone(), other.clone()).await?;
    challenge_store::race(one.clone(), other.clone()).await?;
    delivery_store::race(one, other).await
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_hold_though_sessions_are_anybodys() {
    let server = Server::start(&["fsync=off"]);
    let database = database(&server).await;
    let others = &[HOSTILE, DISCARD, SILENT, DISCARD, ENCODINGS[0], DISCARD, OTHER_ROLE, DISCARD];
    let pooler = Pooler::to(server.socket(), others).await;
    keeps_the_contracts(&pooler.url(&database)).await.unwrap();
    assert!(pooler.between() > 1000, "somebody else had a session {} times", pooler.between());
}

/// In a session that reads LATIN1 the two bytes of an `Ä` are two letters, and so another user.
#[tokio::test(flavor = "multi_thread")]
async fn who_a_user_is_does_not_rest_on_the_encoding_of_a_session() {
    let server = Server::start(&["fsync=off"]);
    let database = database(&server).await;
    let direct = PostgresStore::open(&server.url(&database)).await.unwrap();
    let user = key("Älice-Łž");
    make(&direct, &user, |draft| draft.put(factor(1, 20))).await;
    let challenge = |number| Challenge { user: Some(user.user.clone()), ..challenge(number, now()) };
    let quota = Quota::new(5, Duration::from_hours(5)).unwrap();
    for (number, encoding) in (0..).zip(&ENCODINGS) {
        let pooler = Pooler::to(server.socket(), std::slice::from_ref(encoding)).await;
        let store = PostgresStore::open(&pooler.url(&database)).await.unwrap();
        let found = store.load(&user).await.unwrap();
        assert_eq!(found, direct.load(&user).await.unwrap(), "{encoding}");
        let again = mfa_testkit::changes::delta(&Account::default(), &user, |draft| draft.put(factor(2, 20)));
        let new = store.commit(&user, Version::default(), &again).await.unwrap();
        assert_eq!(new, Commit::Conflict, "{encoding}");
        make(&store, &user, |draft| draft.put(factor(2, 20))).await;
        for (one, other, way) in [(&store, &direct, 0), (&direct, &store, 1)] {
            let kept = challenge(2 * number + way);
            one.put(&kept).await.unwrap();
            assert_eq!(other.get(&kept.id).await.unwrap().unwrap().value, kept, "{encoding}");
            assert_eq!(end(other, &kept.id).await.unwrap(), Some(kept), "{encoding}");
        }
        let charged = store.charge(&ThrottleKey::user(&user), quota, now()).await.unwrap();
        assert_eq!(charged, Charge::Admitted, "{encoding}");
    }
    let charged = [
        direct.charge(&ThrottleKey::user(&user), quota, now()).await.unwrap(),
        direct.charge(&ThrottleKey::user(&user), quota, now()).await.unwrap(),
    ];
    assert!(matches!(charged, [Charge::Admitted, Charge::Refused { .. }]), "{charged:?}");
    let users = "SELECT user_id FROM mfa.accounts";
    let users: Vec<String> =
        sqlx::query_scalar(users).fetch_all(&mut raw(&server.url(&database)).await).await.unwrap();
    assert_eq!(users, ["Älice-Łž"]);
}

/// The database forgets what it was told last, unless each commit says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlasts_a_crash_though_sessions_forget() {
    let server = Server::start(&["synchronous_commit=off", "wal_writer_delay=10s"]);
    let database = database(&server).await;
    for statements in [&[FORGETFUL][..], &[HOSTILE], &[DISCARD]] {
        let pooler = Pooler::to(server.socket(), statements).await;
        let store = PostgresStore::open(&pooler.url(&database)).await.unwrap();
        let alice = key("alice");
        for n in 0..3 {
            make(&store, &alice, |draft| draft.put(factor(n, 20))).await;
            let before = store.load(&alice).await.unwrap();
            server.crash();
            server.start_again();
            drop(server.connect().await);
            let after = loop {
                // Its connections were lost.
                if let Ok(after) = store.load(&alice).await {
                    break after;
                }
            };
            assert_eq!(after, before, "{statements:?}");
        }
    }
}

/// Leaves a table behind where a session holds what others would find.
const CHECK: &str = "DO $$ BEGIN
    IF (SELECT count(*) FROM pg_settings WHERE source = 'session'
            AND name NOT IN ('statement_timeout', 'role', 'session_authorization')) > 0
        OR EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
    THEN CREATE TABLE IF NOT EXISTS public.left_behind (); END IF;
END $$";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_set_reaches_others() {
    let server = Server::start(&["fsync=off"]);
    let database = database(&server).await;
    let pooler = Pooler::to(server.socket(), &[CHECK]).await;
    let store = PostgresStore::open(&pooler.url(&database)).await.unwrap();
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    drop(store.turn().await.unwrap());
    challenge_store::basic(&store).await.unwrap();
    // What is left in a session stays there, so now and then is often enough for thousands of transactions.
    let pooler = Pooler::to(server.socket(), &[NOTHING, NOTHING, NOTHING, NOTHING, CHECK]).await;
    let store = PostgresStore::open(&pooler.url(&database)).await.unwrap();
    account_store::basic(&store).await.unwrap();
    let left = "SELECT to_regclass('public.left_behind')::text";
    let left: Option<String> =
        sqlx::query_scalar(left).fetch_one(&mut raw(&server.url(&database)).await).await.unwrap();
    assert_eq!(left, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn races_hold_behind_pgbouncer_in_session_mode() {
    let server = Server::start(&["fsync=off"]);
    let database = database(&server).await;
    let pooler = PgBouncer::start(&server, "session");
    let url = pooler.url(&database);
    let (one, other) = (patient(&url).await, patient(&url).await);
    throttle::basic(one.as_ref()).await.unwrap();
    account_store::race(one.clone(), other.clone()).await.unwrap();
    challenge_store::race(one.clone(), other.clone()).await.unwrap();
    delivery_store::race(one, other).await.unwrap();
}

/// PgBouncer before 1.21 does not know which session has which prepared statement.
#[tokio::test]
async fn a_pooler_that_keeps_no_prepared_statements_is_refused_before_anything_is_changed() {
    let server = Server::start(&[]);
    let database = database(&server).await;
    let pooler = PgBouncer::start(&server, "transaction");
    let error = PostgresStore::open(&pooler.url(&database)).await.expect_err("it was opened");
    assert!(matches!(error, PostgresError::NoPreparedStatements), "{error:?}");
    assert!(error.to_string().contains("pool_mode = session"), "{error}");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'mfa'";
    let schemas: i64 =
        sqlx::query_scalar(schemas).fetch_one(&mut raw(&server.url(&database)).await).await.unwrap();
    assert_eq!(schemas, 0);
    // What it says of a server that is away is told as what it says.
    server.stop();
    let error = PostgresStore::open(&pooler.url(&database)).await.expect_err("it was opened");
    assert!(!matches!(error, PostgresError::NoPreparedStatements), "{error:?}");
}

/// A pooler that leads to a standby now has connections that were made before, and so has a server that was
/// made read-only. Reads are refused as well: on a standby they could be old.
#[tokio::test]
async fn nothing_is_read_where_nothing_can_be_written() {
    let server = Server::start(&[]);
    let url = server.database().await;
    let store = PostgresStore::open(&url).await.unwrap();
    make(&store, &key("alice"), |_| ()).await;
    let mut admin = server.connect().await;
    admin.execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    admin.execute("SELECT pg_reload_conf()").await.unwrap();
    let nobody = ApiKeyId::new("nobody").unwrap();
    // The setting takes hold some moments later.
    while store.load(&key("alice")).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for error in [
        store.load(&key("alice")).await.unwrap_err(),
        ApiKeyStore::find(&store, &nobody).await.unwrap_err(),
        store.list(None).await.unwrap_err(),
        store.keys_in_use().await.unwrap_err(),
        change(&store, &key("alice"), |_| ()).await.unwrap_err(),
    ] {
        assert!(matches!(inner(&error), PostgresError::ReadOnly), "{error:?}");
    }
    admin.execute("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
    admin.execute("SELECT pg_reload_conf()").await.unwrap();
    while store.load(&key("alice")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    make(&store, &key("alice"), |_| ()).await;
}
