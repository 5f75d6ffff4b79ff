//! Connections: how they are made, kept, and given up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres, Transaction};
use tokio::time::Instant;

use crate::error::of_connecting;
use crate::migrations::migrate;
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

/// What every connection is told first.
///
/// The plans of our statements never depend on how full the tables were when they were made: all of
/// them find few rows by an index. So whole tables are not to be read, joins are not to be planned for
/// that, and a plan is made once. A transaction whose program is gone without a word, as when the network
/// is cut, keeps its locks for ten seconds after its last statement. A committed change is on the disk
/// before it is answered, even where the database was told otherwise; and a higher isolation level would
/// fail where this one compares again.
const SETUP: &str = "
    SELECT pg_is_in_recovery(),
        set_config('statement_timeout', $1, false),
        set_config('lock_timeout', $2, false),
        set_config('idle_in_transaction_session_timeout', '10s', false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('synchronous_commit',
            CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
            ELSE current_setting('synchronous_commit') END, false),
        set_config('plan_cache_mode', 'force_generic_plan', false),
        set_config('enable_seqscan', 'off', false),
        set_config('enable_bitmapscan', 'off', false),
        set_config('enable_hashjoin', 'off', false),
        set_config('enable_mergejoin', 'off', false),
        set_config('jit', 'off', false)";

/// A connection that has been idle for longer is asked whether it is still there.
const IDLE: Duration = Duration::from_secs(5);

/// A pool, and what is known of its server.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: PgPool,
    acquire_timeout: Duration,
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
    /// Connects once, with an error that says what is wrong, and brings the tables up to date.
    pub(crate) async fn open(url: &str, options: &PostgresOptions) -> Result<Self, PostgresError> {
        let settings = url.parse::<PostgresUrl>()?.settings()?;
        let mut first = connect(&settings, options.acquire_timeout).await?;
        migrate(&mut first).await?;
        warn_of_losses(&mut first).await?;
        // Nothing depends on how it ends.
        let _ = first.close().await;
        Ok(Self::pool(settings, options))
    }

    fn pool(settings: PgConnectOptions, options: &PostgresOptions) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (for_new, for_idle) = (Arc::clone(&seen), Arc::clone(&seen));
        let (statement_timeout, lock_timeout) = (options.statement_timeout, options.lock_timeout);
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections.max(2))
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let seen = Arc::clone(&for_new);
                Box::pin(async move {
                    let usable = set_up(connection, &statement_timeout, &lock_timeout).await;
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
        Self { pool, acquire_timeout: options.acquire_timeout, seen }
    }

    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>, PostgresError> {
        self.pool.acquire().await.map_err(|error| self.not_acquired(error))
    }

    /// A transaction that outlives the call.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>, PostgresError> {
        self.pool.begin().await.map_err(|error| self.not_acquired(error))
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

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection whose statements may take as long as they do.
pub(crate) async fn connect(
    settings: &PgConnectOptions,
    patience: Duration,
) -> Result<PgConnection, PostgresError> {
    let connecting = tokio::time::timeout(patience.max(Duration::from_secs(5)), settings.connect());
    let connected = connecting.await.map_err(|_| unreachable(settings))?;
    let mut connection = connected.map_err(|error| of_connecting(error, settings))?;
    set_up(&mut connection, &Duration::ZERO, &Duration::ZERO).await?;
    Ok(connection)
}

fn unreachable(settings: &PgConnectOptions) -> PostgresError {
    of_connecting(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()), settings)
}

async fn set_up(
    connection: &mut PgConnection,
    statement_timeout: &Duration,
    lock_timeout: &Duration,
) -> Result<(), PostgresError> {
    let row = sqlx::query(SETUP)
        .persistent(false)
        .bind(statement_timeout.as_millis().to_string())
        .bind(lock_timeout.as_millis().to_string())
        .fetch_one(connection)
        .await
        .map_err(PostgresError::from_driver)?;
    let standby: bool = sqlx::Row::try_get(&row, 0).map_err(PostgresError::from_driver)?;
    if standby { Err(PostgresError::ReadOnly) } else { Ok(()) }
}

/// From now on a statement waits so long for a lock. To reset it instead would give it what the server has,
/// which is not what [`set_up`] has told it.
pub(crate) async fn set_lock_timeout(
    connection: &mut PgConnection,
    timeout: Duration,
) -> Result<(), PostgresError> {
    let set =
        sqlx::query("SELECT set_config('lock_timeout', $1, false)").bind(timeout.as_millis().to_string());
    set.execute(connection).await.map_err(PostgresError::from_driver)?;
    Ok(())
}

/// Settings of the server with which a crash can lose what was answered.
async fn warn_of_losses(connection: &mut PgConnection) -> Result<(), PostgresError> {
    let settings: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pg_catalog.pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'",
    )
    .fetch_all(connection)
    .await
    .map_err(PostgresError::from_driver)?;
    for setting in settings {
        tracing::warn!(
            "{setting} is off on the database server: a crash can lose or damage what was committed"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Executor};

    use crate::{PostgresStore, server};

    /// A database may be told to be fast rather than safe, or to isolate more than is of use here.
    #[tokio::test]
    async fn every_connection_has_the_settings_that_promises_rest_on() {
        let url = server::database().await;
        let told = "DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
            EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
            EXECUTE format('ALTER DATABASE %I SET statement_timeout = 0', current_database());
        END $$";
        let mut admin = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        admin.execute(told).await.unwrap();
        let store = PostgresStore::open(&url).await.unwrap();
        let mut connection = store.connections.acquire().await.unwrap();
        for (setting, expected) in [
            ("synchronous_commit", "on"),
            ("transaction_isolation", "read committed"),
            ("statement_timeout", "1500ms"),
            ("lock_timeout", "500ms"),
            ("idle_in_transaction_session_timeout", "10s"),
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ] {
            let show = AssertSqlSafe(format!("SHOW {setting}"));
            let value: String = sqlx::query_scalar(show).fetch_one(&mut *connection).await.unwrap();
            assert_eq!(value, expected, "{setting}");
        }
    }
}
