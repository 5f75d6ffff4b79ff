//! What the writer can make, and what becomes of it.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use crate::SqliteError;

/// A change of the database. Its guard is in a WHERE clause, and its outcome is what the statement returns.
#[async_trait]
pub(crate) trait Change: Send + Sync {
    /// Makes it inside a transaction. If its guard does not hold, what it is about stays as it is.
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError>;
}

/// What became of a change.
pub(crate) enum Outcome {
    /// Its guard held, and it was made.
    Made,
    /// Its guard did not hold, and nothing was changed.
    Refused,
    /// A handle that it claims is another account's, and nothing was changed.
    HandleTaken,
}

impl Outcome {
    pub(crate) const fn of(held: bool) -> Self {
        if held { Self::Made } else { Self::Refused }
    }

    pub(crate) const fn held(&self) -> bool {
        !matches!(self, Self::Refused | Self::HandleTaken)
    }
}

/// Executes a statement, and tells how many rows it changed.
pub(crate) async fn execute(
    to: &mut SqliteConnection,
    statement: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
) -> Result<u64, SqliteError> {
    Ok(statement.execute(to).await.map_err(SqliteError::from_driver)?.rows_affected())
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, SqliteError> {
    serde_json::to_string(value).map_err(SqliteError::other)
}
