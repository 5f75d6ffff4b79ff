//! Who travels with whom, who waits, and who gets which answer.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use mfa_batch::{Batches, Closed, Failure, Limits};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[derive(Clone, Debug, PartialEq)]
enum Failed {
    Closed,
    On(u32),
}

impl From<Closed> for Failed {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Failure for Failed {
    fn may_be_of_one(&self) -> bool {
        *self != Self::On(UNREACHABLE)
    }
}

/// With this question, nothing can be answered.
const UNREACHABLE: u32 = 666;

/// Batches that were worked on, and a gate that lets them pass one by one.
#[derive(Clone)]
struct Work {
    batches: Arc<Mutex<Vec<Vec<u32>>>>,
    gate: Arc<Semaphore>,
}

impl Work {
    fn new(open: usize) -> Self {
        Self { batches: Arc::default(), gate: Arc::new(Semaphore::new(open)) }
    }

    /// Each answer is the question plus 100; 13 cannot be answered.
    fn start(&self, limits: Limits) -> Batches<u32, u32, Failed> {
        let work = self.clone();
        Batches::start(limits, move |questions: Vec<u32>| {
            let work = work.clone();
            async move {
                work.batches.lock().unwrap().push(questions.clone());
                work.gate.acquire().await.unwrap().forget();
                match questions.iter().find(|question| [13, UNREACHABLE].contains(question)) {
                    Some(question) => Err(Failed::On(*question)),
                    None => Ok(questions.iter().map(|question| question + 100).collect()),
                }
            }
        })
    }

