//! Reads that travel together.
//!
//! What is asked for while the last read is under way is read by the next one, all at once; alone,
//! nothing waits. So the more callers there are, the less each costs.

use tokio::sync::{mpsc, oneshot};

use crate::SqliteError;

/// Questions that may be queued; further callers wait.
const MOST_QUEUED: usize = 1024;

/// Questions that are answered together.
const MOST_TOGETHER: usize = 64;

/// A handle on a task that reads. The task ends when the last one is gone.
pub(crate) struct Together<K, V>(mpsc::Sender<Question<K, V>>);

struct Question<K, V> {
    key: K,
    answer: oneshot::Sender<Result<V, SqliteError>>,
}

impl<K: Clone + Send + 'static, V: Send + 'static> Together<K, V> {
    /// Starts the task. `read` gives a value for each key, in their order, and is called after the
    /// keys were asked for, so that it sees whatever was committed before.
    pub(crate) fn start<R>(read: impl Fn(Vec<K>) -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Result<Vec<V>, SqliteError>> + Send,
    {
        let (sender, mut queue) = mpsc::channel(MOST_QUEUED);
        tokio::spawn(async move {
            let mut questions = Vec::with_capacity(MOST_TOGETHER);
            while queue.recv_many(&mut questions, MOST_TOGETHER).await > 0 {
                answer_all(&read, std::mem::take(&mut questions)).await;
            }
        });
        Self(sender)
    }

    /// The value of a key.
    pub(crate) async fn ask(&self, key: K) -> Result<V, SqliteError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Question { key, answer }).await.map_err(|_| SqliteError::Closed)?;
        answered.await.map_err(|_| SqliteError::Closed)?
    }
}

/// Answers questions by one read; one by one if that fails, since a caller must not fail for what
/// another one asked for.
async fn answer_all<K: Clone, V, R>(read: &impl Fn(Vec<K>) -> R, questions: Vec<Question<K, V>>)
where
    R: Future<Output = Result<Vec<V>, SqliteError>>,
{
    let keys: Vec<K> = questions.iter().map(|question| question.key.clone()).collect();
    match read(keys).await {
        Ok(values) => {
            for (question, value) in questions.into_iter().zip(values) {
                question.answer(Ok(value));
            }
        }
        Err(error) if questions.len() == 1 => {
            for question in questions {
                question.answer(Err(error.clone()));
            }
        }
        Err(_) => {
            for question in questions {
                let value = read(vec![question.key.clone()]).await;
                let value = value.and_then(|values| values.into_iter().next().ok_or(SqliteError::Closed));
                question.answer(value);
            }
        }
    }
}

impl<K, V> Question<K, V> {
    fn answer(self, value: Result<V, SqliteError>) {
        // Whoever asked may be gone.
        let _ = self.answer.send(value);
    }
}

impl<K, V> Clone for Together<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
