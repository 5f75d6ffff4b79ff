//! Errors of the database, worded for the operator of the program.

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
    /// The folder of the file does not exist.
    #[error("the folder {} does not exist; create it, or correct the path", .0.display())]
    FolderMissing(PathBuf),
    /// The file, its folder or the file system is read-only.
    #[error("the database is read-only: the file, its folder or the file system may not be written to")]
    ReadOnly,
    /// The operating system could not open or create the file.
    #[error("the database file cannot be opened")]
    Unopened(#[source] Arc<dyn StdError + Send + Sync>),
    /// The file is of another kind, or encrypted as a whole.
    #[error("the file is not an SQLite database")]
    NotADatabase,
    /// The database belongs to another program. Nothing was changed in it.
    #[error("the file is another program's database")]
    Foreign,
    /// A newer version of this program has migrated the database. Nothing was changed in it.
    #[error(
        "a newer version of this program wrote the database: it has migration {found}, \
         and this program supports at most migration {known}"
    )]
    TooNew {
        /// A migration of the database that this version does not have.
        found: i64,
        /// The last migration of this version.
        known: i64,
    },
    /// A migration of the tables failed. Nothing was changed.
    #[error("the database could not be migrated")]
    Unmigrated(#[source] Arc<dyn StdError + Send + Sync>),
    /// The file system lacks the shared memory or locks that a write-ahead log needs.
    #[error("the database cannot use a write-ahead log; is it on a network file system?")]
    NoWriteAheadLog,
    /// The file contradicts itself.
    #[error("the database is damaged; stop the program and restore a backup")]
    Corrupt(#[source] Arc<dyn StdError + Send + Sync>),
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// Another process kept the database locked for longer than the busy timeout.
    #[error("another process keeps the database locked")]
    Locked,
    /// A row holds a value that this version cannot read.
    #[error(
        "column {column} of table {table} holds a value that this version cannot read (account {account})"
    )]
    Undecodable {
        /// The table of the value.
        table: &'static str,
        /// The column of the value.
        column: &'static str,
        /// The number of the account, as in `accounts.id`; 0 if the row has none.
        account: i64,
    },
    /// A number exceeds what SQLite can store.
    #[error("the number for column {column} is too large")]
    TooLarge {
        /// The column of the number.
        column: &'static str,
    },
    /// An API key with this id already exists. The new one was not stored.
    #[error("an API key with this id already exists")]
    DuplicateApiKey,
    /// A challenge with this id already exists. The new one was not stored.
    #[error("a challenge with this id already exists")]
    DuplicateChallenge,
    /// More keys were charged than memory may hold, since they cannot be written. Nothing was charged.
    #[error("charges cannot be written, and memory has no room for more of them")]
    Unwritten,
    /// [`SqliteStore::close`](crate::SqliteStore::close) was called, or the runtime on which the store was
    /// opened has ended. A change may or may not have been made.
    #[error("the store is closed")]
    Closed,
    /// Any other error.
    #[error("the database failed")]
    Other(#[source] Arc<dyn StdError + Send + Sync>),
}

impl SqliteError {
    /// Wraps an error that no other variant describes.
    pub(crate) fn other(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other(Arc::new(error))
    }

    /// Translates an error of the driver.
    pub(crate) fn from_driver(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<u32>().ok()),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => return Self::Closed,
            _ => None,
        };
        // The low byte is the primary result code: https://www.sqlite.org/rescode.html
        match code.map(|code| code & 0xff) {
            // The only I/O error that means a full disk: no room for the file of shared memory.
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

    /// Translates an error of the migrator; `known` is the last migration of this version.
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
