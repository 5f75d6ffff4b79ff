//! A limit for slow work outside of the threads that drive futures.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use thiserror::Error;
use tokio::sync::oneshot;

/// Runs slow work on separate threads, with a limit of how much runs at a time.
///
/// The latest caller goes first. Under overload the longest waiting callers are about to give up, and work
/// for them would be wasted; so as many callers as possible are served in time.
pub(super) struct Bounded(Arc<Mutex<Places>>);

struct Places {
    free: usize,
    /// Waiting callers, the latest last; some may have given up.
    waiting: Vec<oneshot::Sender<Place>>,
}

/// The right to run. Dropping it passes it to the next caller.
struct Place(Arc<Mutex<Places>>);

/// Slow work did not complete.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotRun {
    /// No thread could be started.
    #[error("no thread could be started for the evaluation")]
    NoThread(#[source] std::io::Error),
    /// The work panicked.
    #[error("the evaluation was stopped")]
    Stopped(#[source] Box<dyn StdError + Send + Sync>),
}

impl Bounded {
    /// A limit of `most`; at least one.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Places { free: most.max(1), waiting: Vec::new() })))
    }

    /// Runs `work` once a place is free.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let place = self.place().await.map_err(|closed| NotRun::Stopped(closed.into()))?;
        let (answer, answered) = oneshot::channel();
        // Starting a thread takes a hundredth of the time of its work, and allows a priority of its own.
        let run = move || {
            // The work holds the place, not the caller: dropping the caller's future does not stop running
            // work, and must not let more work begin.
            let _place = place;
            step_back();
            // The caller may have gone.
            let _ = answer.send(work());
        };
        thread::Builder::new().name("hasher".to_owned()).spawn(run).map_err(NotRun::NoThread)?;
        answered.await.map_err(|stopped| NotRun::Stopped(stopped.into()))
    }

    async fn place(&self) -> Result<Place, oneshot::error::RecvError> {
        let granted = {
            let mut places = lock(&self.0);
            if let Some(left) = places.free.checked_sub(1) {
                places.free = left;
                return Ok(Place(Arc::clone(&self.0)));
            }
            let (grant, granted) = oneshot::channel();
            places.waiting.push(grant);
            granted
        };
        granted.await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.0);
        places.waiting.retain(|waiting| !waiting.is_closed());
        let Some(next) = places.waiting.pop() else {
            places.free += 1;
            return;
        };
        drop(places);
        // If that caller gives up at this moment, the place returns and is dropped again.
        let _ = next.send(Self(Arc::clone(&self.0)));
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lowers the priority of this thread. A caller of a hash waits some milliseconds anyway, and threads with
/// short work must not wait behind it.
fn step_back() {
    // On other systems this would change the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICENESS);
}

