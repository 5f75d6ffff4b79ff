//! The store keeps the contracts.

use std::sync::Arc;

use mfa_store_memory::{MemoryChallenges, MemoryStore, MemoryThrottle};
use mfa_testkit::{
    Violation, account_store, api_key_store, challenge_store, delivery_store, outbox, sent_codes, throttle,
};

#[tokio::test]
async fn for_one_caller_at_a_time() -> Result<(), Violation> {
    let store = MemoryStore::default();
    account_store::basic(&store).await?;
    account_store::time(&store).await?;
    outbox::basic(&store).await?;
    outbox::time(&store).await?;
    api_key_store::basic(&store).await?;
    delivery_store::basic(&store).await?;
    delivery_store::time(&store).await
}

#[tokio::test(flavor = "multi_thread")]
async fn for_many_callers() -> Result<(), Violation> {
    let store = MemoryStore::default();
    account_store::race(Arc::new(store.clone()), Arc::new(store.clone())).await?;
    outbox::race(Arc::new(store.clone()), Arc::new(store.clone())).await?;
    api_key_store::race(Arc::new(store.clone()), Arc::new(store.clone())).await?;
    delivery_store::race(Arc::new(store.clone()), Arc::new(store)).await
}

#[tokio::test]
async fn of_a_throttle_for_one_caller_at_a_time() -> Result<(), Violation> {
    let store = MemoryThrottle::default();
    throttle::basic(&store).await?;
    throttle::time(&store).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_throttle_for_many_callers() -> Result<(), Violation> {
    let store = MemoryThrottle::default();
    throttle::race(Arc::new(store.clone()), Arc::new(store)).await
}

#[tokio::test]
async fn of_challenges_for_one_caller_at_a_time() -> Result<(), Violation> {
    let store = MemoryChallenges::default();
    challenge_store::basic(&store).await?;
    challenge_store::time(&store).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_challenges_for_many_callers() -> Result<(), Violation> {
    let store = MemoryChallenges::default();
    challenge_store::race(Arc::new(store.clone()), Arc::new(store)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_codes_that_are_sent() -> Result<(), Violation> {
    let (accounts, challenges) = (MemoryStore::default(), MemoryChallenges::default());
    sent_codes::suite(
        [Arc::new(accounts.clone()), Arc::new(accounts)],
        [Arc::new(challenges.clone()), Arc::new(challenges)],
    )
    .await
}
