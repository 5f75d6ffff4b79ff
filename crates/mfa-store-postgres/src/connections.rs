//! Connections: opening, pooling and dropping them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Connection, FromRow, PgConnection, Postgres};
use tokio::time::Instant;

use crate::error::of_connecting;
use crate::migrations::migrate;
use crate::transaction::{self, PLANS, Statement, TimeLimits, Work, transact};
use crate::{PostgresError, PostgresUrl};

/// Limits for one store.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Maximum number of connections of this process. Default 16; at least 2. A quarter of them loads
    /// accounts and a quarter commits; the others serve pages, lists, charges, challenges and messages.
    pub max_connections: u32,
    /// How long a call waits for a free or new connection. Default 1 second.
    pub acquire_timeout: Duration,
    /// After this time the server stops a statement. Default 1.5 seconds.
    pub statement_timeout: Duration,
    /// How long a statement waits for a row that another transaction has locked. Default 0.5 seconds.
    pub lock_timeout: Duration,
    /// After this time a caller gets an error, whatever is still running, even if the network or the server
    /// does not respond. Default 1.8 seconds.
    pub call_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_millis(1500),
            lock_timeout: Duration::from_millis(500),
            call_timeout: Duration::from_millis(1800),
        }
    }
}

/// The first statement of every connection. It fails on a server that cannot write, so that no standby is
/// ever read.
///
/// It is a prepared statement with a name, as all statements are. Behind a pooler that shares one session
/// between connections and does not separate their names, the second connection is therefore refused.
const GREETING: &str = "SELECT set_config('transaction_read_only', 'off', true)";

/// A connection that was idle for longer is tested before use.
const IDLE: Duration = Duration::from_secs(5);

/// A pool, and what is known about its server.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: PgPool,
    acquire_timeout: Duration,
    call_timeout: Duration,
    pub(crate) limits: TimeLimits,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// When a connection was last lost. Those that were idle at that time may be lost as well.
    lost: Option<Instant>,
    /// Why the last new connection was not used.
    refusal: Option<PostgresError>,
}

impl Connections {
    /// Connects and migrates the tables. The error says what is wrong.
    pub(crate) async fn open(url: &str, options: &PostgresOptions) -> Result<Self, PostgresError> {
        let url = url.parse::<PostgresUrl>()?;
        url.warn_of_losses();
        let (settings, mut first) = connect_first(&url.settings()?, options).await?;
        // The second connection shows whether a pooler keeps prepared statements, before anything is changed.
        let second = connect(&settings, options.acquire_timeout).await?;
        migrate(&mut first).await?;
        warn_of_losses(&mut first).await?;
        for connection in [first, second] {
            // Nothing depends on how the connection ends.
            let _ = connection.close().await;
        }
        Ok(Self::pool(settings, options))
    }

