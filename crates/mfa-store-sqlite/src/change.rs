//! Changes for the writer, and their outcomes.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use crate::SqliteError;

/// A change of the database. Its guard is in a WHERE clause; its outcome comes from what the statement
/// returns.
#[async_trait]
pub(crate) trait Change: Send + Sync {
    /// Makes the change within a transaction. If its guard does not hold, it changes nothing.
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError>;
}

/// The outcome of a change.
pub(crate) enum Outcome {
    /// The guard held, and the change was made.
    Made,
    /// The guard did not hold, and nothing was changed.
    Refused,
    /// A claimed handle belongs to another account, and nothing was changed.
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

/// Executes a statement, and returns the number of changed rows.
pub(crate) async fn execute(
    to: &mut SqliteConnection,
    statement: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
) -> Result<u64, SqliteError> {
    Ok(statement.execute(to).await.map_err(SqliteError::from_driver)?.rows_affected())
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, SqliteError> {
    serde_json::to_string(value).map_err(SqliteError::other)
}