    fn sizes(&self) -> Vec<usize> {
        self.batches.lock().unwrap().iter().map(Vec::len).collect()
    }
}

const OPEN: usize = 1_000_000;

/// Lets every task go on until it waits.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

type Asked = JoinSet<(u32, Result<u32, Failed>)>;

fn ask_all(batches: &Batches<u32, u32, Failed>, questions: std::ops::Range<u32>) -> Asked {
    let mut tasks = JoinSet::new();
    ask_more(&mut tasks, batches, questions);
    tasks
}

fn ask_more(tasks: &mut Asked, batches: &Batches<u32, u32, Failed>, questions: std::ops::Range<u32>) {
    for question in questions {
        let batches = batches.clone();
        tasks.spawn(async move { (question, batches.ask(question).await) });
    }
}

#[tokio::test]
async fn alone_nothing_waits_and_what_is_queued_meanwhile_travels_together() {
    let work = Work::new(0);
    let batches = work.start(Limits::default());
    let first = ask_all(&batches, 0..1);
    settle().await;
    assert_eq!(work.sizes(), [1]);
    let others = ask_all(&batches, 20..50);
    settle().await;
    assert_eq!(work.sizes(), [1], "a batch left while another was under way");
    work.gate.add_permits(OPEN);
    for (question, answer) in first.join_all().await.into_iter().chain(others.join_all().await) {
        assert_eq!(answer, Ok(question + 100));
    }
    assert_eq!(work.sizes(), [1, 30]);
}

#[tokio::test]
async fn as_many_batches_are_under_way_as_allowed_and_none_is_too_large() {
    let work = Work::new(0);
    let batches = work.start(Limits { together: 4, under_way: 2, ..Limits::default() });
    let mut tasks = JoinSet::new();
    for question in 20..31 {
        let batches = batches.clone();
        tasks.spawn(async move { (question, batches.ask(question).await) });
        settle().await;
    }
    assert_eq!(work.sizes(), [1, 1]);
    work.gate.add_permits(OPEN);
    assert!(tasks.join_all().await.into_iter().all(|(question, answer)| answer == Ok(question + 100)));
    assert_eq!(work.sizes(), [1, 1, 4, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_the_one_before_it_and_passes_one_that_takes_too_long() {
    const WAIT: Duration = Duration::from_millis(5);
    let work = Work::new(0);
    let batches = work.start(Limits { under_way: 2, patience: WAIT, ..Limits::default() });
    let mut tasks = ask_all(&batches, 20..21);
    settle().await;
    assert_eq!(work.sizes(), [1], "nothing was under way");
    ask_more(&mut tasks, &batches, 30..35);
    tokio::time::advance(WAIT / 2).await;
    settle().await;
    ask_more(&mut tasks, &batches, 40..45);
    settle().await;
    assert_eq!(work.sizes(), [1], "the first may still be answered in time");
    tokio::time::advance(WAIT).await;
    settle().await;
    assert_eq!(work.sizes(), [1, 10], "the first takes too long");
    ask_more(&mut tasks, &batches, 50..53);
    work.gate.add_permits(OPEN);
    while let Some(answered) = tasks.join_next().await {
        let (question, answer) = answered.unwrap();
        assert_eq!(answer, Ok(question + 100));
    }
    assert_eq!(work.sizes(), [1, 10, 3]);
}

#[tokio::test]
async fn what_cannot_be_answered_fails_alone() {
    let work = Work::new(0);
    let batches = work.start(Limits::default());
    let tasks = ask_all(&batches, 10..17);
    settle().await;
    work.gate.add_permits(OPEN);
    for (question, answer) in tasks.join_all().await {
        assert_eq!(answer, if question == 13 { Err(Failed::On(13)) } else { Ok(question + 100) });
    }
}

#[tokio::test]
async fn what_is_nobodys_fault_is_not_tried_again() {
    let work = Work::new(0);
    let batches = work.start(Limits::default());
    let first = ask_all(&batches, 0..1);
    settle().await;
    let tasks = ask_all(&batches, 660..670);
    settle().await;
    work.gate.add_permits(OPEN);
    first.join_all().await;
    assert!(tasks.join_all().await.into_iter().all(|(_, answer)| answer == Err(Failed::On(UNREACHABLE))));
    assert_eq!(work.sizes(), [1, 10]);
}

#[tokio::test]
async fn a_question_is_worked_on_even_if_nobody_waits_for_it() {
    let work = Work::new(OPEN);
    let batches = work.start(Limits::default());
    {
        let mut asking = Box::pin(batches.ask(1));
        let polled = poll_fn(|context| Poll::Ready(asking.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    }
    assert_eq!(batches.ask(2).await, Ok(102));
    assert_eq!(work.batches.lock().unwrap().concat(), [1, 2]);
}

#[tokio::test]
async fn closing_answers_what_is_queued_and_nothing_after_it() {
    let work = Work::new(0);
    let batches = work.start(Limits { together: 2, under_way: 2, ..Limits::default() });
    let tasks = ask_all(&batches, 20..30);
    settle().await;
    let closing = tokio::spawn({
        let batches = batches.clone();
        async move { batches.close().await }
    });
    settle().await;
    assert!(!closing.is_finished(), "closed while questions are queued");
    work.gate.add_permits(OPEN);
    closing.await.unwrap();
    assert!(tasks.join_all().await.into_iter().all(|(question, answer)| answer == Ok(question + 100)));
    assert_eq!(batches.ask(1).await, Err(Failed::Closed));
    batches.close().await;
}

#[tokio::test]
async fn work_that_panics_is_an_error_for_its_callers_and_for_nobody_else() {
    let batches = Batches::<u32, u32, Failed>::start(Limits::default(), |questions| async move {
        assert_ne!(questions, [13]);
        Ok(questions)
    });
    assert_eq!(batches.ask(13).await, Err(Failed::Closed));
    assert_eq!(batches.ask(14).await, Ok(14));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_one_of_many_gets_an_answer_of_its_own() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let batches = Batches::<u32, u32, Failed>::start(
        Limits { queued: 8, together: 16, under_way: 3, ..Limits::default() },
        move |questions: Vec<u32>| {
            seen.fetch_max(questions.len(), Ordering::Relaxed);
            async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(questions)
            }
        },
    );
    let mut tasks = JoinSet::new();
    for question in 0..2000 {
        let batches = batches.clone();
        tasks.spawn(async move { assert_eq!(batches.ask(question).await, Ok(question)) });
    }
    tasks.join_all().await;
    assert!((2..=16).contains(&most.load(Ordering::Relaxed)), "{most:?}");
}
