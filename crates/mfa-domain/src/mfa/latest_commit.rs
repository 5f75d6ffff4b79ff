//! The result of the latest commit, as a sign of whether the store accepts changes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::Timestamp;

/// How long a failed commit makes the server not ready, unless a later one succeeds. A server that is taken out of
/// service gets no request that could succeed, so it must become ready again by itself.
const REMEMBERED: Duration = Duration::from_secs(10);

/// When the latest commit failed; `None` if it succeeded.
///
/// A readable store may still refuse changes: its disk is full, it is read-only, or its standby does not confirm.
/// Every verification is then undecided.
#[derive(Debug, Default)]
pub(super) struct LatestCommit(Mutex<Option<Timestamp>>);

impl LatestCommit {
    /// Records that the latest commit failed at this time, or succeeded (`None`).
    pub(super) fn record(&self, failed: Option<Timestamp>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    /// Whether the latest commit failed within the last 10 seconds.
    pub(super) fn failed(&self, now: Timestamp) -> bool {
        let failed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back does not prolong the failure.
        failed.is_some_and(|failed| failed <= now && now.since(failed) < REMEMBERED)
    }
}
