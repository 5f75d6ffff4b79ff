//! What can go wrong, in words for the person who runs the program.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;

use mfa_batch::{Closed, Failure};
use mfa_domain::ports::StoreError;
use mfa_rows::ColumnError;
use sqlx::migrate::MigrateError;
use thiserror::Error;

/// Why the database could not be opened, read or written. No text of it holds a stored value.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// There is no folder to make the file in.
    #[error("the folder {} does not exist; make it, or correct the path", .0.display())]
    FolderMissing(PathBuf),
    /// The file, its folder or the file system allows no writing.
    #[error("the database is read-only: the file, its folder or the file system may not be written to")]
    ReadOnly,
    /// The operating system would not open or make the file.
    #[error("the database file cannot be opened")]
    Unopened(#[source] Arc<dyn StdError + Send + Sync>),
    /// It is a file of another kind, or encrypted as a whole.
    #[error("the file is not an SQLite database")]
    NotADatabase,
    /// It is a database of another program. Nothing was changed in it.
    #[error("the file is another program's database")]
    Foreign,
    /// A newer version of this program has migrated it. Nothing was changed in it.
    #[error(
        "a newer version of this program wrote the database: it has migration {found}, \
         and this version knows none after {known}"
    )]
    TooNew {
        /// A migration that it has.
        found: i64,
        /// The last one that this version knows.
        known: i64,
    },
    /// Its tables could not be brought up to date. Nothing was changed in it.
    #[error("the database could not be migrated")]
    Unmigrated(#[source] Arc<dyn StdError + Send + Sync>),
    /// Its file system has no shared memory or locks as a write-ahead log needs them.
    #[error("the database cannot have a write-ahead log; is it on a network file system?")]
    NoWriteAheadLog,
    /// What is in the file contradicts itself.
    #[error("the database is damaged; stop the program and restore a backup")]
    Corrupt(#[source] Arc<dyn StdError + Send + Sync>),
    /// There is no room left.
    #[error("the disk is full")]
    DiskFull,
    /// Another process kept it locked for longer than the busy timeout.
    #[error("another process keeps the database locked")]
    Locked,
    /// A row holds what this version cannot read.
    #[error("column {column} of table {table} holds what this version cannot read (account {account})")]
    Undecodable {
        /// In which table.
        table: &'static str,
        /// In which column.
        column: &'static str,
        /// The number of its account, as in `accounts.id`; 0 if it has none.
        account: i64,
    },
    /// A number is beyond what SQLite can hold.
    #[error("the number for column {column} is too large")]
    TooLarge {
        /// For which column.
        column: &'static str,
    },
    /// The API key was not kept, since there is one of that id already.
    #[error("there is an API key of that id already")]
    DuplicateApiKey,
    /// The challenge was not kept, since there is one of that id already.
    #[error("there is a challenge of that id already")]
    DuplicateChallenge,
    /// More keys were charged than fit into memory, since they cannot be written. Nothing was charged.
    #[error("charges cannot be written, and there is no room for more")]
    Unwritten,
    /// [`SqliteStore::close`](crate::SqliteStore::close) was called, or the runtime that the store
    /// was opened on is gone. Of a change it is then unknown whether it was made.
    #[error("the store is closed")]
    Closed,
    /// Anything else.
    #[error("the database failed")]
    Other(#[source] Arc<dyn StdError + Send + Sync>),
}

impl SqliteError {
    /// An error of another kind.
    pub(crate) fn other(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other(Arc::new(error))
    }

    /// What an error of the driver means.
    pub(crate) fn from_driver(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<u32>().ok()),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => return Self::Closed,
            _ => None,
        };
        // The low byte is the primary result code: https://www.sqlite.org/rescode.html
        match code.map(|code| code & 0xff) {
            // No room for the file of shared memory, of all the errors of input and output.
            _ if code == Some(4874) => Self::DiskFull,
            Some(5 | 6) => Self::Locked,
            Some(8) => Self::ReadOnly,
            Some(11) => Self::Corrupt(Arc::new(error)),
            Some(13) => Self::DiskFull,
            Some(14) => Self::Unopened(Arc::new(error)),
            Some(26) => Self::NotADatabase,
            _ => Self::Other(Arc::new(error)),
        }
    }

    /// What an error of the migrator means; `known` is the last migration of this version.
    pub(crate) fn from_migrator(error: MigrateError, known: i64) -> Self {
        match error {
            MigrateError::VersionMissing(found) if found > known => Self::TooNew { found, known },
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                match Self::from_driver(error) {
                    Self::Other(source) => Self::Unmigrated(source),
                    known => known,
                }
            }
            other => Self::Unmigrated(Arc::new(other)),
        }
    }
}

impl From<ColumnError> for SqliteError {
    fn from(error: ColumnError) -> Self {
        match error {
            ColumnError::Undecodable { table, column, account } => {
                Self::Undecodable { table, column, account }
            }
            ColumnError::TooLarge { column } => Self::TooLarge { column },
            ColumnError::Unwritable { .. } => Self::other(error),
        }
    }
}

impl From<Closed> for SqliteError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Failure for SqliteError {}

impl From<SqliteError> for StoreError {
    fn from(error: SqliteError) -> Self {
        match error {
            SqliteError::Undecodable { .. } => Self::unreadable(error),
            error => Self::new(error),
        }
    }
}
