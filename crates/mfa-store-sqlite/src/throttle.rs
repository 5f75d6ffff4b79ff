//! `Throttle` for SQLite: charges are made in memory and written behind.
//!
//! A charge must not wait for the disk, and commits of accounts must not wait for charges. So recently
//! charged buckets are in memory, and are written once per second, together with other changes. They are
//! persisted so that a restart does not refill every bucket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::{Bucket, Charge, Quota};
use mfa_rows::{BucketColumns, integer};
use serde::Serialize;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::Mutex as AsyncMutex;

use crate::change::{Change, Outcome, execute, json};
use crate::writer::Writer;
use crate::{SqliteError, SqliteStore};

pub(crate) const READ_BUCKETS: &str = "
    SELECT key, arrival, latest FROM throttles WHERE key IN (SELECT value FROM json_each(?))";

/// Values that another process has written are kept if they are later: neither time ever goes back.
pub(crate) const WRITE_BUCKETS: &str = "
    INSERT INTO throttles (key, arrival, latest, kept_until)
    SELECT b.value ->> 'key', b.value ->> 'arrival', b.value ->> 'latest', b.value ->> 'kept_until'
    FROM json_each(?) b WHERE true
    ON CONFLICT (key) DO UPDATE
    SET arrival = max(arrival, excluded.arrival), latest = max(latest, excluded.latest),
        kept_until = max(kept_until, excluded.kept_until)";

pub(crate) const FORGET_BUCKETS: &str = "
    DELETE FROM throttles WHERE key IN (
        SELECT key FROM throttles WHERE kept_until <= ? ORDER BY kept_until LIMIT ?
    )";

/// Delay before buckets are written.
const BEHIND: Duration = Duration::from_secs(1);

/// Maximum number of buckets in memory. More than are charged in a second accumulate only if none can be
/// written, and then no account can be changed either.
const MAX_BUCKETS: usize = 100_000;

/// How many times a charge reads its bucket. Once is enough, unless buckets were dropped meanwhile.
const TRIES: usize = 16;

/// The recently charged buckets of this process. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Buckets {
    known: Arc<Mutex<Known>>,
    /// Held while writing: the first of two writers would drop what the second has yet to write.
    writing: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct Known {
    of: HashMap<String, Kept>,
    /// How many times buckets were dropped. Values read from the file before that may be stale.
    dropped: u64,
    /// Whether a task is running that will write them.
    behind: bool,
}

struct Kept {
    bucket: Bucket,
    unwritten: bool,
}

/// A bucket as read from the file, and `dropped` at the time.
#[derive(Clone, Copy)]
struct Read {
    bucket: Bucket,
    dropped: u64,
}

/// A bucket as it is written.
#[derive(Serialize)]
struct BucketRow {
    key: String,
    arrival: i64,
    latest: i64,
    kept_until: i64,
}

#[async_trait]
impl Throttle for SqliteStore {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        let key = key.to_string();
        let mut read = None;
        for _ in 0..TRIES {
            match self.buckets.charge(&key, quota, now, read)? {
                Ok(charge) => {
                    self.buckets.write_behind(&self.writer);
                    return Ok(charge);
                }
                Err(dropped) => {
                    let bucket = self.bucket_reads.ask(key.clone()).await?;
                    read = Some(Read { bucket, dropped });
                }
            }
        }
        Err(SqliteError::Unwritten.into())
    }
}

impl Buckets {
    /// Charges a bucket that is in memory, or was read after buckets were last dropped. Otherwise returns
    /// `dropped`, and the caller must read the bucket.
    fn charge(
        &self,
        key: &str,
        quota: Quota,
        now: Timestamp,
        read: Option<Read>,
    ) -> Result<Result<Charge, u64>, SqliteError> {
        let mut known = self.known();
        if !known.of.contains_key(key) {
            let Some(read) = read.filter(|read| read.dropped == known.dropped) else {
                return Ok(Err(known.dropped));
            };
            if known.of.len() >= MAX_BUCKETS {
                return Err(SqliteError::Unwritten);
            }
            known.of.insert(key.to_owned(), Kept { bucket: read.bucket, unwritten: false });
        }
        let Some(kept) = known.of.get_mut(key) else { return Ok(Err(known.dropped)) };
        let (charge, after) = quota.charge(kept.bucket, now);
        kept.unwritten |= kept.bucket != after;
        kept.bucket = after;
        Ok(Ok(charge))
    }

