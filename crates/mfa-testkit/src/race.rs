//! Concurrent tasks for races, and how often a race is run.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::{Violation, ensure};

/// The number of rounds of a race: `usual`, or `full` if the environment variable `MFA_TEST_FULL` is set.
pub(crate) fn rounds<T>(usual: T, full: T) -> T {
    if std::env::var_os("MFA_TEST_FULL").is_some() { full } else { usual }
}

/// Runs `count` tasks that start together; returns their results in the order of their numbers.
pub(crate) async fn together<T, F>(count: usize, task: impl Fn(usize) -> F) -> Result<Vec<T>, Violation>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let flavor = Handle::current().runtime_flavor();
    ensure!(flavor == RuntimeFlavor::MultiThread, "a race needs a multi-thread runtime");
    let barrier = Arc::new(Barrier::new(count));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (barrier, task) = (Arc::clone(&barrier), task(number));
        tasks.spawn(async move {
            barrier.wait().await;
            (number, task.await)
        });
    }
    let mut results = Vec::with_capacity(count);
    while let Some(result) = tasks.join_next().await {
        results.push(result?);
    }
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
