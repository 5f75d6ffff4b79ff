//! The recorded attempts of an account: the state behind every lockout budget.

use super::{Assurance, Verifications};
use crate::Timestamp;

/// The recorded attempts to verify, for all factors together.
///
/// A [`LockoutPolicy`](crate::policy::LockoutPolicy) derives from them whether the account is open. The result is not
/// stored, so a stricter policy takes effect at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Failures in a row since the last success or reset.
    pub failures: u32,
    /// How many of these failures an operator's unlock forgave. They no longer lock, but still count towards
    /// disabling the factors (NIST SP 800-63B-4, 3.2.2).
    pub forgiven: u32,
    /// The times of the latest failures, oldest first, at most [`Attempts::REMEMBERED`]. A success does not clear
    /// them.
    pub recent: Vec<Timestamp>,
    /// The last successes with an active factor or backup code. Guarded changes require one.
    pub verified: Verifications,
}

impl Attempts {
    /// How many failure times are kept; no rolling budget can be larger.
    pub const REMEMBERED: usize = 64;

    /// Records one wrong code.
    ///
    /// If the clock was set back, the failure gets the time of the one before it.
    pub fn fail(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let at = self.recent.last().map_or(now, |last| now.max(*last));
        self.recent.push(at);
        let excess = self.recent.len().saturating_sub(Self::REMEMBERED);
        self.recent.drain(..excess);
    }

    /// Records one right code.
    pub const fn succeed(&mut self, assurance: Assurance, now: Timestamp) {
        self.clear_row();
        self.verified.note(assurance, now);
    }

    /// Ends the row of failures without recording a success, when a first factor is confirmed.
    pub const fn clear_row(&mut self) {
        self.failures = 0;
        self.forgiven = 0;
    }

    /// Lifts the locks at an operator's request.
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
