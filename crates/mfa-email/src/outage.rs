//! What the log tells of a mail server that takes no mail, or only some.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::NotTaken;

/// Logs the first failure, then once a minute how many there were since, and once that mails are taken again. A line
/// for each try would be thousands a minute, all of the same.
///
/// The minute goes on when mails are taken again. An outage that begins within a minute of the last failure logged is
/// logged with its first failure after that minute, and not at all if it ends before.
#[derive(Default)]
pub(crate) struct Outage(Mutex<State>);

/// What was told, and what was not.
#[derive(Default)]
struct State {
    /// When a failure was last told of.
    told: Option<Instant>,
    /// How many came since.
    untold: u64,
    /// Whether the latest line tells of a failure.
    open: bool,
}

/// How often failures are told of, at most.
const EVERY: Duration = Duration::from_mins(1);

impl Outage {
    /// A mail was not taken, and may be later.
    pub(crate) fn failed(&self, not_taken: &NotTaken) {
        let Some(failures) = self.state(|state| state.failed(Instant::now())) else { return };
        if not_taken.is_about_the_server() {
            tracing::error!(failures, "no mail is sent: {not_taken}");
        } else {
            tracing::warn!(failures, "a mail was not taken: {not_taken}");
        }
    }

    /// A mail was taken.
    pub(crate) fn taken(&self) {
        if let Some(failures) = self.state(State::taken) {
            tracing::info!(failures, "mails are taken again");
        }
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// How many failures to tell of, if it is time.
    fn failed(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + EVERY) {
            return None;
        }
        (self.told, self.open) = (Some(now), true);
        Some(std::mem::take(&mut self.untold))
    }

    /// How many failures were not told of, if one was.
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

    /// A server that takes only some of the connections at a time.
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
