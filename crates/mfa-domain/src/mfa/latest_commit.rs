//! Whether the store takes changes, by the latest one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::Timestamp;

/// How long a failed commit speaks against the store if none succeeds after it. A server that is taken out of service
/// gets no requests that could succeed, so it must count as ready again to get one.
const REMEMBERED: Duration = Duration::from_secs(10);

/// When the latest commit failed, if it did.
///
/// A store that can be read may still take no changes: its disk is full, it was made read-only, or its standby does not
/// confirm. Then every verification is undecided.
#[derive(Debug, Default)]
pub(super) struct LatestCommit(Mutex<Option<Timestamp>>);

impl LatestCommit {
    /// It failed at that time, or succeeded.
    pub(super) fn record(&self, failed: Option<Timestamp>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    /// Whether it failed within the last ten seconds.
    pub(super) fn failed(&self, now: Timestamp) -> bool {
        let failed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back does not prolong it.
        failed.is_some_and(|failed| failed <= now && now.since(failed) < REMEMBERED)
    }
}
