//! Log lines about a mail server that accepts no mail, or only some.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::NotTaken;

/// Logs the first failure, then once a minute the number of failures since, and once the recovery. A line for
/// each try would be thousands a minute.
///
/// The minute does not end with the recovery: if an outage begins within one minute of the last logged
/// failure, its first failure after that minute is logged, and none if the outage ends before.
#[derive(Default)]
pub(crate) struct Outage(Mutex<State>);

/// The last logged failure, and the failures since.
#[derive(Default)]
struct State {
    /// When a failure was last logged.
    told: Option<Instant>,
    /// The number of failures since.
    untold: u64,
    /// Whether the latest line reports a failure.
    open: bool,
}

/// The minimum interval between two lines about failures.
const EVERY: Duration = Duration::from_mins(1);

impl Outage {
    /// Records that a mail was not accepted, but may be later.
    pub(crate) fn failed(&self, not_taken: &NotTaken) {
        let Some(failures) = self.state(|state| state.failed(Instant::now())) else { return };
        if not_taken.is_about_the_server() {
            tracing::error!(failures, "the mail server accepts no mail: {not_taken}");
        } else {
            tracing::warn!(failures, "the mail server did not accept a mail: {not_taken}");
        }
    }

    /// Records that a mail was accepted.
    pub(crate) fn taken(&self) {
        if let Some(failures) = self.state(State::taken) {
            tracing::info!(failures, "the mail server accepts mail again");
        }
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// The number of failures to log, if a line is due.
    fn failed(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + EVERY) {
            return None;
        }
        (self.told, self.open) = (Some(now), true);
        Some(std::mem::take(&mut self.untold))
    }

    /// The number of failures that were not logged, if one was.
    fn taken(&mut self) -> Option<u64> {
        std::mem::take(&mut self.open).then(|| std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_of_once_a_minute_and_when_it_ends() {
        let (begin, mut state) = (Instant::now(), State::default());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(state.taken(), None);
        assert_eq!(state.failed(at(0)), Some(1));
        for second in 1..60 {
            assert_eq!(state.failed(at(second)), None);
        }
        assert_eq!(state.failed(at(60)), Some(60));
        assert_eq!(state.failed(at(61)), None);
        assert_eq!(state.taken(), Some(1));
        assert_eq!(state.taken(), None);
        assert_eq!(state.failed(at(500)), Some(1));
    }

    /// A server that accepts only some of the connections.
    #[test]
    fn one_that_comes_and_goes_is_no_flood_of_lines() {
        let (begin, mut state) = (Instant::now(), State::default());
        let mut lines = 0;
        for second in 0..120 {
            lines += usize::from(state.failed(begin + Duration::from_secs(second)).is_some());
            lines += usize::from(state.taken().is_some());
        }
        assert_eq!(lines, 4);
    }
}
