//! Contract suites for [`AccountStore`].
//!
//! Run each suite once, on a store that is empty or was only used by other suites of this crate: every check
//! uses tenants of its own, named after it.

use std::sync::Arc;

use mfa_domain::ports::AccountStore;

use crate::Violation;

mod basic;
mod handles;
mod pages;
pub mod race;
mod retention;
mod samples;
mod subject;
mod time;
mod trail;

/// Checks the contract for one caller at a time: every field of every kind of change is read back, the
/// version guards a commit, no version is reused, each handle leads to one account, accounts and events are
/// paged, trails are trimmed.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn basic(store: &dyn AccountStore) -> Result<(), Violation> {
    basic::basic(store).await?;
    handles::handles(store).await?;
    pages::pages(store).await?;
    trail::trail(store).await?;
    retention::retention(store).await
}

/// Checks that the store uses no clock of its own: it keeps every time as given, however distant, and nothing
/// stored changes as time passes.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn time(store: &dyn AccountStore) -> Result<(), Violation> {
    time::time(store).await
}

/// Checks the contract for concurrent callers.
///
/// `one` and `other` are two handles on the same store, like those of two replicas; use two real connections
/// if the store has connections. Callers of one handle race as well. Requires a multi-thread runtime:
/// `#[tokio::test(flavor = "multi_thread")]`.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn race(one: Arc<dyn AccountStore>, other: Arc<dyn AccountStore>) -> Result<(), Violation> {
    race::race(&[one, other]).await
}
