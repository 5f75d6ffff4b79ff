//! One process at a time makes an installation.

use std::fmt;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor, Postgres};

use crate::transaction::TimeLimits;
use crate::{PostgresError, PostgresStore};

/// "mfa-kiu": who holds this advisory lock makes the installation.
const LOCK: i64 = 0x006d_6661_2d6b_6975;

/// How long a turn is waited for.
const LIMITS: TimeLimits = TimeLimits { statement: Duration::from_secs(30), lock: Duration::ZERO };

/// How long this waits for the server to say that it waits no longer.
const TURN_TIMEOUT: Duration = Duration::from_secs(35);

/// It is held without a statement, for longer than anything else, and not for ever.
const HELD: &str = "SET LOCAL idle_in_transaction_session_timeout = '5min'";

/// Held by the process that makes an installation on the database: what belongs to the database and
/// is not in it, as a key ring. Dropping it lets the next one.
///
/// The lock is one of a transaction, which ends with its connection.
pub struct InstallationTurn(Option<PoolConnection<Postgres>>);

impl PostgresStore {
    /// Waits until no other process, on whatever machine, makes an installation on this database. Look
    /// again afterwards whether there is still one to make.
    ///
    /// # Errors
    /// [`PostgresError`] if the database fails, or another process holds the turn for half a minute.
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
