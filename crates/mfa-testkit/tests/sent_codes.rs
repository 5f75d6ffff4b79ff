//! The suite of codes that are sent needs both stores to be right.

use std::sync::Arc;

use mfa_store_memory::{MemoryChallenges, MemoryStore};
use mfa_testkit::sent_codes::{self, Replicas};
use mfa_testkit::{NaiveChallenges, NaiveStore, Violation, outbox};

#[tokio::test(flavor = "multi_thread")]
async fn challenges_without_a_guard_let_a_code_count_twice() {
    let (accounts, challenges) = (MemoryStore::default(), NaiveChallenges::default());
    let replicas = Replicas::new(
        [Arc::new(accounts.clone()), Arc::new(accounts)],
        [Arc::new(challenges.clone()), Arc::new(challenges)],
    );
    let violation = sent_codes::a_code_is_accepted_once(&replicas).await.expect_err("the check passed");
    assert!(violation.to_string().contains("one code was accepted 2 times"), "{violation}");
    // Which sentence fails depends on who came first.
    let violation = sent_codes::five_guesses_end_a_challenge(&replicas).await.expect_err("the check passed");
    let violation = violation.to_string();
    assert!(["guesses", "failures were counted"].iter().any(|told| violation.contains(told)), "{violation}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_without_a_guard_lose_guesses() {
    let (accounts, challenges) = (NaiveStore::default(), MemoryChallenges::default());
    let replicas = Replicas::new(
        [Arc::new(accounts.clone()), Arc::new(accounts)],
        [Arc::new(challenges.clone()), Arc::new(challenges)],
    );
    let violation = sent_codes::five_guesses_end_a_challenge(&replicas).await.expect_err("the check passed");
    assert!(violation.to_string().contains("failures were counted, and not 5"), "{violation}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_without_a_guard_sends_a_code_twice() {
    let (accounts, challenges) = (NaiveStore::default(), MemoryChallenges::default());
    let replicas = Replicas::new(
        [Arc::new(accounts.clone()), Arc::new(accounts)],
        [Arc::new(challenges.clone()), Arc::new(challenges)],
    );
    let violation = sent_codes::two_replicas_send_a_code_once(&replicas).await.expect_err("the check passed");
    assert!(violation.to_string().contains("one code was sent"), "{violation}");
}

/// What a suite before has left to be sent is none of these checks' business.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_other_suites_are_left_alone() -> Result<(), Violation> {
    let (accounts, challenges) = (MemoryStore::default(), MemoryChallenges::default());
    outbox::basic(&accounts).await?;
    outbox::time(&accounts).await?;
    sent_codes::suite(
        [Arc::new(accounts.clone()), Arc::new(accounts.clone())],
        [Arc::new(challenges.clone()), Arc::new(challenges)],
    )
    .await?;
    outbox::race(Arc::new(accounts.clone()), Arc::new(accounts)).await
}
