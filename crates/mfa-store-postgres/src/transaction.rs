//! Transactions that bring their own settings.
//!
//! Behind a pooler in transaction mode a session belongs to everybody: each transaction may have another one, and
//! finds in it what other clients have set. So no promise rests on a setting of a session, and none is set
//! there, where others would find it.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, Connection, Executor, FromRow, PgConnection, Postgres, Transaction};
use tokio::time::Instant;

use crate::{PostgresError, PostgresOptions};

/// How long a statement may take, and how much of that it may wait for a lock. Zero: for as long as it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimits {
    pub(crate) statement: Duration,
    pub(crate) lock: Duration,
}

/// The plans of our statements never depend on how full the tables were when they were made: all of
/// them find few rows by an index. So whole tables are not to be read, joins are not to be planned for
/// that, and a plan is made once.
pub(crate) const PLANS: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// A transaction whose program is gone without a word, as when the network is cut, keeps its locks for so
/// long after its last statement.
const IDLE_TIMEOUT: &str = "10s";

/// A condition of every statement that is a transaction by itself. It holds, or the statement fails and has changed
/// nothing: where nothing can be written, since what a standby has may be old; and where the session was told another
/// encoding than UTF-8, since the server then has read other texts than were sent, and sends others than it has.
macro_rules! by_itself {
    () => {
        "(SELECT set_config('transaction_read_only', \
            CASE pg_client_encoding() WHEN 'UTF8' THEN 'off' ELSE 'only in UTF8' END, true)) = 'off'"
    };
}

pub(crate) use by_itself;

/// How often a transaction is begun in sessions whose statements are stopped at once.
const BEGINNINGS: usize = 8;

impl TimeLimits {
    /// For work that takes as long as it does.
    pub(crate) const NONE: Self = Self { statement: Duration::ZERO, lock: Duration::ZERO };

    pub(crate) const fn of(options: &PostgresOptions) -> Self {
        Self { statement: options.statement_timeout, lock: options.lock_timeout }
    }

    /// The defaults of a session that is ours alone.
    pub(crate) fn defaults(self) -> [(&'static str, String); 4] {
        [
            ("statement_timeout", self.statement.as_millis().to_string()),
            ("lock_timeout", self.lock.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", IDLE_TIMEOUT.to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
        ]
    }

    /// What a transaction begins with, in one message.
    ///
    /// A change is on the disk before it is answered, and on a standby where the server has a synchronous one,
    /// whatever the session was told. At a higher isolation level a statement fails where ours compare again.
    ///
    /// Texts are read and sent as UTF-8, by the user that the session began as.
    ///
    /// A session that somebody else made read-only does not stop us. A database that its operator made read-only does,
    /// and the default without the session says so: a transaction may become read-only at any time, and read-write at
    /// its beginning only, so the last line fails then.
    pub(crate) fn beginning(self) -> String {
        let plans = PLANS.map(|(name, value)| format!("SET LOCAL {name} = {value}; ")).concat();
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
             SET LOCAL statement_timeout = {}; \
             SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}'; \
             SET LOCAL synchronous_commit = on; \
             SET LOCAL client_encoding = 'UTF8'; \
             SET LOCAL role TO DEFAULT; \
             {plans} \
             SET LOCAL default_transaction_read_only TO DEFAULT; \
             SELECT set_config('transaction_read_only', current_setting('default_transaction_read_only'), true); \
             SELECT set_config('transaction_read_only', 'off', true)",
            self.statement.as_millis(),
            self.lock.as_millis(),
        )
    }

    /// Whether a statement may have failed for what its session was told by others. Then it has changed nothing.
    fn are_not_why(self, error: &PostgresError, took: Duration) -> bool {
        let sooner = |limit: Duration| limit.is_zero() || took < limit;
        match error {
            PostgresError::ReadOnly | PostgresError::GivenUp | PostgresError::Privilege(_) => true,
            PostgresError::StatementTimeout => sooner(self.statement),
            PostgresError::Locked => sooner(self.lock),
            error => error.is_of_a_statement(),
        }
    }
}

/// A statement with its values, and what its rows are.
pub(crate) type Statement<'q, T> = QueryAs<'q, Postgres, T, PgArguments>;

/// Work on a connection.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, PostgresError>> + Send + 'c>>;

/// Does work in one transaction: all of it, or nothing.
pub(crate) async fn transact<T>(
    on: &mut PgConnection,
    limits: TimeLimits,
    work: impl FnOnce(&mut PgConnection) -> Work<'_, T>,
) -> Result<T, PostgresError> {
    for left in (0..BEGINNINGS).rev() {
        let error = match on.begin_with(AssertSqlSafe(limits.beginning())).await {
            Ok(mut transaction) => {
                let done = work(&mut transaction).await;
                return finish(transaction, done).await;
            }
            Err(error) => error,
        };
        begin_again(on, error, left).await?;
    }
    Err(PostgresError::StatementTimeout)
}

/// Makes a statement that is a transaction by itself, in one round trip. What it needs of the session it must set
/// itself (`set_config(…, true)`), or fail without ([`by_itself`]). If it fails for what the session was told by others, it is made once
/// more in a transaction with settings of its own.
pub(crate) async fn once<'q, T>(
    on: &mut PgConnection,
    limits: TimeLimits,
    statement: impl Fn() -> Statement<'q, T>,
) -> Result<Vec<T>, PostgresError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let begin = Instant::now();
    // All rows, not the first: rows may be sent before the transaction is committed, and the end of them
    // only after it. So whoever stops reading early may take for made what never was.
    let made = statement().fetch_all(&mut *on).await.map_err(PostgresError::from_driver);
    if !made.as_ref().is_err_and(|error| limits.are_not_why(error, begin.elapsed())) {
        return made;
    }
    // In a box, since most futures need no room for it.
    Box::pin(once_in_a_transaction(on, limits, statement)).await
}

