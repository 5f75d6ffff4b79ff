//! The store: its connections and tasks.

use std::fmt;
use std::path::Path;

use mfa_batch::{Batches, Limits};
use mfa_domain::ports::ApiKeyId;
use mfa_domain::quota::Bucket;
use serde_json::value::RawValue;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{SqliteConnection, SqlitePool};

use crate::accounts::{self, Wanted};
use crate::api_keys::{self, ApiKeyRow};
use crate::open::open;
use crate::throttle::Buckets;
use crate::writer::Writer;
use crate::{SqliteError, SqliteOptions, throttle};

/// Accounts, events, API keys, challenges and throttles in one SQLite file.
///
/// A clone uses the same connections. Several processes may open the same file.
#[derive(Clone)]
pub struct SqliteStore {
    pub(crate) readers: SqlitePool,
    pub(crate) loads: Batches<Wanted, Option<Box<RawValue>>, SqliteError>,
    pub(crate) api_keys: Batches<ApiKeyId, Option<ApiKeyRow>, SqliteError>,
    pub(crate) bucket_reads: Batches<String, Bucket, SqliteError>,
    pub(crate) buckets: Buckets,
    pub(crate) writer: Writer,
}

impl SqliteStore {
    /// Opens the database at `path` with the default options.
    ///
    /// # Errors
    /// As [`SqliteStore::open_with`].
    pub async fn open(path: &Path) -> Result<Self, SqliteError> {
        Self::open_with(path, &SqliteOptions::default()).await
    }

    /// Opens the database at `path`, creates it if it does not exist (readable by its owner only), and
    /// migrates its tables. Must be called on a tokio runtime; the store works as long as that runtime.
    ///
    /// # Errors
    /// [`SqliteError`] says what the operator has to change. A database that a newer version has migrated is
    /// refused.
    pub async fn open_with(path: &Path, options: &SqliteOptions) -> Result<Self, SqliteError> {
        let (connection, settings, readers) = open(path, options).await?;
        Ok(Self::start(connection, settings, readers))
    }

    /// Starts the tasks that use the connections.
    pub(crate) fn start(
        connection: SqliteConnection,
        settings: SqliteConnectOptions,
        readers: SqlitePool,
    ) -> Self {
        let (for_loads, for_keys, for_buckets) = (readers.clone(), readers.clone(), readers.clone());
        Self {
            loads: Batches::start(Limits::default(), move |wanted| {
                let readers = for_loads.clone();
                async move { accounts::load(&readers, wanted).await }
            }),
            api_keys: Batches::start(Limits::default(), move |ids| {
                let readers = for_keys.clone();
                async move { api_keys::find(&readers, ids).await }
            }),
            bucket_reads: Batches::start(Limits::default(), move |keys| {
                let readers = for_buckets.clone();
                async move { throttle::read(&readers, keys).await }
            }),
            buckets: Buckets::default(),
            writer: Writer::start(connection, settings),
            readers,
        }
    }

    /// Makes the queued changes, writes the charges, and closes the file. Every later call on any clone gets
    /// [`SqliteError::Closed`].
    ///
    /// Dropping the store without closing it loses only the charges of the last second.
    pub async fn close(&self) {
        self.buckets.write(&self.writer).await;
        self.writer.close().await;
        self.readers.close().await;
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteStore(..)")
    }
}
