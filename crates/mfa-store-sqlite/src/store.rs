//! The store.

use std::fmt;
use std::path::Path;

use sqlx::SqlitePool;

use crate::open::open;
use crate::writer::Writer;
use crate::{SqliteError, SqliteOptions};

/// Accounts, events and API keys in one SQLite file.
///
/// A clone is another handle on the same connections. Several processes may have the same file
/// open.
#[derive(Clone)]
pub struct SqliteStore {
    pub(crate) readers: SqlitePool,
    pub(crate) writer: Writer,
}

impl SqliteStore {
    /// Opens the database at `path` with the usual options.
    ///
    /// # Errors
    /// As [`SqliteStore::open_with`].
    pub async fn open(path: &Path) -> Result<Self, SqliteError> {
        Self::open_with(path, &SqliteOptions::default()).await
    }

    /// Opens the database at `path`, makes it if there is none (for its owner only), and brings its
    /// tables up to date. Must be called on a tokio runtime, and lives no longer than that.
    ///
    /// # Errors
    /// [`SqliteError`] says what the person who runs the program has to change. A database that a
    /// newer version has migrated is refused.
    pub async fn open_with(path: &Path, options: &SqliteOptions) -> Result<Self, SqliteError> {
        let (connection, settings, readers) = open(path, options).await?;
        Ok(Self { readers, writer: Writer::start(connection, settings) })
    }

    /// Makes the changes that are queued, and closes the file. After it every call on any clone is
    /// answered with [`SqliteError::Closed`].
    ///
    /// A store that is just dropped loses nothing that was answered.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteStore(..)")
    }
}