    /// Starts a task that writes the buckets in memory after a delay, unless one is running.
    fn write_behind(&self, writer: &Writer) {
        if std::mem::replace(&mut self.known().behind, true) {
            return;
        }
        let (buckets, writer) = (self.clone(), writer.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(BEHIND).await;
                let written = buckets.write(&writer).await;
                let mut known = buckets.known();
                // After a failure the next charge starts the task again.
                known.behind = written && !known.of.is_empty();
                if !known.behind {
                    return;
                }
            }
        });
    }

    /// Writes the charged buckets, and drops those that were not charged again meanwhile; returns whether it
    /// succeeded.
    pub(crate) async fn write(&self, writer: &Writer) -> bool {
        let _turn = self.writing.lock().await;
        let charged: Vec<_> = {
            let mut known = self.known();
            let unwritten = known.of.iter_mut().filter(|(_, kept)| kept.unwritten);
            unwritten
                .map(|(key, kept)| {
                    kept.unwritten = false;
                    (key.clone(), kept.bucket)
                })
                .collect()
        };
        let written = match charged.iter().map(BucketRow::of).collect::<Result<Vec<_>, _>>() {
            Ok(rows) if rows.is_empty() => Ok(Outcome::Made),
            Ok(rows) => writer.make(PutBuckets(rows)).await,
            Err(error) => Err(error),
        };
        let mut known = self.known();
        match written {
            Ok(_) => {
                known.of.retain(|_, kept| kept.unwritten);
                known.dropped += 1;
                true
            }
            Err(error) => {
                for (key, _) in &charged {
                    if let Some(kept) = known.of.get_mut(key) {
                        kept.unwritten = true;
                    }
                }
                tracing::error!(buckets = charged.len(), %error, "charges could not be written; they stay in memory");
                false
            }
        }
    }

    /// Locked briefly: no holder waits for anything or panics half way.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BucketRow {
    fn of((key, bucket): &(String, Bucket)) -> Result<Self, SqliteError> {
        let BucketColumns { arrival, latest, kept_until } = BucketColumns::of(*bucket)?;
        Ok(Self { key: key.clone(), arrival, latest, kept_until })
    }
}

/// Writes charged buckets, and deletes some that are no longer needed: up to twice as many, so that the table
/// shrinks. Uses the earliest time of the charges, so that a clock which is ahead deletes nothing too early.
struct PutBuckets(Vec<BucketRow>);

#[async_trait]
impl Change for PutBuckets {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let Self(rows) = self;
        let most = integer("LIMIT", 2 * rows.len() as u64)?;
        let now = rows.iter().map(|row| row.latest / 1000).min().unwrap_or_default();
        execute(to, sqlx::query(FORGET_BUCKETS).bind(now).bind(most)).await?;
        execute(to, sqlx::query(WRITE_BUCKETS).bind(json(&rows)?)).await?;
        Ok(Outcome::Made)
    }
}

/// Reads buckets together; a missing one is the default.
pub(crate) async fn read(readers: &SqlitePool, keys: Vec<String>) -> Result<Vec<Bucket>, SqliteError> {
    let asked = serde_json::to_string(&keys).map_err(SqliteError::other)?;
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(READ_BUCKETS)
        .bind(asked)
        .fetch_all(readers)
        .await
        .map_err(SqliteError::from_driver)?;
    let mut buckets = HashMap::with_capacity(rows.len());
    for (key, arrival, latest) in rows {
        buckets.insert(key, BucketColumns::read(arrival, latest)?);
    }
    Ok(keys.iter().map(|key| buckets.get(key).copied().unwrap_or_default()).collect())
}

#[cfg(test)]
mod tests {
    use mfa_testkit::changes::{key, now};
    use sqlx::{Connection, Executor};

    use super::*;

    #[tokio::test]
    async fn what_is_charged_while_others_are_written_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mfa.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let (alice, quota) = (ThrottleKey::user(&key("alice")), Quota::new(2, Quota::MAX_PER).unwrap());
        assert_eq!(store.charge(&alice, quota, now()).await.unwrap(), Charge::Admitted);
        let mut other = SqliteConnection::connect(&path.display().to_string()).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        let (written, charged) = tokio::join!(store.buckets.write(&store.writer), async {
            let charged = store.charge(&alice, quota, now()).await;
            other.execute("ROLLBACK").await.unwrap();
            charged
        });
        assert!(written);
        assert_eq!(charged.unwrap(), Charge::Admitted);
        assert_ne!(store.charge(&alice, quota, now()).await.unwrap(), Charge::Admitted);
    }

    fn one_at_all(
        buckets: &Buckets,
        key: &str,
        read: Option<Read>,
    ) -> Result<Result<Charge, u64>, SqliteError> {
        buckets.charge(key, Quota::new(1, Quota::MAX_PER).unwrap(), Timestamp::default(), read)
    }

    /// Between the read and its use the bucket may have been charged, written and dropped.
    #[test]
    fn what_was_read_before_others_were_dropped_is_not_used() {
        let buckets = Buckets::default();
        let Ok(Err(dropped)) = one_at_all(&buckets, "alice", None) else { panic!("it was not read") };
        let read = Some(Read { bucket: Bucket::default(), dropped });
        buckets.known().dropped += 1;
        assert!(matches!(one_at_all(&buckets, "alice", read), Ok(Err(1))));
        let read = Some(Read { bucket: Bucket::default(), dropped: 1 });
        assert!(matches!(one_at_all(&buckets, "alice", read), Ok(Ok(Charge::Admitted))));
        // The bucket in memory is newer than any read.
        assert!(matches!(one_at_all(&buckets, "alice", read), Ok(Ok(Charge::Refused { .. }))));
    }

    #[test]
    fn memory_is_bounded_and_a_bucket_that_is_there_is_charged_even_so() {
        let buckets = Buckets::default();
        let read = Some(Read { bucket: Bucket::default(), dropped: 0 });
        for number in 0..MAX_BUCKETS {
            assert!(matches!(one_at_all(&buckets, &number.to_string(), read), Ok(Ok(Charge::Admitted))));
        }
        assert!(matches!(one_at_all(&buckets, "alice", read), Err(SqliteError::Unwritten)));
        assert!(matches!(one_at_all(&buckets, "0", read), Ok(Ok(Charge::Refused { .. }))));
    }
}