/// About a tenth of a contended processor, and all of an idle one.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    /// Work that ends on command, and a count of how much of it runs.
    struct Gauge {
        running: Arc<AtomicUsize>,
        end: Sender<()>,
        ends: Arc<Mutex<Receiver<()>>>,
    }

    impl Gauge {
        fn new() -> Self {
            let (end, ends) = channel();
            Self { running: Arc::default(), end, ends: Arc::new(Mutex::new(ends)) }
        }

        fn work(&self) -> impl FnOnce() + Send + 'static {
            let (running, ends) = (Arc::clone(&self.running), Arc::clone(&self.ends));
            move || {
                running.fetch_add(1, Ordering::SeqCst);
                ends.lock().unwrap().recv().unwrap();
                running.fetch_sub(1, Ordering::SeqCst);
            }
        }

        async fn reaches(&self, expected: usize) {
            soon(async {
                while self.running.load(Ordering::SeqCst) != expected {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }

        /// Whether no more than `expected` begins within some time.
        async fn stays(&self, expected: usize) -> bool {
            for _ in 0..50 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                if self.running.load(Ordering::SeqCst) != expected {
                    return false;
                }
            }
            true
        }
    }

    /// The result of the future; a hang is a failure.
    async fn soon<F: Future>(future: F) -> F::Output {
        tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
    }

    async fn poll_once(future: impl Future) -> bool {
        let mut future = pin!(future);
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
    }

    #[tokio::test]
    async fn no_more_than_so_much_runs_even_if_callers_give_up() {
        let (bounded, gauge) = (Arc::new(Bounded::new(2)), Gauge::new());
        let spawn = || {
            let (bounded, work) = (Arc::clone(&bounded), gauge.work());
            tokio::spawn(async move { bounded.run(work).await })
        };
        let callers: Vec<_> = (0..8).map(|_| spawn()).collect();
        gauge.reaches(2).await;
        assert!(gauge.stays(2).await);

        // The callers of running work go away; the work still runs, and its places are not reused.
        callers.iter().for_each(tokio::task::JoinHandle::abort);
        let patient = spawn();
        assert!(gauge.stays(2).await, "a caller who gave up freed a place that was in use");

        // Its end frees the places, and callers that gave up in the queue are not in the way.
        (0..3).for_each(|_| gauge.end.send(()).unwrap());
        soon(patient).await.unwrap().unwrap();
        gauge.reaches(0).await;
        let again = [spawn(), spawn()];
        gauge.reaches(2).await;
        (0..2).for_each(|_| gauge.end.send(()).unwrap());
        for work in again {
            soon(work).await.unwrap().unwrap();
        }
    }

    /// In the order of arrival, callers that waited so long that they give up would be served, and nobody
    /// else.
    #[tokio::test]
    async fn whoever_came_last_goes_first_and_who_gave_up_is_passed_over() {
        let (bounded, gauge, order) =
            (Arc::new(Bounded::new(1)), Gauge::new(), Arc::new(Mutex::new(Vec::new())));
        let first = tokio::spawn({
            let (bounded, work) = (Arc::clone(&bounded), gauge.work());
            async move { bounded.run(work).await }
        });
        gauge.reaches(1).await;
        let mut callers = Vec::new();
        for n in 0..4 {
            let (bounded, order) = (Arc::clone(&bounded), Arc::clone(&order));
            let mut run = Box::pin(async move { bounded.run(move || order.lock().unwrap().push(n)).await });
            assert!(!poll_once(&mut run).await);
            callers.push(run);
        }
        drop(callers.remove(2));
        gauge.end.send(()).unwrap();
        let callers: Vec<_> = callers.into_iter().map(tokio::spawn).collect();
        for caller in callers {
            soon(caller).await.unwrap().unwrap();
        }
        soon(first).await.unwrap().unwrap();
        assert_eq!(*order.lock().unwrap(), [3, 1, 0]);
        assert_eq!(soon(bounded.run(|| 7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn the_callers_thread_is_free_while_it_runs() {
        let (bounded, gauge) = (Bounded::new(1), Gauge::new());
        assert!(!poll_once(bounded.run(gauge.work())).await, "it was not run on this thread");
        gauge.reaches(1).await;
        gauge.end.send(()).unwrap();
        gauge.reaches(0).await;
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_place() {
        let bounded = Bounded::new(1);
        let stopped = bounded.run(|| panic!("as tested")).await;
        assert!(matches!(stopped, Err(NotRun::Stopped(_))));
        assert_eq!(soon(bounded.run(|| 7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn no_places_at_all_would_be_a_deadlock() {
        assert_eq!(soon(Bounded::new(0).run(|| 7)).await.unwrap(), 7);
    }

    /// The threads that drive futures keep their priority.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_steps_back_and_its_caller_does_not() {
        let bounded = Bounded::new(1);
        let niceness = || rustix::process::nice(0).unwrap();
        let before = niceness();
        assert_eq!(soon(bounded.run(niceness)).await.unwrap(), (before + NICENESS).min(19));
        assert_eq!(niceness(), before);
    }
}
