//! The task that writes, and its queue.
//!
//! A commit waits once for the disk. All changes queued meanwhile are committed together by the next one, so
//! a higher load lowers the cost of each change. A single change waits for no other.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::SqliteError;
use crate::account_change::{AccountChange, change_accounts};
use crate::change::{Change, Outcome};

/// Changes that may be queued; further callers wait.
const MAX_QUEUED: usize = 1024;

/// Changes that one transaction may commit.
const MAX_TOGETHER: usize = 256;

/// A handle on the task. The task ends when the last handle is dropped, or after [`Writer::close`].
#[derive(Clone)]
pub(crate) struct Writer(mpsc::Sender<Request>);

/// A change for the writer.
pub(crate) enum Write {
    /// A change of an account; many of these are made at once.
    Account(Box<AccountChange>),
    /// Any other change, made alone.
    Other(Box<dyn Change>),
}

enum Request {
    Make(Box<Job>),
    Close(oneshot::Sender<()>),
}

/// A change and its caller. If the caller stopped waiting before the transaction began, the change is not
/// made: the caller was told that it was not.
struct Job {
    change: Write,
    answer: oneshot::Sender<Result<Outcome, SqliteError>>,
}

impl Writer {
    /// Starts the task on a connection; `settings` open another one if it breaks.
    pub(crate) fn start(connection: SqliteConnection, settings: SqliteConnectOptions) -> Self {
        let (sender, queue) = mpsc::channel(MAX_QUEUED);
        tokio::spawn(Task { queue, settings, connection: Some(connection) }.run());
        Self(sender)
    }

    /// Makes a change durable if its guard holds.
    pub(crate) async fn make(&self, change: impl Into<Write>) -> Result<Outcome, SqliteError> {
        let (answer, answered) = oneshot::channel();
        let job = Request::Make(Box::new(Job { change: change.into(), answer }));
        self.0.send(job).await.map_err(|_| SqliteError::Closed)?;
        answered.await.map_err(|_| SqliteError::Closed)?
    }

    /// Ends the task after all changes that were queued before.
    pub(crate) async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.0.send(Request::Close(answer)).await.is_ok() {
            // An error means that the task has already ended.
            let _ = closed.await;
        }
    }
}

struct Task {
    queue: mpsc::Receiver<Request>,
    settings: SqliteConnectOptions,
    /// `None` after a failure, which may have left the connection in any state.
    connection: Option<SqliteConnection>,
}

/// The reason why changes were not made.
enum Failure {
    /// This change cannot be made; the others may still succeed.
    Change(SqliteError),
    /// The transaction failed, and with it all changes.
    Transaction(SqliteError),
}

impl Task {
    async fn run(mut self) {
        let mut requests = Vec::with_capacity(MAX_TOGETHER);
        let mut closing = Vec::new();
        while self.queue.recv_many(&mut requests, MAX_TOGETHER).await > 0 {
            let mut jobs = Vec::with_capacity(requests.len());
            for request in requests.drain(..) {
                match request {
                    Request::Make(job) => jobs.push(*job),
                    Request::Close(answer) => {
                        self.queue.close();
                        closing.push(answer);
                    }
                }
            }
            self.make_all(jobs).await;
        }
        self.disconnect().await;
        for answer in closing {
            let _ = answer.send(());
        }
    }

    /// Makes changes in one transaction; one by one if one of them fails, since a change must not fail
    /// because of another one.
    async fn make_all(&mut self, jobs: Vec<Job>) {
        match self.make_together(&jobs).await {
            Ok(made) => jobs.into_iter().zip(made).for_each(|(job, made)| job.answer(Ok(made))),
            Err(Failure::Change(_)) if jobs.len() > 1 => {
                for job in jobs {
                    let made = self.make_together(std::slice::from_ref(&job)).await;
                    let made = made.map(|made| made.into_iter().next().unwrap_or(Outcome::Refused));
                    job.answer(made.map_err(Failure::into_inner));
                }
            }
            Err(Failure::Change(error) | Failure::Transaction(error)) => {
                tracing::error!(changes = jobs.len(), %error, "changes could not be committed");
                for job in jobs {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }

    /// Makes changes in one transaction and in their order, so that the first of several at the same version
    /// of one account wins. Returns one outcome per change.
    async fn make_together(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.settings.connect().await.map_err(Failure::transaction)?),
        };
        let made = transaction(connection, jobs).await;
        if made.is_err() {
            self.disconnect().await;
        }
        made
    }

    async fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Its transaction, if any, is rolled back. Nothing depends on how closing ends.
            let _ = connection.close().await;
        }
    }
}

