//! The store keeps the contracts, on one handle and on two that have nothing in common but the database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{AccountPage, AccountQuery, AccountStore, Commit, EventPage, EventQuery, StoreError};
use mfa_domain::{Account, AccountKey, AuditHead, Delta, Handle, KeyId, TenantId, Version, Versioned};
use mfa_store_postgres::PostgresStore;
use mfa_testkit::{
    Violation, account_store, api_key_store, challenge_store, delivery_store, outbox, reference_clock,
    sent_codes, throttle,
};

use crate::support;

/// Two stores on one new database, as two processes have them.
async fn replicas() -> (Arc<PostgresStore>, Arc<PostgresStore>) {
    let (_, url) = support::store().await;
    (support::patient(&url).await, support::patient(&url).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn for_one_caller_at_a_time() -> Result<(), Violation> {
    let (store, _) = replicas().await;
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
    reference_clock::basic(store.as_ref()).await?;
    throttle::time(store.as_ref()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn for_many_callers_of_two_stores_on_one_database() -> Result<(), Violation> {
    let (one, other) = replicas().await;
    account_store::race(one.clone(), other.clone()).await?;
    outbox::race(one.clone(), other.clone()).await?;
    api_key_store::race(one.clone(), other.clone()).await?;
    challenge_store::race(one.clone(), other.clone()).await?;
    delivery_store::race(one.clone(), other.clone()).await?;
    sent_codes::suite([one.clone(), other.clone()], [one.clone(), other.clone()]).await?;
    throttle::race(one, other).await
}

/// The guard in the statement is what the race suite rests on: a store that compares in memory and then
/// writes, on the same tables, fails it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_compares_in_memory_fails() {
    let (one, other) = replicas().await;
    let (one, other) = (Arc::new(Naive(one)), Arc::new(Naive(other)));
    let violation = account_store::race(one, other).await.unwrap_err().to_string();
    assert!(violation.contains("of 16 commits at one version won"), "{violation}");
}

struct Naive(Arc<PostgresStore>);

#[async_trait]
impl AccountStore for Naive {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.0.load(key).await
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        if self.load(key).await?.version != expected {
            return Ok(Commit::Conflict);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        // Whatever is there by now is overwritten; of its events only the first ones have a place.
        let commit = self.0.commit(key, expected, delta).await?;
        Ok(if commit == Commit::HandleTaken { commit } else { Commit::Won })
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        self.0.find(tenant, handle).await
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        self.0.page(query).await
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.0.events(query).await
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        self.0.trim(key, from, to).await
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        self.0.keys_in_use().await
    }
}

impl fmt::Debug for Naive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Naive(..)")
    }
}
