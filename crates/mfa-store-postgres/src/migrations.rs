//! Bringing the tables up to date, by one replica at a time.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::{Connection, Executor, PgConnection};

use crate::PostgresError;

/// What each version of the tables adds, oldest first. Append-only: one that was released is never
/// changed.
///
/// A new minor version leaves the tables so that the program before it still works beside the new
/// one: it adds, and what it adds has a default. A new major version does not, and the program before
/// it refuses the database from then on.
const MIGRATIONS: [(Version, &str); 4] = [
    (Version { major: 1, minor: 0 }, include_str!("../migrations/1.0.sql")),
    (Version { major: 1, minor: 1 }, include_str!("../migrations/1.1.sql")),
    (Version { major: 1, minor: 2 }, include_str!("../migrations/1.2.sql")),
    (Version { major: 1, minor: 3 }, include_str!("../migrations/1.3.sql")),
];

/// "mfa-kit": who holds this advisory lock migrates.
const LOCK: i64 = 0x006d_6661_2d6b_6974;

const FOUNDATION: &str = "
    CREATE TABLE mfa.migrations (
        major      integer     NOT NULL,
        minor      integer     NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (major, minor)
    );
    COMMENT ON TABLE mfa.migrations IS
        'The versions that these tables went through. A program refuses a newer major version than it knows.';
    COMMENT ON COLUMN mfa.migrations.major IS 'Programs of another major version do not work with the tables.';
    COMMENT ON COLUMN mfa.migrations.minor IS 'Programs of the same major version work with the tables.';
    COMMENT ON COLUMN mfa.migrations.applied_at IS 'When the tables were brought to that version.'";

pub(crate) const LATEST: &str =
    "SELECT major, minor FROM mfa.migrations ORDER BY major DESC, minor DESC LIMIT 1";

/// A version of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: i32,
    minor: i32,
}

/// Brings the tables up to date. Where they are, it needs no privilege but to read.
pub(crate) async fn migrate(on: &mut PgConnection) -> Result<(), PostgresError> {
    let known = MIGRATIONS.iter().map(|(version, _)| *version).max().unwrap_or_default();
    if found(on, known).await? >= known {
        return Ok(());
    }
    let mut transaction = on.begin().await.map_err(PostgresError::from_driver)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(PostgresError::from_driver)?;
    // Another replica may have been faster.
    let found = found(&mut transaction, known).await?;
    if found == Version::default() {
        lay_foundation(&mut transaction).await?;
    }
    for (version, migration) in MIGRATIONS.iter().filter(|(version, _)| *version > found) {
        transaction.execute(sqlx::raw_sql(*migration)).await.map_err(unmigrated)?;
        sqlx::query("INSERT INTO mfa.migrations (major, minor) VALUES ($1, $2)")
            .bind(version.major)
            .bind(version.minor)
            .execute(&mut *transaction)
            .await
            .map_err(unmigrated)?;
        tracing::info!(version.major, version.minor, "the database was migrated");
    }
    transaction.commit().await.map_err(unmigrated)
}

/// The version that the tables have; the default one if there are none.
async fn found(on: &mut PgConnection, known: Version) -> Result<Version, PostgresError> {
    // Not to_regclass: it may remember from before the lock that there is none.
    let ours: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'mfa' AND c.relname = 'migrations')",
    )
    .fetch_one(&mut *on)
    .await
    .map_err(PostgresError::from_driver)?;
    if !ours {
        return Ok(Version::default());
    }
    let found: Option<(i32, i32)> =
        sqlx::query_as(LATEST).fetch_optional(on).await.map_err(foreign_or_driver)?;
    let found = found.map_or(Version::default(), |(major, minor)| Version { major, minor });
    if found.major > known.major {
        return Err(PostgresError::TooNew { found: found.major, known: known.major });
    }
    Ok(found)
}

/// Makes the schema, unless an operator has made it for us.
async fn lay_foundation(on: &mut PgConnection) -> Result<(), PostgresError> {
    let (there, tables): (bool, i64) = sqlx::query_as(
        "SELECT count(n.oid) > 0, count(c.oid) FROM pg_catalog.pg_namespace n
         LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
         WHERE n.nspname = 'mfa'",
    )
    .fetch_one(&mut *on)
    .await
    .map_err(PostgresError::from_driver)?;
    if tables > 0 {
        return Err(PostgresError::Foreign);
    }
    if !there {
        on.execute("CREATE SCHEMA mfa").await.map_err(unmigrated)?;
        on.execute("COMMENT ON SCHEMA mfa IS 'Multi-factor authentication: accounts, audit trail, API keys'")
            .await
            .map_err(unmigrated)?;
    }
    on.execute(FOUNDATION).await.map_err(unmigrated)?;
    Ok(())
}

fn unmigrated(error: sqlx::Error) -> PostgresError {
    match PostgresError::from_driver(error) {
        PostgresError::Other(source) => PostgresError::Unmigrated(source),
        error @ (PostgresError::Privilege(_) | PostgresError::ReadOnly | PostgresError::DiskFull) => error,
        other => PostgresError::Unmigrated(Arc::new(other)),
    }
}

/// A table of that name without our columns is somebody else's.
fn foreign_or_driver(error: sqlx::Error) -> PostgresError {
    let code = error.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
    match code.as_deref() {
        Some("42703") => PostgresError::Foreign,
        _ => PostgresError::from_driver(error),
    }
}
