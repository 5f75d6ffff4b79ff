//! The contract of [`AccountStore`] as code.
//!
//! Run the suites on a store that is empty or has only been through other suites of this crate,
//! each suite once: every check uses tenants of its own, named after it.

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

/// What a store does for one caller at a time: every field of every kind of change comes back, a
/// commit is guarded by the version, versions never come back, handles lead to one account each, accounts
/// and events are paged, trails are trimmed.
///
/// # Errors
/// [`Violation`] is the first sentence of the contract that does not hold.
pub async fn basic(store: &dyn AccountStore) -> Result<(), Violation> {
    basic::basic(store).await?;
    handles::handles(store).await?;
    pages::pages(store).await?;
    trail::trail(store).await?;
    retention::retention(store).await
}

/// No store consults a clock of its own: times are kept as they are given, however far they lie,
/// and nothing that was written changes as time passes.
///
/// # Errors
/// [`Violation`] is the first sentence of the contract that does not hold.
pub async fn time(store: &dyn AccountStore) -> Result<(), Violation> {
    time::time(store).await
}

/// What a store does for many callers at a time.
///
/// `one` and `other` are two handles on the same store, as two replicas would have; use two real
/// connections if the store has any. Callers of one handle race as well. Needs a multi-thread runtime:
/// `#[tokio::test(flavor = "multi_thread")]`.
///
/// # Errors
/// [`Violation`] is the first sentence of the contract that does not hold.
pub async fn race(one: Arc<dyn AccountStore>, other: Arc<dyn AccountStore>) -> Result<(), Violation> {
    race::race(&[one, other]).await
}
