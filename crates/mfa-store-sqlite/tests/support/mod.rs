//! Changes to commit, and what a store's error was.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::error::Error;
use std::path::Path;

use mfa_domain::AccountKey;
use mfa_domain::account::Draft;
use mfa_domain::ports::{Commit, StoreError};
use mfa_store_sqlite::{SqliteError, SqliteStore};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use mfa_testkit::changes::{challenge, delta, end, factor, key, now};

/// Changes an account as it stands.
pub(crate) async fn change(
    store: &SqliteStore,
    key: &AccountKey,
    edit: impl FnOnce(&mut Draft<'_>),
) -> Result<Commit, StoreError> {
    mfa_testkit::changes::change(store, key, edit).await
}

/// Changes an account as it stands, when nothing can be in the way.
pub(crate) async fn make(store: &SqliteStore, key: &AccountKey, edit: impl FnOnce(&mut Draft<'_>)) {
    assert_eq!(change(store, key, edit).await.unwrap(), Commit::Won);
}

/// What the store says inside its opaque error.
pub(crate) fn inner(error: &StoreError) -> &SqliteError {
    error.source().and_then(|source| source.downcast_ref()).expect("an error of this store")
}

/// A connection that knows nothing of the store.
pub(crate) async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}
