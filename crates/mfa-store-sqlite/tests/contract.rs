//! The store keeps the contracts, on one handle and on two that have nothing in common but the file.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use mfa_store_sqlite::SqliteStore;
use mfa_testkit::{
    Violation, account_store, api_key_store, challenge_store, delivery_store, outbox, sent_codes, throttle,
};
use tempfile::TempDir;

/// Two stores on one new file, as two processes have them.
async fn replicas() -> (Arc<SqliteStore>, Arc<SqliteStore>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    let one = SqliteStore::open(&path).await.unwrap();
    let other = SqliteStore::open(&path).await.unwrap();
    (Arc::new(one), Arc::new(other), folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn for_one_caller_at_a_time() -> Result<(), Violation> {
    let (store, _, _folder) = replicas().await;
    account_store::basic(store.as_ref()).await?;
    account_store::time(store.as_ref()).await?;
    outbox::basic(store.as_ref()).await?;
    outbox::time(store.as_ref()).await?;
    api_key_store::basic(store.as_ref()).await?;
    challenge_store::basic(store.as_ref()).await?;
    challenge_store::time(store.as_ref()).await?;
    delivery_store::basic(store.as_ref()).await?;
    delivery_store::time(store.as_ref()).await?;
    throttle::basic(store.as_ref()).await?;
    throttle::time(store.as_ref()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn for_many_callers_of_two_stores_on_one_file() -> Result<(), Violation> {
    let (one, other, _folder) = replicas().await;
    account_store::race(one.clone(), other.clone()).await?;
    outbox::race(one.clone(), other.clone()).await?;
    api_key_store::race(one.clone(), other.clone()).await?;
    challenge_store::race(one.clone(), other.clone()).await?;
    delivery_store::race(one.clone(), other.clone()).await?;
    sent_codes::suite([one.clone(), other.clone()], [one, other]).await
}
