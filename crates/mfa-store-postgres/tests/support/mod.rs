//! Changes to commit, and what a store's error was.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use mfa_domain::AccountKey;
use mfa_domain::account::Draft;
use mfa_domain::ports::{Commit, StoreError};
use mfa_store_postgres::{PostgresError, PostgresOptions, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use mfa_testkit::changes::{challenge, delta, end, factor, key, message, now, over};

pub(crate) mod pgbouncer;
pub(crate) mod pooler;
pub(crate) mod server;

/// A store with time for everything, where a test is about what is promised and not how soon.
pub(crate) async fn patient(url: &str) -> Arc<PostgresStore> {
    let (acquire_timeout, lock_timeout) = (Duration::from_secs(20), Duration::from_secs(20));
    let (statement_timeout, call_timeout) = (Duration::from_secs(25), Duration::from_secs(28));
    let options = PostgresOptions {
        acquire_timeout,
        lock_timeout,
        statement_timeout,
        call_timeout,
        ..PostgresOptions::default()
    };
    Arc::new(PostgresStore::open_with(url, &options).await.unwrap())
}

/// Changes an account as it stands.
pub(crate) async fn change(
    store: &PostgresStore,
    key: &AccountKey,
    edit: impl FnOnce(&mut Draft<'_>),
) -> Result<Commit, StoreError> {
    mfa_testkit::changes::change(store, key, edit).await
}

/// Changes an account as it stands, when nothing can be in the way.
pub(crate) async fn make(store: &PostgresStore, key: &AccountKey, edit: impl FnOnce(&mut Draft<'_>)) {
    assert_eq!(change(store, key, edit).await.unwrap(), Commit::Won);
}

/// What the store says inside its opaque error.
pub(crate) fn inner(error: &StoreError) -> &PostgresError {
    error.source().and_then(|source| source.downcast_ref()).expect("an error of this store")
}

/// Of calls for different rows, only those for rows that another transaction keeps locked may fail.
pub(crate) fn assert_only_locked_fail<N: Copy + Debug, T: Debug + PartialEq>(
    results: Vec<(N, Result<T, StoreError>)>,
    locked: impl Fn(N) -> bool,
    outcome: &T,
) {
    for (n, result) in results {
        if locked(n) {
            let error = result.unwrap_err();
            assert!(matches!(inner(&error), PostgresError::Locked), "{error:?}");
        } else {
            assert_eq!(result.unwrap(), *outcome, "{n:?}");
        }
    }
}

/// How many transactions have written the rows of a table as they are now.
pub(crate) async fn transactions(shell: &mut PgConnection, table: &str) -> i64 {
    let count = AssertSqlSafe(format!("SELECT count(DISTINCT xmin::text) FROM {table}"));
    sqlx::query_scalar(count).fetch_one(shell).await.unwrap()
}

/// Returns once a connection of the store waits for a lock in this database.
pub(crate) async fn until_one_waits_for_a_lock(shell: &mut PgConnection) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND application_name = 'mfa' AND datname = current_database()";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *shell).await.unwrap() == 0 {}
}

/// A connection that knows nothing of the store.
pub(crate) async fn raw(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// A store on a new, empty database, and the URL of that.
pub(crate) async fn store() -> (Arc<PostgresStore>, String) {
    let url = server::database().await;
    (Arc::new(PostgresStore::open(&url).await.unwrap()), url)
}
