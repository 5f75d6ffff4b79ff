//! Guarded writes: one statement makes many. Every guard is in a WHERE clause; every verdict comes from the
//! rows that the statement returns.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use crate::PostgresError;
use crate::transaction::{Statement, TimeLimits, once};

/// A write that is made only if a condition holds, such as an expected version.
pub(crate) trait GuardedWrite: Send + Sync + 'static {
    /// What identifies the row that is written.
    type Row: Ord;

    /// The row that is written.
    fn row(&self) -> &Self::Row;

    /// The statement that makes these writes. No two are of one row, and they are in the order of their rows;
    /// rows MUST be locked in that order, so that no two statements wait for each other.
    fn statement<'q>(writes: &[&'q Self], limits: TimeLimits) -> Numbers<'q>;
}

/// Returns the numbers of the writes whose condition held, counted from 1.
pub(crate) type Numbers<'q> = Statement<'q, (i64,)>;

/// Begins a statement: `$1` is how long it may wait for a lock.
pub(crate) fn numbers<'q>(text: &'static str, limits: TimeLimits) -> Numbers<'q> {
    let statement: Numbers<'q> = sqlx::query_as(text);
    statement.bind(limits.lock.as_millis().to_string())
}

/// One column of many rows.
pub(crate) fn column<T: Copy, V>(rows: &[T], value: impl Fn(T) -> V) -> Vec<V> {
    rows.iter().copied().map(value).collect()
}

/// How long a write waits for a locked row when it is retried alone.
const SHORT: Duration = Duration::from_millis(50);

/// Makes writes, each as a whole or not at all. Returns for each whether its condition held.
///
/// A write that fails must not make others fail, so the writes of a failed statement are retried one by one,
/// but only if the server said that the statement changed nothing.
pub(crate) async fn write_all<W: GuardedWrite>(
    on: &mut PgConnection,
    writes: &[Arc<W>],
    limits: TimeLimits,
) -> Vec<Result<bool, PostgresError>> {
    let mut results = Vec::with_capacity(writes.len());
    while let Some(rest) = writes.get(results.len()..).filter(|rest| !rest.is_empty()) {
        let wave = wave(rest);
        match write(on, &wave, limits).await {
            Ok(made) => results.extend(made.into_iter().map(Ok)),
            Err(error) if wave.len() > 1 && error.changed_nothing() => {
                results.extend(one_by_one(on, &wave, limits).await);
            }
            Err(error) => results.extend(wave.iter().map(|_| Err(error.clone()))),
        }
    }
    results
}

/// Retries writes one by one with a short lock timeout: they have waited for locks together already, and must
/// not wait long for each other's locks now.
async fn one_by_one<W: GuardedWrite>(
    on: &mut PgConnection,
    writes: &[&W],
    limits: TimeLimits,
) -> Vec<Result<bool, PostgresError>> {
    // A limit of zero means no limit in PostgreSQL.
    let lock = if limits.lock.is_zero() { SHORT } else { SHORT.min(limits.lock) };
    let mut results = Vec::with_capacity(writes.len());
    for one in writes {
        let made = write(on, &[*one], TimeLimits { lock, ..limits }).await;
        results.push(made.map(|made| made == [true]));
    }
    results
}

/// The longest prefix of `writes` without two of one row: the second must see what the first has done.
fn wave<W: GuardedWrite>(writes: &[Arc<W>]) -> Vec<&W> {
    let mut rows = BTreeSet::new();
    writes.iter().map(AsRef::as_ref).take_while(|one: &&W| rows.insert(one.row())).collect()
}

async fn write<W: GuardedWrite>(
    on: &mut PgConnection,
    writes: &[&W],
    limits: TimeLimits,
) -> Result<Vec<bool>, PostgresError> {
    let mut order: Vec<usize> = (0..writes.len()).collect();
    order.sort_by_key(|n| writes[*n].row());
    let ordered: Vec<&W> = order.iter().map(|n| writes[*n]).collect();
    let numbers = once(on, limits, || W::statement(&ordered, limits)).await?;
    let mut made = vec![false; writes.len()];
    for (number,) in numbers {
        let place = usize::try_from(number - 1).ok().and_then(|place| order.get(place));
        *place.and_then(|place| made.get_mut(*place)).ok_or_else(unexpected)? = true;
    }
    Ok(made)
}

fn unexpected() -> PostgresError {
    PostgresError::other(std::io::Error::other("the database returned a row that was not asked for"))
}
