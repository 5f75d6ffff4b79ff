//! The store.

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

/// How long a batch waits for those before it, so that more travel together. They usually take less;
/// one that takes longer, as it waits for a lock or a slow disk, holds the others up no longer than
/// this.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// Accounts, events and API keys in one PostgreSQL database; challenges and throttles, too.
///
/// A clone is another handle on the same connections. Any number of processes may have the same
/// database open.
#[derive(Clone)]
pub struct PostgresStore {
    pub(crate) connections: Connections,
    pub(crate) options: PostgresOptions,
    pub(crate) loads: Batches<Wanted, Option<AccountRow>, PostgresError>,
    pub(crate) api_keys: Batches<ApiKeyId, Option<ApiKeyRow>, PostgresError>,
    /// An outcome for each change: a commit must not be tried again because another one failed.
    pub(crate) commits: Batches<Arc<ChangeRows>, Result<bool, PostgresError>, PostgresError>,
    /// One batch at a time, since two of one process would lose to each other; an outcome for each charge.
    pub(crate) charges: Batches<Arc<Asked>, Result<Charge, PostgresError>, PostgresError>,
    /// How many may follow the trail at the same time.
    pub(crate) followers: Arc<Semaphore>,
}

impl PostgresStore {
    /// Opens the database at `url` with the usual options.
    ///
    /// # Errors
    /// As [`PostgresStore::open_with`].
    pub async fn open(url: &str) -> Result<Self, PostgresError> {
        Self::open_with(url, &PostgresOptions::default()).await
    }

    /// Opens the database at `url` (`postgres://user:password@host:5432/database?sslmode=verify-full`)
    /// and brings its tables up to date. Must be called on a tokio runtime, and lives no longer than
    /// that.
    ///
    /// # Errors
    /// [`PostgresError`] says what the person who runs the program has to change. A standby is
    /// refused, and so is a database with tables of a newer major version.
    pub async fn open_with(url: &str, options: &PostgresOptions) -> Result<Self, PostgresError> {
        Ok(Self::start(Connections::open(url, options).await?, options.clone()))
    }

    fn start(connections: Connections, options: PostgresOptions) -> Self {
        // Some connections stay free for pages and lists.
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

    /// Makes the changes that are queued, and closes the connections. After it every call on any clone
    /// is answered with [`PostgresError::Closed`].
    ///
    /// A store that is just dropped loses nothing that was answered.
    pub async fn close(&self) {
        self.commits.close().await;
        self.charges.close().await;
        self.loads.close().await;
        self.api_keys.close().await;
        // A walk has no end in time; it changes nothing.
        let _ = tokio::time::timeout(self.options.call_timeout, self.connections.close()).await;
    }

    /// What a call is answered with, in time.
    pub(crate) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, PostgresError>>,
    ) -> Result<T, PostgresError> {
        tokio::time::timeout(self.options.call_timeout, call).await.unwrap_or(Err(PostgresError::Timeout))
    }
}

/// Reads, and once more if the connection was lost, as when the server was restarted: that is safe,
/// and the next connection is new.
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

/// The outcome of each change of a batch. The connection is given back, or given up.
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
