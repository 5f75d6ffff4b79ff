//! Bringing the tables up to date, by one replica at a time.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tokio::time::Instant;

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

/// How long a migration waits for a table that others use. Whoever comes to that table meanwhile waits
/// behind it, the program before this one included: so it is short, and not longer than they have
/// patience for.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '500ms'";

/// After that wait, how long the others are left alone before it tries again.
const PAUSE: Duration = Duration::from_secs(3);

/// For how long it tries: about as long as a backup or a vacuum takes, after which the program is
/// started again by whoever started it.
const PATIENCE: Duration = Duration::from_mins(10);

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
    let begin = Instant::now();
    loop {
        match migrate_once(on, known).await {
            Err(PostgresError::Locked) if begin.elapsed() < PATIENCE => {
                tracing::warn!("the database cannot be migrated while others use its tables; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(PostgresError::Locked) => {
                return Err(PostgresError::Unmigrated(Arc::new(PostgresError::Locked)));
            }
            done => return done,
        }
    }
}

/// All that is missing, or nothing.
async fn migrate_once(on: &mut PgConnection, known: Version) -> Result<(), PostgresError> {
    let mut transaction = on.begin().await.map_err(PostgresError::from_driver)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(PostgresError::from_driver)?;
    transaction.execute(LOCK_TIMEOUT).await.map_err(PostgresError::from_driver)?;
    // Another replica may have been faster.
    let found = found(&mut transaction, known).await?;
    if found == Version::default() {
        lay_foundation(&mut transaction).await?;
    }
    let missing = || MIGRATIONS.iter().filter(|(version, _)| *version > found);
    for (version, migration) in missing() {
        transaction.execute(sqlx::raw_sql(*migration)).await.map_err(unmigrated)?;
        sqlx::query("INSERT INTO mfa.migrations (major, minor) VALUES ($1, $2)")
            .bind(version.major)
            .bind(version.minor)
            .execute(&mut *transaction)
            .await
            .map_err(unmigrated)?;
    }
    transaction.commit().await.map_err(unmigrated)?;
    for (version, _) in missing() {
        tracing::info!(version.major, version.minor, "the database was migrated");
    }
    Ok(())
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
        error @ (PostgresError::Privilege(_)
        | PostgresError::ReadOnly
        | PostgresError::DiskFull
        | PostgresError::Locked) => error,
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

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::{PostgresStore, server};

    /// A long reader of a table, and a vacuum of another, are not to make the program before this one
    /// wait for as long as they take.
    #[tokio::test]
    async fn a_migration_that_must_wait_lets_others_through_and_then_goes_on() {
        for (table, held) in [("accounts", "ACCESS SHARE"), ("events", "SHARE UPDATE EXCLUSIVE")] {
            let url = server::database().await;
            let connect = || async { PgConnection::connect(&url).await.unwrap() };
            let (mut holder, mut before, mut observer) = (connect().await, connect().await, connect().await);
            lay_foundation(&mut holder).await.unwrap();
            holder.execute(sqlx::raw_sql(MIGRATIONS[0].1)).await.unwrap();
            holder.execute("INSERT INTO mfa.migrations (major, minor) VALUES (1, 0)").await.unwrap();
            let hold = format!("BEGIN; LOCK TABLE mfa.{table} IN {held} MODE");
            holder.execute(sqlx::raw_sql(AssertSqlSafe(hold))).await.unwrap();
            let opening = tokio::spawn({
                let url = url.clone();
                async move { PostgresStore::open(&url).await }
            });
            // Whether it has accounts for itself while it waits.
            let waits = "SELECT (SELECT count(*) FROM pg_locks l WHERE l.pid = waiting.pid AND l.granted
                    AND l.relation = 'mfa.accounts'::regclass AND l.mode = 'AccessExclusiveLock')
                FROM pg_locks waiting
                WHERE waiting.relation = ('mfa.' || $1)::regclass AND NOT waiting.granted";
            let alone = loop {
                let waits = sqlx::query_scalar::<_, i64>(waits).bind(table);
                if let Some(alone) = waits.fetch_optional(&mut observer).await.unwrap() {
                    break alone;
                }
                assert!(!opening.is_finished(), "{table}");
            };
            assert_eq!(alone, 0, "it waits for {table} and has locked accounts");
            before.execute("SET statement_timeout = '20s'").await.unwrap();
            before.execute("SELECT FROM mfa.accounts").await.expect("it waits behind the migration");
            assert!(!opening.is_finished(), "{table}");
            holder.execute("COMMIT").await.unwrap();
            let store = opening.await.unwrap().unwrap();
            let known = MIGRATIONS.map(|(version, _)| version).into_iter().max().unwrap();
            assert_eq!(found(&mut observer, known).await.unwrap(), known, "{table}");
            store.close().await;
        }
    }
}