    fn pool(settings: PgConnectOptions, options: &PostgresOptions) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (for_new, for_idle) = (Arc::clone(&seen), Arc::clone(&seen));
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections.max(2))
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let seen = Arc::clone(&for_new);
                Box::pin(async move {
                    let usable = greet(connection).await;
                    lock(&seen).refusal = usable.as_ref().err().cloned();
                    usable.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))
                })
            })
            .before_acquire(move |connection, meta| {
                let lost = lock(&for_idle).lost;
                let doubtful = lost.is_some_and(|lost| lost.elapsed() <= meta.idle_for);
                Box::pin(async move {
                    if doubtful || meta.idle_for > IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(settings);
        Self {
            pool,
            acquire_timeout: options.acquire_timeout,
            call_timeout: options.call_timeout,
            limits: TimeLimits::of(options),
            seen,
        }
    }

    /// Runs a statement that is its own transaction within the call timeout, see [`transaction::once`].
    pub(crate) async fn once<'q, T>(
        &self,
        statement: impl Fn() -> Statement<'q, T>,
    ) -> Result<Vec<T>, PostgresError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let deadline = Instant::now() + self.call_timeout;
        let mut connection = by(deadline, self.acquire()).await?;
        let made = by(deadline, transaction::once(&mut connection, self.limits, statement)).await;
        self.release(connection, made)
    }

    /// Runs work in one transaction within the call timeout, see [`transaction::transact`].
    pub(crate) async fn transact<T>(
        &self,
        work: impl FnOnce(&mut PgConnection) -> Work<'_, T>,
    ) -> Result<T, PostgresError> {
        self.transact_within(self.call_timeout, self.limits, work).await
    }

    /// Runs work in one transaction. After `timeout` the caller gets an error, whatever the server does, and
    /// the connection is dropped.
    pub(crate) async fn transact_within<T>(
        &self,
        timeout: Duration,
        limits: TimeLimits,
        work: impl FnOnce(&mut PgConnection) -> Work<'_, T>,
    ) -> Result<T, PostgresError> {
        let deadline = Instant::now() + timeout;
        let mut connection = by(deadline, self.acquire()).await?;
        let done = by(deadline, transact(&mut connection, limits, work)).await;
        self.release(connection, done)
    }

    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>, PostgresError> {
        self.pool.acquire().await.map_err(|error| self.not_acquired(error))
    }

    fn not_acquired(&self, error: sqlx::Error) -> PostgresError {
        match error {
            sqlx::Error::PoolTimedOut => {
                let refusal = lock(&self.seen).refusal.clone();
                refusal.unwrap_or(PostgresError::NoConnection(self.acquire_timeout))
            }
            sqlx::Error::PoolClosed => PostgresError::Closed,
            error => of_connecting(error, &self.pool.connect_options()),
        }
    }

    /// Returns a connection to the pool, or drops it if the result shows that it is broken.
    pub(crate) fn release<T>(
        &self,
        connection: PoolConnection<Postgres>,
        used: Result<T, PostgresError>,
    ) -> Result<T, PostgresError> {
        if used.as_ref().is_err_and(PostgresError::breaks_connection) {
            lock(&self.seen).lost = Some(Instant::now());
            drop(connection.detach());
        }
        used
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// The result of a part of a call, or a timeout at the deadline of the call.
async fn by<T>(
    deadline: Instant,
    part: impl Future<Output = Result<T, PostgresError>>,
) -> Result<T, PostgresError> {
    tokio::time::timeout_at(deadline, part).await.unwrap_or(Err(PostgresError::Timeout))
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first connection, and the settings with which all others are made.
///
/// A server gets plan settings and time limits as defaults of each session. Nothing relies on them. A pooler
/// refuses such parameters (`PgBouncer`: "unsupported startup parameter") and then gets none.
async fn connect_first(
    settings: &PgConnectOptions,
    options: &PostgresOptions,
) -> Result<(PgConnectOptions, PgConnection), PostgresError> {
    let limits = TimeLimits::of(options);
    let told = settings.clone().options(PLANS).options(limits.defaults());
    match connect(&told, options.acquire_timeout).await {
        Err(PostgresError::Rejected { .. }) => {
            let connection = connect(settings, options.acquire_timeout).await?;
            Ok((settings.clone(), connection))
        }
        connected => connected.map(|connection| (told, connection)),
    }
}

/// A connection outside of the pool.
pub(crate) async fn connect(
    settings: &PgConnectOptions,
    patience: Duration,
) -> Result<PgConnection, PostgresError> {
    let connecting = async {
        let connected = settings.connect().await;
        let mut connection = connected.map_err(|error| of_connecting(error, settings))?;
        greet(&mut connection).await?;
        Ok(connection)
    };
    let connected = tokio::time::timeout(patience.max(Duration::from_secs(5)), connecting).await;
    connected.unwrap_or_else(|_| Err(unreachable(settings)))
}

fn unreachable(settings: &PgConnectOptions) -> PostgresError {
    of_connecting(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()), settings)
}

async fn greet(connection: &mut PgConnection) -> Result<(), PostgresError> {
    let greeting = || sqlx::query_as::<_, (String,)>(GREETING);
    transaction::once(connection, TimeLimits::NONE, greeting).await?;
    Ok(())
}

const LOSSY: &str = "SELECT name FROM pg_catalog.pg_settings
    WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'";

/// Warns of server settings with which a crash can lose confirmed changes.
async fn warn_of_losses(connection: &mut PgConnection) -> Result<(), PostgresError> {
    let lossy = || sqlx::query_as::<_, (String,)>(LOSSY);
    for (setting,) in transaction::once(connection, TimeLimits::NONE, lossy).await? {
        tracing::warn!("{setting} is off on the database server: a crash can lose or damage committed data");
    }
    Ok(())
}
