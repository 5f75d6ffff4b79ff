#![doc = include_str!("../README.md")]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

/// A handle on a task that answers queued questions in batches.
///
/// The task ends after [`Batches::close`], or when the last handle is dropped.
pub struct Batches<Q, A, E>(mpsc::Sender<Request<Q, A, E>>);

/// Limits of the queue and of the batches.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Questions that may be queued; further callers wait. Default 1024.
    pub queued: usize,
    /// Questions in one batch, at most. Default 64.
    pub together: usize,
    /// Batches in progress at the same time, at most. Default 1.
    pub under_way: u32,
    /// How long a batch waits for all batches in progress, so that it can grow, before it starts beside them.
    /// Default zero. If none is in progress, it starts at once.
    pub patience: Duration,
}

/// The task has ended. A queued question may or may not have been worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// An error of the work on a batch.
pub trait Failure: Clone + From<Closed> + Send + 'static {
    /// Whether a single question may be the cause. If so, the questions of the batch are tried again one by
    /// one. Default: true. Return false if another attempt would only take time, as when a server cannot be
    /// reached.
    fn may_be_of_one(&self) -> bool {
        true
    }
}

enum Request<Q, A, E> {
    Answer(Question<Q, A, E>),
    Close(oneshot::Sender<()>),
}

struct Question<Q, A, E> {
    question: Q,
    answer: oneshot::Sender<Result<A, E>>,
}

impl<Q, A, E> Batches<Q, A, E>
where
    Q: Clone + Send + 'static,
    A: Send + 'static,
    E: Failure,
{
    /// Starts the task on the current runtime. `work` returns one answer per question, in their order.
    pub fn start<W>(limits: Limits, work: impl Fn(Vec<Q>) -> W + Send + Sync + 'static) -> Self
    where
        W: Future<Output = Result<Vec<A>, E>> + Send + 'static,
    {
        let (sender, queue) = mpsc::channel(limits.queued.max(1));
        tokio::spawn(run(queue, limits, Arc::new(work)));
        Self(sender)
    }

    /// Asks a question and waits for its answer.
    ///
    /// # Errors
    /// The error of the work on the question; the conversion of [`Closed`] if the task has ended.
    pub async fn ask(&self, question: Q) -> Result<A, E> {
        let (answer, answered) = oneshot::channel();
        let question = Request::Answer(Question { question, answer });
        self.0.send(question).await.map_err(|_| Closed)?;
        answered.await.map_err(|_| Closed)?
    }

    /// Ends the task after it has answered all questions that were queued before.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.0.send(Request::Close(answer)).await.is_ok() {
            // An error means that the task has already ended.
            let _ = closed.await;
        }
    }
}

/// Runs the task. It waits for a free slot before it takes questions from the queue, so that all questions
/// that arrive until then are in the batch.
async fn run<Q, A, E, W, F>(mut queue: mpsc::Receiver<Request<Q, A, E>>, limits: Limits, work: Arc<F>)
where
    Q: Clone + Send + 'static,
    A: Send + 'static,
    E: Failure,
    W: Future<Output = Result<Vec<A>, E>> + Send + 'static,
    F: Fn(Vec<Q>) -> W + Send + Sync + 'static,
{
    let max_under_way = limits.under_way.max(1);
    let slots = Arc::new(Semaphore::new(max_under_way as usize));
    let mut requests = Vec::new();
    let mut closing = Vec::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        if !limits.patience.is_zero() {
            // The permits are returned at once: only the wait matters.
            let _ = tokio::time::timeout(limits.patience, slots.acquire_many(max_under_way - 1)).await;
        }
        if queue.recv_many(&mut requests, limits.together.max(1)).await == 0 {
            break;
        }
        let mut questions = Vec::with_capacity(requests.len());
        for request in requests.drain(..) {
            match request {
                Request::Answer(question) => questions.push(question),
                Request::Close(answer) => {
                    queue.close();
                    closing.push(answer);
                }
            }
        }
        let work = Arc::clone(&work);
        tokio::spawn(async move {
            answer_all(work.as_ref(), questions).await;
            drop(slot);
        });
    }
    // All slots are free once the last batch is answered.
    let _ = slots.acquire_many(max_under_way).await;
    for answer in closing {
        let _ = answer.send(());
    }
}

/// Answers questions together, or one by one if that fails.
async fn answer_all<Q, A, E, W>(work: &impl Fn(Vec<Q>) -> W, questions: Vec<Question<Q, A, E>>)
where
    Q: Clone,
    E: Failure,
    W: Future<Output = Result<Vec<A>, E>>,
{
    if questions.is_empty() {
        return;
    }
    match work(questions.iter().map(|question| question.question.clone()).collect()).await {
        Ok(answers) => {
            for (question, answer) in questions.into_iter().zip(answers) {
                question.answer(Ok(answer));
            }
        }
        Err(error) if questions.len() == 1 || !error.may_be_of_one() => {
            for question in questions {
                question.answer(Err(error.clone()));
            }
        }
        Err(_) => {
            for Question { question, answer } in questions {
                let worked = work(vec![question]).await;
                let worked = worked.and_then(|answers| answers.into_iter().next().ok_or(Closed.into()));
                // The caller may have stopped waiting.
                let _ = answer.send(worked);
            }
        }
    }
}

impl<Q, A, E> Question<Q, A, E> {
    fn answer(self, answer: Result<A, E>) {
        // The caller may have stopped waiting.
        let _ = self.answer.send(answer);
    }
}

impl<Q, A, E> Clone for Batches<Q, A, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q, A, E> fmt::Debug for Batches<Q, A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Batches(..)")
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { queued: 1024, together: 64, under_way: 1, patience: Duration::ZERO }
    }
}
