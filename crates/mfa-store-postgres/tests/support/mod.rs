//! Changes to commit, and what a store's error was.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::error::Error;
use std::sync::Arc;

use mfa_domain::account::{Context, Draft};
use mfa_domain::otp_core::Hotp;
use mfa_domain::ports::{AccountStore, Commit, StoreError};
use mfa_domain::{
    Account, AccountKey, Actor, Authenticator, Delta, EventKind, Factor, FactorId, FactorState, HotpDevice,
    KeyId, Label, Policies, Sealed, TenantId, Timestamp, UserId, Versioned,
};
use mfa_store_postgres::{PostgresError, PostgresStore};
use sqlx::{Connection, PgConnection};

pub(crate) mod server;

pub(crate) fn key(user: &str) -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new(user).unwrap())
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000)
}

/// An HOTP factor; its secret is as long as it is asked to be.
pub(crate) fn factor(counter: u64, secret: usize) -> Factor {
    Factor {
        id: FactorId::fresh(now(), &[1; 10]),
        label: Label::new("Token").unwrap(),
        state: FactorState::Active,
        created_at: now(),
        last_used_at: None,
        authenticator: Authenticator::Hotp(HotpDevice {
            hotp: Hotp::default(),
            secret: Sealed { key: KeyId::new("k1"), bytes: vec![7; secret] },
            counter,
        }),
    }
}

pub(crate) fn delta(account: &Account, key: &AccountKey, edit: impl FnOnce(&mut Draft<'_>)) -> Delta {
    let (policies, actor) = (Policies::default(), Actor::user("test"));
    let mut draft = account.draft(Context { key, actor: &actor, now: now(), policies: &policies });
    draft.record(EventKind::Verified, None, []);
    edit(&mut draft);
    draft.finish().unwrap()
}

/// Changes an account as it stands.
pub(crate) async fn change(
    store: &PostgresStore,
    key: &AccountKey,
    edit: impl FnOnce(&mut Draft<'_>),
) -> Result<Commit, StoreError> {
    let Versioned { value, version } = store.load(key).await?;
    store.commit(key, version, &delta(&value, key, edit)).await
}

/// Changes an account as it stands, when nothing can be in the way.
pub(crate) async fn make(store: &PostgresStore, key: &AccountKey, edit: impl FnOnce(&mut Draft<'_>)) {
    assert_eq!(change(store, key, edit).await.unwrap(), Commit::Won);
}

/// What the store says inside its opaque error.
pub(crate) fn inner(error: &StoreError) -> &PostgresError {
    error.source().and_then(|source| source.downcast_ref()).expect("an error of this store")
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
