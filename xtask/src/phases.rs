//! The phases of a long chore, and how long each took.

use std::time::{Duration, Instant};

use anyhow::Result;

/// What ran so far. It prints its table when it is dropped, so also after a phase that failed.
#[derive(Default)]
pub(crate) struct Phases(Vec<(&'static str, Duration)>);

impl Phases {
    /// Runs a phase and keeps how long it took.
    #[expect(clippy::disallowed_methods, reason = "a duration, not a point in time")]
    pub(crate) fn run<T>(&mut self, name: &'static str, phase: impl FnOnce() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        let outcome = phase();
        self.0.push((name, begin.elapsed()));
        outcome
    }
}

impl Drop for Phases {
    #[expect(clippy::print_stderr, reason = "a command line")]
    fn drop(&mut self) {
        eprintln!("\nPhase            Seconds");
        let total = self.0.iter().map(|(_, took)| *took).sum();
        for (name, took) in self.0.iter().chain([&("total", total)]) {
            eprintln!("{name:16} {:7.0}", took.as_secs_f64());
        }
    }
}
