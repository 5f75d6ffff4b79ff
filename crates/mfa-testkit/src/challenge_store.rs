//! Contract suites for [`ChallengeStore`].
//!
//! Run each suite once, on a store that is empty or was only used by other suites of this crate: every check
//! uses tenants and ids of its own.

use std::sync::Arc;

use mfa_domain::ports::ChallengeStore;

use crate::Violation;

mod basic;
pub mod race;
mod samples;
mod time;

/// Checks the contract for one caller at a time: every field is read back, an id is put once, the version
/// guards a swap, and a challenge that is over stays over.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn basic(store: &dyn ChallengeStore) -> Result<(), Violation> {
    basic::basic(store).await
}

/// Checks that the store uses the time of its caller and no clock of its own.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn time(store: &dyn ChallengeStore) -> Result<(), Violation> {
    time::time(store).await
}

/// Checks the contract for concurrent callers. `one` and `other` are two handles on the same challenges.
/// Requires a multi-thread runtime.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn race(one: Arc<dyn ChallengeStore>, other: Arc<dyn ChallengeStore>) -> Result<(), Violation> {
    race::race(&[one, other]).await
}
