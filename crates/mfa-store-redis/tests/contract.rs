//! The store keeps the contracts, on one handle and on two that have nothing in common but the servers:
//! one, a cluster, and a primary whose replica must have every change.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{AccountPage, AccountQuery, AccountStore, Commit, EventPage, EventQuery, StoreError};
use mfa_domain::{Account, AccountKey, AuditHead, Delta, Handle, KeyId, TenantId, Version, Versioned};
use mfa_store_redis::RedisStore;
use mfa_testkit::{Violation, account_store, api_key_store, outbox, reference_clock, sent_codes};

use crate::support::server::{self, Cluster, DURABLE, Sentinels};
use crate::support::{open, open_ephemeral};

/// Two stores on one namespace, as two processes have them.
async fn replicas(url: &str) -> (Arc<RedisStore>, Arc<RedisStore>) {
    (open(url).await, open(url).await)
}

async fn keeps_the_contracts(url: &str) -> Result<(), Violation> {
    let (one, other) = replicas(url).await;
    account_store::basic(one.as_ref()).await?;
    reference_clock::basic(one.as_ref()).await?;
    account_store::time(one.as_ref()).await?;
    account_store::race(one.clone(), other.clone()).await?;
    outbox::basic(one.as_ref()).await?;
    outbox::time(one.as_ref()).await?;
    outbox::race(one.clone(), other.clone()).await?;
    api_key_store::basic(one.as_ref()).await?;
    api_key_store::race(one, other).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_server() -> Result<(), Violation> {
    keeps_the_contracts(&server::url()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_codes_that_are_sent() -> Result<(), Violation> {
    let url = server::url();
    let (one, other) = replicas(&url).await;
    sent_codes::suite([one, other], [open_ephemeral(&url).await, open_ephemeral(&url).await]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_whose_replicas_must_have_every_change() -> Result<(), Violation> {
    let [appendonly, appendfsync] = DURABLE;
    let cluster = Cluster::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    keeps_the_contracts(&server::with(&cluster.url(), "replicas=1")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sentinels_and_a_replica_that_must_have_every_change() -> Result<(), Violation> {
    let [appendonly, appendfsync] = DURABLE;
    let sentinels = Sentinels::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    let (one, other) = replicas(&server::with(&sentinels.url(), "replicas=1")).await;
    // The scripts are those of one server. What differs is where they are sent, and who must have what they did.
    account_store::basic(one.as_ref()).await?;
    outbox::basic(one.as_ref()).await?;
    api_key_store::basic(one.as_ref()).await?;
    account_store::race(one, other).await
}

/// The guard in the script is what the race suite rests on: a store that compares in memory and then writes,
/// on the same keys, fails it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_compares_in_memory_fails() {
    let (one, other) = replicas(&server::url()).await;
    let (one, other) = (Arc::new(Naive(one)), Arc::new(Naive(other)));
    let violation = account_store::race(one, other).await.unwrap_err().to_string();
    assert!(violation.contains("of 16 commits at one version won"), "{violation}");
}

struct Naive(Arc<RedisStore>);

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
