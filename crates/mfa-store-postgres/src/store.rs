//! The store: its options, batches and calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mfa_batch::{Batches, Limits};
use mfa_domain::Charge;
use mfa_domain::ports::ApiKeyId;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;

use crate::PostgresError;
use crate::accounts::{self, Wanted};
use crate::api_keys::{self, ApiKeyRow};
use crate::change::{ChangeRows, commit_all};
use crate::connections::{Connections, PostgresOptions};
use crate::rows::AccountRow;
use crate::throttle::{Asked, charge_all};

/// How long a batch waits for the ones before it, so that it can grow. Most batches end sooner. One that
/// waits for a lock or a slow disk delays the others no longer than this.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// Accounts, events, API keys, challenges and throttles in one PostgreSQL database.
///
/// A clone uses the same connections. Any number of processes may open the same database.
#[derive(Clone)]
pub struct PostgresStore {
    pub(crate) connections: Connections,
    pub(crate) options: PostgresOptions,
    pub(crate) loads: Batches<Wanted, Option<AccountRow>, PostgresError>,
    pub(crate) api_keys: Batches<ApiKeyId, Option<ApiKeyRow>, PostgresError>,
    /// One result per change: a commit must not be retried because another one failed.
    pub(crate) commits: Batches<Arc<ChangeRows>, Result<bool, PostgresError>, PostgresError>,
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
        let (for_loads, for_keys) = (connections.clone(), connections.clone());
        let (for_commits, for_charges) = (connections.clone(), connections.clone());
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
            commits: Batches::start(limits(), move |changes| {
                let connections = for_commits.clone();
                async move { Ok(commit(&connections, &changes, timeout).await) }
            }),
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
        self.charges.close().await;
        self.loads.close().await;
        self.api_keys.close().await;
        // A walk can take minutes, and changes nothing: it is not waited for.
        let _ = tokio::time::timeout(self.options.call_timeout, self.connections.close()).await;
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

async fn commit(
    connections: &Connections,
    changes: &[Arc<ChangeRows>],
    timeout: Duration,
) -> Vec<Result<bool, PostgresError>> {
    match connections.acquire().await {
        Ok(mut connection) => {
            let made = commit_all(&mut connection, changes, connections.limits);
            let made = tokio::time::timeout(timeout, made).await;
            outcomes(connections, connection, changes.len(), made)
        }
        Err(error) => vec![Err(error); changes.len()],
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
