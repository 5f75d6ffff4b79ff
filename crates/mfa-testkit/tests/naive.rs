//! The naive store does everything right for one caller, and nothing for many: each check of the
//! race suite must say so, or it checks nothing.

use std::sync::Arc;

use mfa_testkit::{NaiveStore, Violation, account_store, outbox};

#[tokio::test]
async fn for_one_caller_it_keeps_the_contract() -> Result<(), Violation> {
    let store = NaiveStore::default();
    account_store::basic(&store).await?;
    account_store::time(&store).await?;
    outbox::basic(&store).await?;
    outbox::time(&store).await
}

/// One test for each check that must fail, all on a store of their own.
macro_rules! must_fail {
    ($suite:ident, $($check:ident: $because:literal,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $check() {
            // A few rounds may pass by chance.
            for _ in 0..10 {
                let store = NaiveStore::default();
                let stores: $suite::race::Stores = [Arc::new(store.clone()), Arc::new(store)];
                if let Err(violation) = $suite::race::$check(&stores).await {
                    assert!(violation.to_string().contains($because), "{violation}");
                    return;
                }
            }
            panic!("the check passed");
        }
    )+};
}

must_fail! {
    account_store,
    one_commit_wins_each_version: "commits at one version won",
    a_totp_code_is_accepted_once: "one code was accepted",
    an_hotp_code_is_accepted_once: "one code was accepted",
    a_backup_code_is_accepted_once: "one code was accepted",
    backup_codes_at_the_same_time_are_all_spent: "a backup code is still good",
    logins_that_are_posted_twice_cost_nothing: "of two posts",
    every_wrong_code_is_counted: "wrong codes were evaluated before the account was locked",
}

must_fail! {
    outbox,
    each_message_is_given_once: "one message was given",
    one_swap_wins_each_version: "swaps of one version won",
    a_claim_and_a_swap_do_not_both_win: "have claimed or swapped one message at one version",
    what_takes_a_place_is_not_lost: "a message that took the place of another is lost",
    of_many_commits_one_puts_its_message: "commits at one version have put a message",
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suites_as_a_whole_fail() {
    let store = Arc::new(NaiveStore::default());
    let raced = account_store::race(store.clone(), store.clone()).await;
    let violation = raced.expect_err("the suite passed");
    assert!(violation.to_string().starts_with("one_commit_wins_each_version"), "{violation}");
    let violation = outbox::race(store.clone(), store).await.expect_err("the suite passed");
    assert!(violation.to_string().starts_with("each_message_is_given_once"), "{violation}");
}

#[tokio::test]
async fn a_race_on_one_thread_is_refused() {
    let store = NaiveStore::default();
    let raced = account_store::race(Arc::new(store.clone()), Arc::new(store)).await;
    assert!(raced.expect_err("it raced").to_string().contains("multi-thread"));
}
