//! The lock under which one process at a time creates an installation.

use std::fmt;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor, Postgres};

use crate::transaction::TimeLimits;
use crate::{PostgresError, PostgresStore};

/// "mfa-kiu": the key of the advisory lock of the process that creates the installation.
const LOCK: i64 = 0x006d_6661_2d6b_6975;

/// How long to wait for the turn.
const LIMITS: TimeLimits = TimeLimits { statement: Duration::from_secs(30), lock: Duration::ZERO };

/// How long to wait for the server to report that limit.
const TURN_TIMEOUT: Duration = Duration::from_secs(35);

/// The turn is held without a running statement, longer than other transactions are idle, but not forever.
const HELD: &str = "SET LOCAL idle_in_transaction_session_timeout = '5min'";

/// Held by the process that creates an installation on the database: things that belong to the database but
/// are stored elsewhere, such as a key ring. Dropping it admits the next process.
///
/// The lock belongs to a transaction, which ends with its connection.
pub struct InstallationTurn(Option<PoolConnection<Postgres>>);

impl PostgresStore {
    /// Waits until no other process, on any machine, is creating an installation on this database. Check
    /// afterwards whether it still has to be created.
    ///
    /// # Errors
    /// [`PostgresError`] if the database fails, or another process holds the turn for 30 seconds.
    pub async fn turn(&self) -> Result<InstallationTurn, PostgresError> {
        let mut turn = InstallationTurn(Some(self.connections.acquire().await?));
        let Some(connection) = &mut turn.0 else { return Err(PostgresError::Closed) };
        let lock = async {
            connection.execute(AssertSqlSafe(LIMITS.beginning())).await?;
            connection.execute(HELD).await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut **connection).await
        };
        let locked = tokio::time::timeout(TURN_TIMEOUT, lock).await.map_err(|_| PostgresError::Timeout)?;
        locked.map_err(PostgresError::from_driver)?;
        Ok(turn)
    }
}

impl Drop for InstallationTurn {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl fmt::Debug for InstallationTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstallationTurn(..)")
    }
}
