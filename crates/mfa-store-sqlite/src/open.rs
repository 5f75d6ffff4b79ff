//! Opening a database: the file, its settings, its migrations.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::SqliteError;

/// Options for opening a database.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Number of connections that read at the same time. Default 4; at least 1. One more connection writes.
    pub readers: u32,
    /// How long a change waits while another process writes. Default 5 seconds.
    pub busy_timeout: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { readers: 4, busy_timeout: Duration::from_secs(5) }
    }
}

/// Append-only from the first release on: a released migration is never changed, and each one keeps the
/// tables usable for the previous version of the program, which may still run.
static MIGRATIONS: Migrator = sqlx_macros::migrate!("./migrations");

/// The application id that the first migration sets: "mfak".
const APPLICATION_ID: i64 = 0x6d66_616b;

/// Creates the file if it does not exist, and migrates its tables. Returns the connection that writes, the
/// settings to open another one like it, and the connections that read.
pub(crate) async fn open(
    path: &Path,
    options: &SqliteOptions,
) -> Result<(SqliteConnection, SqliteConnectOptions, SqlitePool), SqliteError> {
    make_file(path)?;
    let settings = settings(path, options);
    let mut connection = settings.connect().await.map_err(SqliteError::from_driver)?;
    refuse_foreign(&mut connection).await?;
    write_ahead(&mut connection, options.busy_timeout).await?;
    migrate(&mut connection).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(settings.clone().pragma("query_only", "ON"))
        .await
        .map_err(SqliteError::from_driver)?;
    Ok((connection, settings, readers))
}

/// Creates an empty file, which is an empty database, that only its owner may read. SQLite gives the files
/// beside it the same permissions.
fn make_file(path: &Path) -> Result<(), SqliteError> {
    let mut new = OpenOptions::new();
    new.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut new, 0o600);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let made = new.open(path).and_then(|_| sync_folder(folder));
    let opened = match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).write(true).open(path).map(drop)
        }
        made => made,
    };
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !folder.exists() => SqliteError::FolderMissing(folder.to_owned()),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => SqliteError::ReadOnly,
        io::ErrorKind::StorageFull => SqliteError::DiskFull,
        _ => SqliteError::Unopened(Arc::new(error)),
    })
}

/// A new file is durable only once its folder entry is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn settings(path: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(options.busy_timeout)
        .foreign_keys(true)
        // Each commit is on disk before it is confirmed; on macOS a plain fsync is not enough.
        .synchronous(SqliteSynchronous::Full)
        .pragma("fullfsync", "ON")
        // Deleted data is overwritten, so that nothing of an erased user stays in free pages.
        .pragma("secure_delete", "ON")
        // A damaged or malicious file fails early.
        .pragma("cell_size_check", "ON")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// Fails if the file is another program's database, so that a wrong path never adds our tables to it.
async fn refuse_foreign(connection: &mut SqliteConnection) -> Result<(), SqliteError> {
    let (application, objects): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(connection)
    .await
    .map_err(SqliteError::from_driver)?;
    if objects > 0 && application != APPLICATION_ID { Err(SqliteError::Foreign) } else { Ok(()) }
}

/// Switches a new database to a write-ahead log. The file keeps this setting.
///
/// SQLite does not always wait for the required lock, so processes that create a database at the same time
/// must retry themselves.
async fn write_ahead(connection: &mut SqliteConnection, patience: Duration) -> Result<(), SqliteError> {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    loop {
        let mode =
            sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await;
        match mode.map_err(SqliteError::from_driver) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(SqliteError::NoWriteAheadLog),
            Err(SqliteError::Locked) if waited < patience => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Applies all missing migrations in one transaction, which excludes other processes.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), SqliteError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(SqliteError::from_driver)?;
    MIGRATIONS
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|error| SqliteError::from_migrator(error, known))?;
    transaction.commit().await.map_err(SqliteError::from_driver)
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;

    /// A test cannot cut the power, so this one checks SQLite's settings.
    #[tokio::test]
    async fn every_connection_has_the_settings_that_durability_rests_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mfa.db");
        let (mut first, settings, readers) = open(&path, &SqliteOptions::default()).await.unwrap();
        let mut another = settings.connect().await.unwrap();
        let mut reader = readers.acquire().await.unwrap();
        for connection in [&mut first, &mut another, &mut reader] {
            for (pragma, expected) in [
                ("synchronous", 2),
                ("fullfsync", 1),
                ("foreign_keys", 1),
                ("secure_delete", 1),
                ("busy_timeout", 5000),
            ] {
                let query = AssertSqlSafe(format!("PRAGMA {pragma}"));
                let value: i64 = sqlx::query_scalar(query).fetch_one(&mut *connection).await.unwrap();
                assert_eq!(value, expected, "{pragma}");
            }
            let mode: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
            assert_eq!(mode, "wal");
        }
        assert!(sqlx::query("DELETE FROM events").execute(&mut *reader).await.is_err(), "a reader can write");
    }
}
