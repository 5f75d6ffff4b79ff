//! What is remembered of used assertions, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use mfa_assertion::{DynUsedOnce, MemoryUsedOnce, UsedOnce};

use crate::support::{NOW, done};

fn used(capacity: usize) -> (MemoryUsedOnce, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(NOW));
    let clock = Arc::clone(&now);
    (MemoryUsedOnce::new(capacity, move || clock.load(Ordering::Relaxed)), now)
}

#[test]
fn an_assertion_counts_once() {
    let (used, _) = used(10);
    assert!(done(used.first_use("a", NOW + 60)).unwrap());
    assert!(!done(used.first_use("a", NOW + 60)).unwrap());
    assert!(done(used.first_use("b", NOW + 60)).unwrap());
    assert!(!done(used.first_use("a", NOW + 3600)).unwrap());
}

#[test]
fn of_uses_at_once_one_is_the_first() {
    let (used, _) = used(10);
    let first = thread::scope(|scope| {
        let answers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| done(used.first_use("a", NOW + 60)).unwrap())).collect();
        answers.into_iter().map(|one| usize::from(one.join().unwrap())).sum::<usize>()
    });
    assert_eq!(first, 1);
}

#[test]
fn nothing_is_forgotten_before_its_time_even_if_there_is_no_room() {
    let (used, now) = used(2);
    assert!(done(used.first_use("a", NOW + 60)).unwrap());
    assert!(done(used.first_use("b", NOW + 90)).unwrap());
    now.store(NOW + 59, Ordering::Relaxed);
    assert!(done(used.first_use("c", NOW + 90)).is_err());
    assert!(!done(used.first_use("a", NOW + 60)).unwrap());
    now.store(NOW + 60, Ordering::Relaxed);
    assert!(done(used.first_use("c", NOW + 90)).unwrap());
    assert!(!done(used.first_use("b", NOW + 90)).unwrap());
    assert!(done(used.first_use("d", NOW + 90)).is_err());
}

#[test]
fn an_error_says_why_and_names_no_assertion() {
    let (used, _) = used(0);
    let error = done(used.first_use("the-id", NOW + 60)).unwrap_err();
    let shown = format!("{error} {error:?} {used:?}");
    assert!(shown.contains("cannot tell"), "{shown}");
    assert!(!shown.contains("the-id"), "{shown}");
}

#[test]
fn any_of_them_can_be_a_trait_object() {
    let used: Arc<dyn DynUsedOnce> = Arc::new(used(10).0);
    assert!(done(used.first_use_boxed("a", NOW + 60)).unwrap());
    assert!(!done(used.first_use_boxed("a", NOW + 60)).unwrap());
}
