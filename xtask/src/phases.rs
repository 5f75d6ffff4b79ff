//! The phases of a long command, and the time that each took.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The phases that have run. Prints a table when it is dropped, so also after a failed phase.
#[derive(Default)]
pub(crate) struct Phases(Vec<(&'static str, Took)>);

/// The time that a phase took.
#[derive(Clone, Copy, Default)]
struct Took {
    time: Duration,
    /// Processor time, of all processors together.
    processors: Duration,
}

impl Phases {
    /// Runs a phase and records its time.
    #[expect(clippy::disallowed_methods, reason = "a duration, not a point in time")]
    pub(crate) fn run<T>(&mut self, name: &'static str, phase: impl FnOnce() -> Result<T>) -> Result<T> {
        let (begin, used) = (Instant::now(), used_by_programs());
        let outcome = phase();
        let took = Took { time: begin.elapsed(), processors: used_by_programs().saturating_sub(used) };
        self.0.push((name, took));
        outcome
    }
}

/// The processor time of all programs that this one has started and that have ended, including their own child
/// processes; zero if there is no `/proc`.
fn used_by_programs() -> Duration {
    const TICKS_A_SECOND: u64 = 100;
    let this = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may contain any character. After it come the state and ten numbers, then `utime`, `stime`, `cutime`
    // and `cstime` (proc(5)).
    let after_name = this.rsplit(')').next().unwrap_or_default();
    let times = after_name.split_whitespace().skip(13).take(2);
    let ticks = times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}

impl Drop for Phases {
    #[expect(clippy::print_stderr, reason = "a command line")]
    fn drop(&mut self) {
        eprintln!("\nPhase             Seconds  Processor seconds");
        let total = self.0.iter().fold(Took::default(), |total, (_, took)| Took {
            time: total.time + took.time,
            processors: total.processors + took.processors,
        });
        for (name, took) in self.0.iter().chain([&("total", total)]) {
            eprintln!("{name:16} {:8.0} {:18.0}", took.time.as_secs_f64(), took.processors.as_secs_f64());
        }
    }
}
