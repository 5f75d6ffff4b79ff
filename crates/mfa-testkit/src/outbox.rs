//! Contract suites for [`Outbox`](mfa_domain::ports::Outbox).
//!
//! Run each suite once, on a store that is empty or was only used by other suites of this crate: every check
//! uses tenants of its own. A claim takes the messages of all tenants, so nothing else may claim at the same
//! time. Commits put the messages, so the argument is an [`AccountStore`] with an
//! [`outbox`](AccountStore::outbox).

use std::sync::Arc;

use mfa_domain::ports::AccountStore;

use crate::Violation;

mod basic;
mod claims;
pub mod race;
mod samples;
mod time;

/// Checks the contract for one caller at a time: every field is read back, a message is put with its commit
/// or not at all, the version guards a swap, and a claim returns every queued and due message once.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn basic(store: &dyn AccountStore) -> Result<(), Violation> {
    basic::basic(store).await?;
    claims::claims(store).await
}

/// Checks that the store uses the time of its caller and no clock of its own.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn time(store: &dyn AccountStore) -> Result<(), Violation> {
    time::time(store).await
}

/// Checks the contract for concurrent callers. `one` and `other` are two handles on the same store. Requires
/// a multi-thread runtime.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn race(one: Arc<dyn AccountStore>, other: Arc<dyn AccountStore>) -> Result<(), Violation> {
    race::race(&[one, other]).await
}