async fn once_in_a_transaction<'q, T>(
    on: &mut PgConnection,
    limits: TimeLimits,
    statement: impl Fn() -> Statement<'q, T>,
) -> Result<Vec<T>, PostgresError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    for left in (0..BEGINNINGS).rev() {
        let error = match on.begin_with(AssertSqlSafe(limits.beginning())).await {
            Ok(mut transaction) => {
                let made = statement().fetch_all(&mut *transaction).await;
                return finish(transaction, made.map_err(PostgresError::from_driver)).await;
            }
            Err(error) => error,
        };
        begin_again(on, error, left).await?;
    }
    Err(PostgresError::StatementTimeout)
}

/// Commits what was done, or rolls it back at once.
///
/// The limits of a transaction end where it fails: to roll it back is up to those of the session, which may be too short. A
/// rollback that is left to the connection's next statement could fail there, and that statement with it.
async fn finish<T>(
    mut transaction: Transaction<'_, Postgres>,
    done: Result<T, PostgresError>,
) -> Result<T, PostgresError> {
    let error = match done {
        Ok(done) => {
            return transaction.commit().await.map_err(PostgresError::from_driver).map(|()| done);
        }
        Err(error) => error,
    };
    // Otherwise it goes with its connection.
    if !error.breaks_connection() {
        roll_back(&mut transaction).await?;
    }
    Err(error)
}

/// Until it is done: what is sent once more when a transaction is dropped finds none.
async fn roll_back(on: &mut PgConnection) -> Result<(), PostgresError> {
    for left in (0..BEGINNINGS).rev() {
        let Err(error) = on.execute("ROLLBACK").await else { return Ok(()) };
        let is_stopped =
            error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("57014"));
        if left == 0 || !is_stopped {
            return Err(PostgresError::ConnectionLost(Arc::new(error)));
        }
    }
    Ok(())
}

/// After a beginning that failed: whether another one is worth it.
async fn begin_again(on: &mut PgConnection, error: sqlx::Error, left: usize) -> Result<(), PostgresError> {
    let code = error.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
    let error = match code.as_deref() {
        // A standby: no transaction may write there.
        Some("0A000") => PostgresError::ReadOnly,
        _ => PostgresError::from_driver(error),
    };
    if error.breaks_connection() {
        return Err(error);
    }
    // The message was not carried out to its end, and may have begun one.
    roll_back(on).await?;
    if left > 0 && matches!(error, PostgresError::StatementTimeout) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Executor};

    use super::*;
    use crate::{PostgresStore, server};

    /// What a transaction finds.
    async fn show(on: &mut PgConnection, setting: &str) -> String {
        let show = AssertSqlSafe(format!("SHOW {setting}"));
        sqlx::query_scalar(show).persistent(false).fetch_one(on).await.unwrap()
    }

    /// A database may be told to be fast rather than safe, or to isolate more than is of use here; and so
    /// may a session, by somebody else.
    #[tokio::test]
    async fn a_transaction_has_settings_of_its_own_and_leaves_none_to_its_session() {
        let url = server::database().await;
        let told = "DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
            EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
            EXECUTE format('ALTER DATABASE %I SET statement_timeout = 0', current_database());
        END $$";
        let mut session = PgConnection::connect(&url).await.unwrap();
        session.execute(told).await.unwrap();
        let store = PostgresStore::open(&url).await.unwrap();
        let limits = store.connections.limits;
        let mut session = PgConnection::connect(&url).await.unwrap();
        let hostile =
            "SET default_transaction_read_only = on; SET lock_timeout = 1; SET statement_timeout = 1";
        session.execute(hostile).await.unwrap();
        let expected = [
            ("synchronous_commit", "on"),
            ("transaction_isolation", "read committed"),
            ("transaction_read_only", "off"),
            ("statement_timeout", "1500ms"),
            ("lock_timeout", "500ms"),
            ("idle_in_transaction_session_timeout", "10s"),
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ];
        let found = transact(&mut session, limits, |on| {
            Box::pin(async move {
                let mut found = Vec::new();
                for (setting, _) in expected {
                    found.push((setting, show(on, setting).await));
                }
                Ok(found)
            })
        });
        let found = found.await.unwrap();
        assert_eq!(found, expected.map(|(setting, value)| (setting, value.to_owned())));
        session.execute("SET statement_timeout = 0").await.unwrap();
        for (setting, expected) in [
            ("synchronous_commit", "off"),
            ("transaction_isolation", "serializable"),
            ("transaction_read_only", "on"),
            ("lock_timeout", "1ms"),
            ("enable_seqscan", "on"),
        ] {
            assert_eq!(show(&mut session, setting).await, expected, "{setting}");
        }
        // A session that is ours alone has our limits and plans as its defaults.
        let mut ours = store.connections.acquire().await.unwrap();
        for (setting, expected) in [("statement_timeout", "1500ms"), ("enable_seqscan", "off")] {
            assert_eq!(show(&mut ours, setting).await, expected, "{setting}");
        }
    }

    /// What the operator says of the database is not overruled.
    #[tokio::test]
    async fn a_database_that_is_read_only_is_not_written() {
        let url = server::database().await;
        let mut session = PgConnection::connect(&url).await.unwrap();
        let told = "DO $$ BEGIN EXECUTE format(
            'ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
        session.execute(told).await.unwrap();
        let mut session = PgConnection::connect(&url).await.unwrap();
        let work = transact(&mut session, TimeLimits::NONE, |_| Box::pin(async { Ok(()) }));
        assert!(matches!(work.await, Err(PostgresError::ReadOnly)));
    }
}
