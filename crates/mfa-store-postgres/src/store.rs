//! The store: its options, batches and calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mfa_batch::{Batches, Limits};
use mfa_domain::ports::{ApiKeyId, Commit};
use mfa_domain::{Challenge, ChallengeId, Charge};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;

use crate::PostgresError;
use crate::accounts::{self, Wanted};
use crate::api_keys::{self, ApiKeyRow};
use crate::challenges::{self, ChallengeRow, ChallengeSwap};
use crate::change::ChangeRows;
use crate::connections::{Connections, PostgresOptions};
use crate::outbox::MessageSwap;
use crate::rows::AccountRow;
use crate::throttle::{Asked, charge_all};
use crate::writes::{GuardedWrite, write_all};

/// How long a batch waits for the ones before it, so that it can grow. Most batches end sooner. One that
/// waits for a lock or a slow disk delays the others no longer than this.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// How long the results of messages wait for others, to share a statement and a disk write. Nobody waits for
/// them.
const RESULTS_WAIT: Duration = Duration::from_millis(10);

/// A queue of writes. One result per write: it must not be retried because another one failed.
pub(crate) type Writes<W> = Batches<Arc<W>, Result<bool, PostgresError>, PostgresError>;

/// Accounts, events, messages, API keys, challenges and throttles in one PostgreSQL database.
///
/// A clone uses the same connections. Any number of processes may open the same database.
#[derive(Clone)]
pub struct PostgresStore {
    pub(crate) connections: Connections,
    pub(crate) options: PostgresOptions,
    pub(crate) loads: Batches<Wanted, Option<AccountRow>, PostgresError>,
    pub(crate) api_keys: Batches<ApiKeyId, Option<ApiKeyRow>, PostgresError>,
    pub(crate) commits: Writes<ChangeRows>,
    pub(crate) new_challenges: Writes<Challenge>,
    pub(crate) challenges: Batches<ChallengeId, Option<ChallengeRow>, PostgresError>,
    pub(crate) challenge_swaps: Writes<ChallengeSwap>,
    pub(crate) message_swaps: Writes<MessageSwap>,
    /// One batch at a time, since two of one process would conflict with each other. One result per charge.
    pub(crate) charges: Batches<Arc<Asked>, Result<Charge, PostgresError>, PostgresError>,
    /// Limits how many calls follow the trail at the same time.
    pub(crate) followers: Arc<Semaphore>,
}

impl PostgresStore {
    /// Opens the database at `url` with the default options.
    ///
    /// # Errors
    /// As [`PostgresStore::open_with`].
    pub async fn open(url: &str) -> Result<Self, PostgresError> {
        Self::open_with(url, &PostgresOptions::default()).await
    }

    /// Opens the database at `url` (`postgres://user:password@host:5432/database?sslmode=verify-full`) and
    /// migrates its tables. Must be called on a tokio runtime; the store works as long as that runtime.
    ///
    /// # Errors
    /// [`PostgresError`] says what the operator has to change. A standby is refused, and so is a database
    /// whose tables have a newer major version.
    pub async fn open_with(url: &str, options: &PostgresOptions) -> Result<Self, PostgresError> {
        Ok(Self::start(Connections::open(url, options).await?, options.clone()))
    }

    fn start(connections: Connections, options: PostgresOptions) -> Self {
        // The other connections stay free for pages and lists.
        let slots = (options.max_connections / 4).max(1);
        let limits = || Limits { under_way: slots, patience: BATCH_WAIT, ..Limits::default() };
        // Fewer, so that challenges do not take the connections of verifications.
        let few = || Limits { under_way: slots.min(2), ..limits() };
        // A batch that still waits for others is not slow.
        let results = Limits { patience: 2 * RESULTS_WAIT, ..few() };
        let (for_loads, for_keys) = (connections.clone(), connections.clone());
        let (for_challenges, for_charges) = (connections.clone(), connections.clone());
        let timeout = options.call_timeout;
        Self {
            loads: Batches::start(limits(), move |wanted| {
                let connections = for_loads.clone();
                async move { reading(|| accounts::load(&connections, &wanted)).await }
            }),
            api_keys: Batches::start(Limits::default(), move |ids| {
                let connections = for_keys.clone();
                async move { reading(|| api_keys::find(&connections, &ids)).await }
            }),
            commits: writes(&connections, limits(), timeout, Duration::ZERO),
            new_challenges: writes(&connections, few(), timeout, Duration::ZERO),
            challenges: Batches::start(few(), move |ids| {
                let connections = for_challenges.clone();
                async move { reading(|| challenges::get(&connections, &ids)).await }
            }),
            challenge_swaps: writes(&connections, few(), timeout, Duration::ZERO),
            message_swaps: writes(&connections, results, timeout, RESULTS_WAIT),
            charges: Batches::start(Limits::default(), move |asked| {
                let connections = for_charges.clone();
                async move { Ok(charge(&connections, &asked, timeout).await) }
            }),
            followers: Arc::new(Semaphore::new((slots / 2).max(1) as usize)),
            connections,
            options,
        }
    }

