//! The contract of [`ChallengeStore`] as code.
//!
//! Run the suites on a store that is empty or has only been through other suites of this crate,
//! each suite once: every check uses tenants and ids of its own.

use std::sync::Arc;

use mfa_domain::ports::ChallengeStore;

use crate::Violation;

mod basic;
pub mod race;
mod samples;
mod time;

/// What a store does for one caller at a time: every field comes back, an id is put once, a swap is
/// guarded by the version, and what is over stays so.
///
/// # Errors
/// [`Violation`] is the first sentence of the contract that does not hold.
pub async fn basic(store: &dyn ChallengeStore) -> Result<(), Violation> {
    basic::basic(store).await
}

/// That a store goes by the time that it is told, and by no clock of its own.
///
/// # Errors
/// [`Violation`] is the first sentence of the contract that does not hold.
pub async fn time(store: &dyn ChallengeStore) -> Result<(), Violation> {
    time::time(store).await
}

/// What a store does for many callers at a time; `one` and `other` are two handles on the same
/// challenges. Needs a multi-thread runtime.
///
/// # Errors
/// [`Violation`] is the first sentence of the contract that does not hold.
pub async fn race(one: Arc<dyn ChallengeStore>, other: Arc<dyn ChallengeStore>) -> Result<(), Violation> {
    race::race(&[one, other]).await
}
