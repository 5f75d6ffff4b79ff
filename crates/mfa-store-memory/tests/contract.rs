//! The store keeps the contracts.

use std::sync::Arc;

use mfa_store_memory::MemoryStore;
use mfa_testkit::{Violation, account_store, api_key_store};

#[tokio::test]
async fn for_one_caller_at_a_time() -> Result<(), Violation> {
    let store = MemoryStore::default();
    account_store::basic(&store).await?;
    account_store::time(&store).await?;
    api_key_store::basic(&store).await
}

#[tokio::test(flavor = "multi_thread")]
async fn for_many_callers() -> Result<(), Violation> {
    let store = MemoryStore::default();
    account_store::race(Arc::new(store.clone()), Arc::new(store.clone())).await?;
    api_key_store::race(Arc::new(store.clone()), Arc::new(store)).await
}
