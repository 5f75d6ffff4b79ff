//! The contract of [`Outbox`](mfa_domain::ports::Outbox) as code.
//!
//! Run the suites on a store that is empty or has only been through other suites of this crate,
//! each suite once: every check uses tenants of its own. A claim takes the messages of all tenants, so nobody else may
//! claim meanwhile. Messages get there by commits, so the store is given as an [`AccountStore`] that has an
//! [`outbox`](AccountStore::outbox).

use std::sync::Arc;

use mfa_domain::ports::AccountStore;

use crate::Violation;

mod basic;
mod claims;
pub mod race;
mod samples;
mod time;

/// What a store does for one caller at a time: every field comes back, a message is put with its commit or not at all, a
/// swap is guarded by the version, a claim gives what is queued and due, and gives it once.
///
/// # Errors
/// [`Violation`] is the first sentence of the contract that does not hold.
pub async fn basic(store: &dyn AccountStore) -> Result<(), Violation> {
    basic::basic(store).await?;
    claims::claims(store).await
}

/// That a store goes by the time that it is told, and by no clock of its own.
///
/// # Errors
/// [`Violation`] is the first sentence of the contract that does not hold.
pub async fn time(store: &dyn AccountStore) -> Result<(), Violation> {
    time::time(store).await
}

/// What a store does for many callers at a time; `one` and `other` are two handles on the same store. Needs a
/// multi-thread runtime.
///
/// # Errors
/// [`Violation`] is the first sentence of the contract that does not hold.
pub async fn race(one: Arc<dyn AccountStore>, other: Arc<dyn AccountStore>) -> Result<(), Violation> {
    race::race(&[one, other]).await
}
