//! What an account remembers of tries to verify: the state behind every lockout budget.

use super::{Assurance, Verifications};
use crate::Timestamp;

/// What is remembered of tries to verify, for all factors together.
///
/// A [`LockoutPolicy`](crate::policy::LockoutPolicy) derives from it whether the account is open;
/// that verdict itself is not stored, so a stricter policy takes hold at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Failures in a row: since the last success or reset.
    pub failures: u32,
    /// How many of those an operator's unlock forgave. They no longer lock, but they still count
    /// towards disabling the factors (NIST SP 800-63B-4, 3.2.2).
    pub forgiven: u32,
    /// When the latest failures happened, oldest first, at most [`Attempts::REMEMBERED`]. A
    /// success does not clear them.
    pub recent: Vec<Timestamp>,
    /// The last successes with an active factor or backup code: the proof that changes ask for.
    pub verified: Verifications,
}

impl Attempts {
    /// How many failure times are kept; no rolling budget can be larger.
    pub const REMEMBERED: usize = 64;

    /// One evaluated code was wrong.
    ///
    /// A clock that jumped back never makes a failure older than the one before it.
    pub fn fail(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let at = self.recent.last().map_or(now, |last| now.max(*last));
        self.recent.push(at);
        let excess = self.recent.len().saturating_sub(Self::REMEMBERED);
        self.recent.drain(..excess);
    }

    /// One evaluated code was right.
    pub const fn succeed(&mut self, assurance: Assurance, now: Timestamp) {
        self.clear_row();
        self.verified.note(assurance, now);
    }

    /// The row of failures ends without a success: a first factor was confirmed.
    pub const fn clear_row(&mut self) {
        self.failures = 0;
        self.forgiven = 0;
    }

    /// An operator lifts the locks.
    pub fn forgive(&mut self) {
        self.forgiven = self.failures;
        self.recent.clear();
    }

    /// Failures in a row that no unlock forgave.
    #[must_use]
    pub const fn strikes(&self) -> u32 {
        self.failures.saturating_sub(self.forgiven)
    }
}
