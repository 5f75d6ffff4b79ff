//! Connections: how they are made, kept, and given up.

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

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Connections of this process, at most. Default 16; at least 2. A quarter of them load, and a
    /// quarter commits; the others are for pages, lists, challenges and charges.
    pub max_connections: u32,
    /// How long a caller waits for a free connection, and for a new one to be made. Default 1 second.
    pub acquire_timeout: Duration,
    /// When the server stops a statement. Default 1.5 seconds.
    pub statement_timeout: Duration,
    /// How long a statement waits for a row that another transaction keeps locked. Default 0.5 seconds.
    pub lock_timeout: Duration,
    /// When a caller gets an error, whatever is still under way; also where the network or the server
    /// is silent. Default 1.8 seconds.
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

/// The first statement of every connection, the same for all: whether it may write, so that no standby is ever read.
///
/// It has a name, as every statement has. So behind a pooler that gives several connections one session, and keeps no
/// names apart, the second one is refused.
const GREETING: &str = "SELECT set_config('transaction_read_only', 'off', true)";

/// A connection that has been idle for longer is asked whether it is still there.
const IDLE: Duration = Duration::from_secs(5);

/// A pool, and what is known of its server.
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
    /// When a connection was last lost. Those that were idle then may be lost as well.
    lost: Option<Instant>,
    /// Why the last new connection was not used.
    refusal: Option<PostgresError>,
}

impl Connections {
    /// Connects, with an error that says what is wrong, and brings the tables up to date.
    pub(crate) async fn open(url: &str, options: &PostgresOptions) -> Result<Self, PostgresError> {
        let url = url.parse::<PostgresUrl>()?;
        url.warn_of_losses();
        let (settings, mut first) = connect_first(&url.settings()?, options).await?;
        // It finds out whether a pooler keeps prepared statements, before anything is changed.
        let second = connect(&settings, options.acquire_timeout).await?;
        migrate(&mut first).await?;
        warn_of_losses(&mut first).await?;
        for connection in [first, second] {
            // Nothing depends on how it ends.
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

    /// Makes a statement that is a transaction by itself, in time: [`transaction::once`].
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

    /// Does work in one transaction, in time: [`transaction::transact`].
    pub(crate) async fn transact<T>(
        &self,
        work: impl FnOnce(&mut PgConnection) -> Work<'_, T>,
    ) -> Result<T, PostgresError> {
        self.transact_within(self.call_timeout, self.limits, work).await
    }

    /// Whatever the server does, the caller has an error once the time is over, and the connection is given up.
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

    /// Gives a connection back, unless what it was used for has shown that it is of no use.
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

/// What a part of a call comes to before the deadline of the call.
async fn by<T>(
    deadline: Instant,
    part: impl Future<Output = Result<T, PostgresError>>,
) -> Result<T, PostgresError> {
    tokio::time::timeout_at(deadline, part).await.unwrap_or(Err(PostgresError::Timeout))
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first connection, and the settings that all others are made with.
///
/// A server is told at the beginning what the defaults of a session are: plans, and time limits. Nothing
/// rests on them. A pooler refuses that (`PgBouncer`: "unsupported startup parameter"), so it is told nothing.
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

/// A connection beside those of the pool.
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

/// Settings of the server with which a crash can lose what was answered.
async fn warn_of_losses(connection: &mut PgConnection) -> Result<(), PostgresError> {
    let lossy = || sqlx::query_as::<_, (String,)>(LOSSY);
    for (setting,) in transaction::once(connection, TimeLimits::NONE, lossy).await? {
        tracing::warn!(
            "{setting} is off on the database server: a crash can lose or damage what was committed"
        );
    }
    Ok(())
}
