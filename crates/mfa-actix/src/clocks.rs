//! Compares the clock of this process with reference clocks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use mfa_domain::ports::{Clock, Deviation, ReferenceClock};

use crate::chain::Chain;
use crate::dependencies::Health;

/// Compares the clock of this process with reference clocks, periodically.
///
/// The clock decides which codes are right and when a lock ends. A deviation of [`WARNED_AT`](Self::WARNED_AT) or
/// more is logged; at [`NOT_READY_AT`](Self::NOT_READY_AT) or more `/readyz` answers 503. The metric
/// `mfa_clock_ahead_seconds` has the deviation from each reference. Calls are answered in any case.
///
/// Clones share one state.
#[derive(Clone, Debug)]
pub struct Clocks {
    clock: Arc<dyn Clock>,
    references: Vec<Arc<Reference>>,
}

/// A reference clock, and the result of the last comparison.
#[derive(Debug)]
struct Reference {
    name: &'static str,
    clock: Arc<dyn ReferenceClock>,
    every: Duration,
    /// The result of the last successful comparison.
    last: Mutex<Option<Grade>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Right,
    Off,
    FarOff,
}

impl Clocks {
    /// The deviation from which on the clock is logged as wrong.
    pub const WARNED_AT: Duration = Duration::from_secs(2);

    /// The deviation from which on the process is not ready.
    pub const NOT_READY_AT: Duration = Duration::from_secs(15);

    /// The time limit of a comparison.
    const COMPARISON_TIMEOUT: Duration = Duration::from_secs(5);

    /// After failures the pause doubles, up to this multiple of the usual one.
    const MAX_PAUSES: u32 = 8;

    /// Watches `clock`, without references so far.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, references: Vec::new() }
    }

    /// Adds a reference clock, to be compared once per `every`. `name` is its name in metrics and the log. Do not ask
    /// a public time server more often than once a minute.
    #[must_use]
    pub fn with(mut self, name: &'static str, clock: Arc<dyn ReferenceClock>, every: Duration) -> Self {
        self.references.push(Arc::new(Reference { name, clock, every, last: Mutex::default() }));
        self
    }

    /// Compares the clock once with all references.
    pub async fn compare(&self) {
        join_all(self.references.iter().map(|reference| reference.compare(&*self.clock))).await;
    }

    /// Compares the clock with each reference periodically. Never returns.
    pub async fn watch(self) {
        join_all(self.references.iter().map(|reference| reference.watch(&*self.clock))).await;
    }

    /// Whether the last comparison with any reference showed a deviation of [`NOT_READY_AT`](Self::NOT_READY_AT) or
    /// more.
    #[must_use]
    pub fn is_far_off(&self) -> bool {
        self.references.iter().any(|reference| reference.last() == Some(Grade::FarOff))
    }

    /// The state for `/readyz`; `None` if there is no reference.
    pub(crate) fn health(&self) -> Option<Health> {
        if self.is_far_off() {
            return Some(Health::Failing);
        }
        let grades: Vec<_> = self.references.iter().map(|reference| reference.last()).collect();
        let known = grades.iter().any(Option::is_some);
        (!grades.is_empty()).then_some(if known { Health::Ok } else { Health::Unknown })
    }
}

impl Reference {
    async fn watch(&self, clock: &dyn Clock) {
        let mut pauses = 1;
        loop {
            tokio::time::sleep(self.every * pauses).await;
            let compared = self.compare(clock).await;
            pauses = if compared { 1 } else { (pauses * 2).min(Clocks::MAX_PAUSES) };
        }
    }

    /// Compares the clock. Returns whether that succeeded; if not, the last result stays.
    async fn compare(&self, clock: &dyn Clock) -> bool {
        let reference = self.name;
        match tokio::time::timeout(Clocks::COMPARISON_TIMEOUT, self.clock.compare(clock)).await {
            Ok(Ok(deviation)) => {
                self.tell(deviation);
                return true;
            }
            Ok(Err(error)) => {
                tracing::warn!(reference, error = %Chain(&error), "could not compare the clock");
            }
            Err(_) => {
                tracing::warn!(reference, error = "no answer in time", "could not compare the clock");
            }
        }
        metrics::counter!("mfa_clock_errors_total", "reference" => reference).increment(1);
        false
    }