/// `IMMEDIATE` takes SQLite's only write lock at once and keeps it to the end. So no other process can act
/// between a guard and its change, and the ids of events become visible in their order.
async fn transaction(connection: &mut SqliteConnection, jobs: &[Job]) -> Result<Vec<Outcome>, Failure> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(Failure::transaction)?;
    let awaited: Vec<_> = jobs.iter().map(Job::is_awaited).collect();
    let changes = jobs.iter().zip(&awaited).filter(|(_, awaited)| **awaited).map(|(job, _)| &job.change);
    let changes: Vec<_> = changes.collect();
    let mut made = make_in_waves(&mut transaction, &changes).await.map_err(Failure::Change)?.into_iter();
    transaction.commit().await.map_err(Failure::transaction)?;
    let made = awaited.into_iter().map(|awaited| if awaited { made.next() } else { None });
    Ok(made.map(|made| made.unwrap_or(Outcome::Refused)).collect())
}

/// Makes changes within a transaction as if one after the other. Returns one outcome per change; a change
/// whose guard did not hold changes nothing.
async fn make_in_waves(to: &mut SqliteConnection, changes: &[&Write]) -> Result<Vec<Outcome>, SqliteError> {
    let mut outcomes = Vec::with_capacity(changes.len());
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let wave = wave(rest);
        if wave.is_empty() {
            outcomes.push(match first {
                Write::Account(change) => change.make_alone(to).await?,
                Write::Other(change) => change.make(to).await?,
            });
            rest = &rest[1..];
        } else {
            rest = &rest[wave.len()..];
            outcomes.extend(change_accounts(to, &wave).await?.into_iter().map(Outcome::of));
        }
    }
    Ok(outcomes)
}

/// The longest prefix of `changes` that one statement can make: changes of accounts, none twice, and none of
/// handles. The second of two changes at the same version of one account, or of one handle, must see what the
/// first one has done.
fn wave<'a>(changes: &[&'a Write]) -> Vec<&'a AccountChange> {
    let mut accounts = HashSet::new();
    let of_account = changes.iter().map_while(|change| match change {
        Write::Account(change) if change.delta.handles().is_empty() => Some(change.as_ref()),
        Write::Account(_) | Write::Other(_) => None,
    });
    of_account.take_while(|change| accounts.insert(&change.key)).collect()
}

impl From<AccountChange> for Write {
    fn from(change: AccountChange) -> Self {
        Self::Account(Box::new(change))
    }
}

impl<C: Change + 'static> From<C> for Write {
    fn from(change: C) -> Self {
        Self::Other(Box::new(change))
    }
}

impl Job {
    fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    fn answer(self, made: Result<Outcome, SqliteError>) {
        // The caller may have stopped waiting.
        let _ = self.answer.send(made);
    }
}

impl Failure {
    fn transaction(error: sqlx::Error) -> Self {
        Self::Transaction(SqliteError::from_driver(error))
    }

    fn into_inner(self) -> SqliteError {
        match self {
            Self::Change(error) | Self::Transaction(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use mfa_domain::Timestamp;
    use mfa_domain::ports::{AccountStore, ApiKeyStore, Commit, StoreError};
    use mfa_testkit::changes::{change, factor, key};
    use tempfile::TempDir;

    use super::*;
    use crate::{SqliteOptions, SqliteStore, open};

    /// A store whose writer has a setting that users cannot choose.
    async fn store_with(pragma: &'static str, value: &'static str) -> (SqliteStore, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mfa.db");
        let (_, settings, readers) = open::open(&path, &SqliteOptions::default()).await.unwrap();
        let settings = settings.pragma(pragma, value);
        (SqliteStore::start(settings.connect().await.unwrap(), settings, readers), folder)
    }

    fn cause(error: &StoreError) -> Option<&SqliteError> {
        error.source().and_then(|inner| inner.downcast_ref())
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_that_says_so_and_loses_nothing_that_was_answered() {
        let (store, _folder) = store_with("max_page_count", "40").await;
        let user = |number: usize| key(&format!("user-{number}"));
        let add = async |number| change(&store, &user(number), |draft| draft.put(factor(1, 1_000))).await;
        let mut answered = 0;
        let error = loop {
            match add(answered).await {
                Ok(commit) => assert_eq!(commit, Commit::Won),
                Err(error) => break error,
            }
            answered += 1;
        };
        assert!(matches!(cause(&error), Some(SqliteError::DiskFull)), "{error:?}");
        assert!(answered > 3, "{answered} fitted");
        // The disk is still full, and the writer still reports it.
        let again = add(1_000_000).await.unwrap_err();
        assert!(matches!(cause(&again), Some(SqliteError::DiskFull)), "{again:?}");
        for number in 0..answered {
            let account = store.load(&user(number)).await.unwrap().value;
            assert_eq!(account.factors, [factor(1, 1_000)], "{number}");
        }
    }

    #[tokio::test]
    async fn a_database_that_became_read_only_is_an_error_that_says_so() {
        let (store, _folder) = store_with("query_only", "ON").await;
        let key = mfa_domain::ports::ApiKeyId::new("abc").unwrap();
        for _ in 0..2 {
            let error: StoreError = store.revoke(&key, Timestamp::default()).await.unwrap_err();
            assert!(matches!(cause(&error), Some(SqliteError::ReadOnly)), "{error:?}");
        }
        assert_eq!(ApiKeyStore::find(&store, &key).await.unwrap(), None);
    }
}