    /// Makes the queued changes and closes the connections. Every later call on any clone gets
    /// [`PostgresError::Closed`].
    ///
    /// Dropping the store without closing it loses no confirmed change.
    pub async fn close(&self) {
        self.commits.close().await;
        self.new_challenges.close().await;
        self.challenge_swaps.close().await;
        self.message_swaps.close().await;
        self.charges.close().await;
        self.loads.close().await;
        self.challenges.close().await;
        self.api_keys.close().await;
        // A walk can take minutes, and changes nothing: it is not waited for.
        let _ = tokio::time::timeout(self.options.call_timeout, self.connections.close()).await;
    }

    /// Makes a write in a batch of its queue.
    pub(crate) async fn write<W: GuardedWrite>(
        &self,
        queue: &Writes<W>,
        write: W,
    ) -> Result<Commit, PostgresError> {
        let made = self.in_time(queue.ask(Arc::new(write))).await??;
        Ok(if made { Commit::Won } else { Commit::Conflict })
    }

    /// Runs `call`, and returns [`PostgresError::Timeout`] after `call_timeout`.
    pub(crate) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, PostgresError>>,
    ) -> Result<T, PostgresError> {
        tokio::time::timeout(self.options.call_timeout, call).await.unwrap_or(Err(PostgresError::Timeout))
    }
}

/// Runs `read`, and once more if the connection was lost, as after a restart of the server. Repeating a read
/// is safe, and the second attempt uses a new connection.
pub(crate) async fn reading<T, R>(read: impl Fn() -> R) -> Result<T, PostgresError>
where
    R: Future<Output = Result<T, PostgresError>>,
{
    match read().await {
        Err(PostgresError::ConnectionLost(_)) => read().await,
        read => read,
    }
}

/// Starts a queue of writes. Each batch waits `gather` before it begins, while the next one grows.
fn writes<W: GuardedWrite>(
    connections: &Connections,
    limits: Limits,
    timeout: Duration,
    gather: Duration,
) -> Writes<W> {
    let connections = connections.clone();
    Batches::start(limits, move |writes: Vec<Arc<W>>| {
        let connections = connections.clone();
        async move {
            if !gather.is_zero() {
                tokio::time::sleep(gather).await;
            }
            Ok(write(&connections, &writes, timeout).await)
        }
    })
}

async fn write<W: GuardedWrite>(
    connections: &Connections,
    writes: &[Arc<W>],
    timeout: Duration,
) -> Vec<Result<bool, PostgresError>> {
    match connections.acquire().await {
        Ok(mut connection) => {
            let made = write_all(&mut connection, writes, connections.limits);
            let made = tokio::time::timeout(timeout, made).await;
            outcomes(connections, connection, writes.len(), made)
        }
        Err(error) => vec![Err(error); writes.len()],
    }
}

async fn charge(
    connections: &Connections,
    asked: &[Arc<Asked>],
    timeout: Duration,
) -> Vec<Result<Charge, PostgresError>> {
    match connections.acquire().await {
        Ok(mut connection) => {
            let made = charge_all(&mut connection, asked, connections.limits);
            let made = tokio::time::timeout(timeout, made).await;
            outcomes(connections, connection, asked.len(), made)
        }
        Err(error) => vec![Err(error); asked.len()],
    }
}

/// The result of each change of a batch. Returns the connection to the pool, or drops it if it is broken.
fn outcomes<T: Clone>(
    connections: &Connections,
    connection: PoolConnection<Postgres>,
    changes: usize,
    made: Result<Vec<Result<T, PostgresError>>, Elapsed>,
) -> Vec<Result<T, PostgresError>> {
    let made = made.unwrap_or_else(|_| vec![Err(PostgresError::Timeout); changes]);
    let broken = made.iter().filter_map(|made| made.as_ref().err()).find(|error| error.breaks_connection());
    if let Err(error) = connections.release(connection, broken.cloned().map_or(Ok(()), Err)) {
        tracing::error!(changes, %error, "changes could not be committed");
    }
    made
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresStore(..)")
    }
}
