//! The naive store does everything right for one caller, and nothing for many: each check of the
//! race suite must say so, or it checks nothing.

use std::sync::Arc;

use mfa_testkit::account_store::race::{self, Stores};
use mfa_testkit::{NaiveStore, Violation, account_store};

#[tokio::test]
async fn for_one_caller_it_keeps_the_contract() -> Result<(), Violation> {
    let store = NaiveStore::default();
    account_store::basic(&store).await?;
    account_store::time(&store).await
}

/// One test for each check that must fail, all on a store of their own.
macro_rules! must_fail {
    ($($check:ident: $because:literal,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $check() {
            let store = NaiveStore::default();
            let stores: Stores = [Arc::new(store.clone()), Arc::new(store)];
            let violation = race::$check(&stores).await.expect_err("the check passed");
            assert!(violation.to_string().contains($because), "{violation}");
        }
    )+};
}

must_fail! {
    one_commit_wins_each_version: "commits at one version won",
    a_totp_code_is_accepted_once: "one code was accepted",
    an_hotp_code_is_accepted_once: "one code was accepted",
    a_backup_code_is_accepted_once: "one code was accepted",
    backup_codes_at_the_same_time_are_all_spent: "a backup code is still good",
    logins_that_are_posted_twice_cost_nothing: "of two posts",
    every_wrong_code_is_counted: "wrong codes were evaluated before the account was locked",
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_as_a_whole_fails() {
    let store = NaiveStore::default();
    let raced = account_store::race(Arc::new(store.clone()), Arc::new(store)).await;
    let violation = raced.expect_err("the suite passed");
    assert!(violation.to_string().starts_with("one_commit_wins_each_version"), "{violation}");
}

#[tokio::test]
async fn a_race_on_one_thread_is_refused() {
    let store = NaiveStore::default();
    let raced = account_store::race(Arc::new(store.clone()), Arc::new(store)).await;
    assert!(raced.expect_err("it raced").to_string().contains("multi-thread"));
}
