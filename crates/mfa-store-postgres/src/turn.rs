//! One process at a time makes an installation.

use std::fmt;

use sqlx::{Executor, Postgres, Transaction};

use crate::{PostgresError, PostgresStore};

/// "mfa-kiu": who holds this advisory lock makes the installation.
const LOCK: i64 = 0x006d_6661_2d6b_6975;

/// A turn is waited for, and held without a statement: both for longer than anything else, and not for ever.
const PATIENT: &str = "
    SET LOCAL statement_timeout = '30s';
    SET LOCAL lock_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = '5min'";

/// Held by the process that makes an installation on the database: what belongs to the database and
/// is not in it, as a key ring. Dropping it lets the next one.
pub struct Turn(#[expect(dead_code, reason = "held, not used")] Transaction<'static, Postgres>);

impl PostgresStore {
    /// Waits until no other process, on whatever machine, makes an installation on this database. Look
    /// again afterwards whether there is still one to make.
    ///
    /// # Errors
    /// [`PostgresError`] if the database fails, or another process holds the turn for half a minute.
    pub async fn turn(&self) -> Result<Turn, PostgresError> {
        let mut transaction = self.connections.begin().await?;
        let lock = async {
            transaction.execute(PATIENT).await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await
        };
        lock.await.map_err(PostgresError::from_driver)?;
        Ok(Turn(transaction))
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn(..)")
    }
}
