//! Transactions that do not depend on settings of the session.
//!
//! Behind a pooler in transaction mode all clients share sessions: each transaction may run in a different
//! one, and finds settings of other clients there. So no guarantee relies on a setting of the session, and
//! none is changed there, where other clients would find it.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, Connection, Executor, FromRow, PgConnection, Postgres, Transaction};
use tokio::time::Instant;

use crate::{PostgresError, PostgresOptions};

/// How long a statement may take, and how long it may wait for a lock. Zero means no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimits {
    pub(crate) statement: Duration,
    pub(crate) lock: Duration,
}

/// Planner settings. All our statements find few rows by an index, whatever the size of the tables. So
/// sequential scans and the joins that go with them are off, and each statement is planned once.
pub(crate) const PLANS: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// After this time the server ends a transaction whose client has vanished, as after a network failure. Until
/// then the transaction keeps its locks.
const IDLE_TIMEOUT: &str = "10s";

/// The condition of every statement that is its own transaction: the statement fails and changes nothing if
/// the session is read-only, since a standby's data may be stale, or has an encoding other than UTF-8, since
/// the server would then read and return other text than was sent and stored.
macro_rules! by_itself {
    () => {
        "(SELECT set_config('transaction_read_only', \
            CASE pg_client_encoding() WHEN 'UTF8' THEN 'off' ELSE 'only in UTF8' END, true)) = 'off'"
    };
}

pub(crate) use by_itself;

/// How many times a transaction is begun in sessions that stop statements at once.
const BEGINNINGS: usize = 8;

impl TimeLimits {
    /// No limits, for work of any length.
    pub(crate) const NONE: Self = Self { statement: Duration::ZERO, lock: Duration::ZERO };

    pub(crate) const fn of(options: &PostgresOptions) -> Self {
        Self { statement: options.statement_timeout, lock: options.lock_timeout }
    }

    /// The defaults of a session that no other client uses.
    pub(crate) fn defaults(self) -> [(&'static str, String); 4] {
        [
            ("statement_timeout", self.statement.as_millis().to_string()),
            ("lock_timeout", self.lock.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", IDLE_TIMEOUT.to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
        ]
    }

    /// The statements that begin a transaction, as one message.
    ///
    /// A change is on the disk before it is confirmed, and on a synchronous standby if the server has one,
    /// whatever the session is set to. The isolation level is read committed: at a higher level a statement
    /// fails where ours compare again.
    ///
    /// Text is exchanged as UTF-8, and the role is the one with which the session began.
    ///
    /// A session that another client made read-only does not stop us. A database that its operator made
    /// read-only does: the last line fails there, since a transaction can become read-only at any time, but
    /// read-write only at its start.
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

    /// Whether the statement may have failed because of settings of other clients. It has then changed
    /// nothing.
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

/// A statement with its values and the type of its rows.
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

/// Runs a statement that is its own transaction, in one round trip. The statement must set the settings that
/// it needs itself (`set_config(…, true)`), or fail without them ([`by_itself`]). If it fails because of
/// settings of other clients, it is repeated once in a transaction with its own settings.
pub(crate) async fn once<'q, T>(
    on: &mut PgConnection,
    limits: TimeLimits,
    statement: impl Fn() -> Statement<'q, T>,
) -> Result<Vec<T>, PostgresError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let begin = Instant::now();
    // Fetches all rows, not only the first: rows may arrive before the commit, and their end only after it. A
    // caller that stopped reading early could report a change that was never committed.
    let made = statement().fetch_all(&mut *on).await.map_err(PostgresError::from_driver);
    if !made.as_ref().is_err_and(|error| limits.are_not_why(error, begin.elapsed())) {
        return made;
    }
    // Boxed, since most calls do not need it and should not reserve its size.
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

/// Commits the work, or rolls it back at once.
///
/// A failed transaction no longer has its own limits: its rollback runs under those of the session, which may
/// be too short. A rollback left to the connection's next statement could fail there, and make that statement
/// fail.
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
    // A broken connection is dropped, and its transaction with it.
    if !error.breaks_connection() {
        roll_back(&mut transaction).await?;
    }
    Err(error)
}

/// Repeats the rollback until it succeeds. The rollback that the driver then sends on drop finds no
/// transaction.
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

/// Decides after a failed BEGIN whether to try again.
async fn begin_again(on: &mut PgConnection, error: sqlx::Error, left: usize) -> Result<(), PostgresError> {
    let code = error.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
    let error = match code.as_deref() {
        // A standby: no transaction can write there.
        Some("0A000") => PostgresError::ReadOnly,
        _ => PostgresError::from_driver(error),
    };
    if error.breaks_connection() {
        return Err(error);
    }
    // The server did not execute the whole message, and may have begun a transaction.
    roll_back(on).await?;
    if left > 0 && matches!(error, PostgresError::StatementTimeout) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Executor};

    use super::*;
    use crate::{PostgresStore, server};

    /// The value of a setting within a transaction.
    async fn show(on: &mut PgConnection, setting: &str) -> String {
        let show = AssertSqlSafe(format!("SHOW {setting}"));
        sqlx::query_scalar(show).persistent(false).fetch_one(on).await.unwrap()
    }

    /// A database, or a session through another client, may be set to be fast rather than safe, or to an
    /// isolation level higher than ours.
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
        // A session that no other client uses has our limits and plans as its defaults.
        let mut ours = store.connections.acquire().await.unwrap();
        for (setting, expected) in [("statement_timeout", "1500ms"), ("enable_seqscan", "off")] {
            assert_eq!(show(&mut ours, setting).await, expected, "{setting}");
        }
    }

    /// A setting that the operator made for the database is not overruled.
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