    fn tell(&self, deviation: Deviation) {
        let reference = self.name;
        metrics::gauge!("mfa_clock_ahead_seconds", "reference" => reference).set(deviation.as_secs());
        let grade = Grade::of(deviation);
        let before = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(grade);
        if before == Some(grade) {
            return;
        }
        match (grade, before) {
            (Grade::Right, None) => tracing::debug!(reference, %deviation, "the clock is right"),
            (Grade::Right, Some(_)) => tracing::info!(reference, %deviation, "the clock is right again"),
            (Grade::Off, _) => tracing::warn!(reference, %deviation, "the clock is wrong"),
            (Grade::FarOff, _) => tracing::error!(reference, %deviation, "the clock is wrong: not ready"),
        }
    }

    fn last(&self) -> Option<Grade> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Grade {
    fn of(deviation: Deviation) -> Self {
        match deviation.size() {
            size if size >= Clocks::NOT_READY_AT => Self::FarOff,
            size if size >= Clocks::WARNED_AT => Self::Off,
            _ => Self::Right,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use async_trait::async_trait;
    use mfa_domain::Timestamp;
    use mfa_domain::ports::ReferenceClockError;
    use mfa_testkit::ManualClock;

    use super::*;

    /// A clock that is this many milliseconds behind ours; `i64::MAX` means that it fails.
    #[derive(Debug, Default)]
    struct Other(AtomicI64);

    #[async_trait]
    impl ReferenceClock for Other {
        async fn compare(&self, clock: &dyn Clock) -> Result<Deviation, ReferenceClockError> {
            let now = clock.now();
            match self.0.load(Ordering::SeqCst) {
                i64::MAX => Err(ReferenceClockError::new("told to fail")),
                ahead => {
                    let there = now.unix_millis().checked_add_signed(-ahead).unwrap();
                    Ok(Deviation::between(now, Timestamp::from_unix_millis(there), now))
                }
            }
        }
    }

    async fn health(clocks: &Clocks, other: &Other, ahead: i64) -> Option<Health> {
        other.0.store(ahead, Ordering::SeqCst);
        clocks.compare().await;
        assert_eq!(clocks.is_far_off(), clocks.health() == Some(Health::Failing));
        clocks.health()
    }

    #[tokio::test]
    async fn a_clock_is_too_far_off_from_fifteen_seconds_on_either_way_and_by_any_other() {
        let clock = Arc::new(ManualClock::default());
        assert_eq!(Clocks::new(clock.clone()).health(), None);
        let [one, other] = [Arc::new(Other::default()), Arc::new(Other::default())];
        let every = Duration::from_secs(1);
        let clocks = Clocks::new(clock).with("one", one.clone(), every).with("other", other.clone(), every);
        assert_eq!(clocks.health(), Some(Health::Unknown));
        assert_eq!(health(&clocks, &one, i64::MAX).await, Some(Health::Ok), "the other one answers");
        for ahead in [0, 2_000, 14_999, -14_999] {
            assert_eq!(health(&clocks, &other, ahead).await, Some(Health::Ok), "{ahead}");
        }
        for ahead in [15_000, -15_000, 172_800_000] {
            assert_eq!(health(&clocks, &other, ahead).await, Some(Health::Failing), "{ahead}");
        }
        // A failed comparison does not make a wrong clock right.
        assert_eq!(health(&clocks, &other, i64::MAX).await, Some(Health::Failing));
        assert_eq!(health(&clocks, &other, 0).await, Some(Health::Ok));
    }

    #[test]
    fn a_warning_comes_at_two_seconds() {
        let grade = |millis: u64| {
            let there = Timestamp::from_unix_seconds(1_000);
            let now = Timestamp::from_unix_millis(1_000_000 + millis);
            Grade::of(Deviation::between(now, there, now))
        };
        assert_eq!([grade(1_999), grade(2_000), grade(15_000)], [Grade::Right, Grade::Off, Grade::FarOff]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_compared_again_and_again() {
        let other = Arc::new(Other::default());
        let clock = Arc::new(ManualClock::default());
        let clocks = Clocks::new(clock).with("other", other.clone(), Duration::from_secs(5));
        let watch = tokio::spawn(clocks.clone().watch());
        for (ahead, expected) in [(20_000, Health::Failing), (0, Health::Ok), (-20_000, Health::Failing)] {
            other.0.store(ahead, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert_eq!(clocks.health(), Some(expected), "{ahead}");
        }
        watch.abort();
    }
}
