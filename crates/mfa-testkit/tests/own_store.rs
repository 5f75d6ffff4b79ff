//! The store of the documentation keeps what the documentation says.

use std::sync::Arc;

use mfa_testkit::account_store;

#[path = "../examples/own_store.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is a program")]
mod example;

use example::OwnStore;

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_the_example_passes_the_suites() {
    let store = OwnStore::default();
    account_store::basic(&store).await.unwrap();
    account_store::time(&store).await.unwrap();
    account_store::race(Arc::new(store.clone()), Arc::new(store)).await.unwrap();
}

#[test]
fn it_is_no_longer_than_200_lines() {
    assert!(include_str!("../examples/own_store.rs").lines().count() <= 200);
}
