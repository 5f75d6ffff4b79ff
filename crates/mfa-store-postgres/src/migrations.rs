//! Migrations of the tables, made by one replica at a time.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Executor, PgConnection};
use tokio::time::Instant;

use crate::PostgresError;
use crate::transaction::{TimeLimits, transact};

/// The migrations, oldest first. Append-only from the first release on: a released migration is never
/// changed.
///
/// A program applies the missing ones when it opens the database, while the previous version of the program
/// still runs. So a new minor version keeps the tables usable for that version: it only adds, and everything
/// it adds has a default.
const MIGRATIONS: [Migration; 1] =
    [Migration { to: Version { major: 1, minor: 0 }, statements: include_str!("../migrations/1.0.sql") }];

/// The statements that make a version, in one transaction.
#[derive(Clone, Copy)]
struct Migration {
    to: Version,
    statements: &'static str,
}

/// A migration waits up to 10 seconds for that of another replica, and blocks nothing meanwhile. Its own
/// statements have no time limit.
const LIMITS: TimeLimits = TimeLimits { statement: Duration::ZERO, lock: Duration::from_secs(10) };

/// How long a migration waits for a table in use. Every later user of that table waits behind it, including
/// the previous version of the program. So it is short, and not longer than their own time limits.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '500ms'";

/// Pause after either wait, in which others can work, before the next attempt.
const PAUSE: Duration = Duration::from_secs(3);

/// How long attempts are repeated: about as long as a backup, a vacuum or another replica's migration takes.
/// After it the program ends, and the service manager starts it again.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(10);

/// "mfa-kit": the key of the advisory lock that a migration holds.
const LOCK: i64 = 0x006d_6661_2d6b_6974;

const FOUNDATION: &str = "
    CREATE TABLE mfa.migrations (
        major      integer     NOT NULL,
        minor      integer     NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (major, minor)
    );
    COMMENT ON TABLE mfa.migrations IS
        'The versions of these tables, one row each. A program refuses a newer major version than it supports.';
    COMMENT ON COLUMN mfa.migrations.major IS 'A program refuses a newer version than it supports.';
    COMMENT ON COLUMN mfa.migrations.minor IS 'A program works with any minor version of a supported major version.';
    COMMENT ON COLUMN mfa.migrations.applied_at IS 'When the tables were migrated to this version.'";

pub(crate) const LATEST: &str =
    "SELECT major, minor FROM mfa.migrations ORDER BY major DESC, minor DESC LIMIT 1";

/// A version of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: i32,
    minor: i32,
}

/// Applies missing migrations. If there are none, the privilege to read is enough.
pub(crate) async fn migrate(on: &mut PgConnection) -> Result<(), PostgresError> {
    bring(on, &MIGRATIONS).await
}

/// Applies one version after the other.
async fn bring(on: &mut PgConnection, migrations: &[Migration]) -> Result<(), PostgresError> {
    let last = migrations.iter().map(|migration| migration.to).max().unwrap_or_default();
    let begin = Instant::now();
    loop {
        let found = transact(on, LIMITS, |on| Box::pin(found(on))).await?;
        if found.major > last.major {
            return Err(PostgresError::TooNew { found: found.major, known: last.major });
        }
        if found >= last {
            return Ok(());
        }
        match step(on, found, migrations).await {
            Err(PostgresError::Locked | PostgresError::GivenUp) if begin.elapsed() < MIGRATION_TIMEOUT => {
                tracing::warn!(
                    "the database cannot be migrated while others use its tables or migrate it; trying again"
                );
                tokio::time::sleep(PAUSE).await;
            }
            Err(error @ (PostgresError::Locked | PostgresError::GivenUp)) => {
                return Err(PostgresError::Unmigrated(Arc::new(error)));
            }
            made => made?,
        }
    }
}

/// Applies the version after `before`, so that locks are held for one version's work only. If there are no
/// tables, it applies all versions in one transaction, so that the tables exist as a whole or not at all.
async fn step(on: &mut PgConnection, before: Version, migrations: &[Migration]) -> Result<(), PostgresError> {
    let mut missing: Vec<Migration> =
        migrations.iter().filter(|migration| migration.to > before).copied().collect();
    if before != Version::default() {
        missing.truncate(1);
    }
    for version in transact(on, LIMITS, |on| Box::pin(make(on, before, missing))).await? {
        tracing::info!(version.major, version.minor, "the database was migrated");
    }
    Ok(())
}

/// Applies some versions in one transaction, and returns them; none if another replica has applied them
/// meanwhile.
async fn make(
    on: &mut PgConnection,
    before: Version,
    migrations: Vec<Migration>,
) -> Result<Vec<Version>, PostgresError> {
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
    lock.execute(&mut *on).await.map_err(PostgresError::from_driver)?;
    if found(on).await? != before {
        return Ok(Vec::new());
    }
    on.execute(LOCK_TIMEOUT).await.map_err(PostgresError::from_driver)?;
    if before == Version::default() {
        lay_foundation(on).await?;
    }
    let mut made = Vec::new();
    for Migration { to, statements } in migrations {
        on.execute(sqlx::raw_sql(statements)).await.map_err(unmigrated)?;
        sqlx::query("INSERT INTO mfa.migrations (major, minor) VALUES ($1, $2)")
            .bind(to.major)
            .bind(to.minor)
            .execute(&mut *on)
            .await
            .map_err(unmigrated)?;
        made.push(to);
    }
    Ok(made)
}

/// The version of the tables; the default if there are none.
async fn found(on: &mut PgConnection) -> Result<Version, PostgresError> {
    // Not `to_regclass`: it may use a result cached before the lock was taken.
    let (encoding, ours): (String, bool) = sqlx::query_as(
        "SELECT pg_catalog.current_setting('server_encoding'),
            EXISTS (SELECT FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'mfa' AND c.relname = 'migrations')",
    )
    .fetch_one(&mut *on)
    .await
    .map_err(PostgresError::from_driver)?;
    if encoding != "UTF8" {
        return Err(PostgresError::Encoding { found: encoding });
    }
    if !ours {
        return Ok(Version::default());
    }
    let found: Option<(i32, i32)> =
        sqlx::query_as(LATEST).fetch_optional(on).await.map_err(foreign_or_driver)?;
    Ok(found.map_or(Version::default(), |(major, minor)| Version { major, minor }))
}

/// Creates the schema, unless an operator has created it.
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
        | PostgresError::Locked
        | PostgresError::GivenUp) => error,
        other => PostgresError::Unmigrated(Arc::new(other)),
    }
}

/// A table with this name but without our columns belongs to another program.
fn foreign_or_driver(error: sqlx::Error) -> PostgresError {
    let code = error.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
    match code.as_deref() {
        Some("42703") => PostgresError::Foreign,
        _ => PostgresError::from_driver(error),
    }
}

#[cfg(test)]
mod tests {
    use mfa_domain::ports::Commit;
    use mfa_testkit::changes::{change, key};
    use sqlx::{AssertSqlSafe, Connection};

    use super::*;
    use crate::{PostgresStore, server};

    /// A migration as the next version may have it: it needs exclusive locks on both tables.
    const NEXT: Migration = Migration {
        to: Version { major: 1, minor: 1 },
        statements: "
            ALTER TABLE mfa.events SET (autovacuum_vacuum_scale_factor = 0.1);
            ALTER TABLE mfa.accounts ADD COLUMN added text",
    };

    /// A long read of one table and a vacuum of another must not make the previous version of the program
    /// wait as long as they take.
    #[tokio::test]
    async fn a_migration_that_must_wait_lets_others_through_and_then_goes_on() {
        for (table, held) in [("accounts", "ACCESS SHARE"), ("events", "SHARE UPDATE EXCLUSIVE")] {
            let url = server::database().await;
            let before = PostgresStore::open(&url).await.unwrap();
            let connect = || async { PgConnection::connect(&url).await.unwrap() };
            let (mut holder, mut migrating, mut observer) =
                (connect().await, connect().await, connect().await);
            let hold = format!("BEGIN; LOCK TABLE mfa.{table} IN {held} MODE");
            holder.execute(sqlx::raw_sql(AssertSqlSafe(hold))).await.unwrap();
            let migration = tokio::spawn(async move { bring(&mut migrating, &[MIGRATIONS[0], NEXT]).await });
            // Whether it holds an exclusive lock on accounts while it waits.
            let waits = "SELECT (SELECT count(*) FROM pg_locks l WHERE l.pid = waiting.pid AND l.granted
                    AND l.relation = 'mfa.accounts'::regclass AND l.mode = 'AccessExclusiveLock')
                FROM pg_locks waiting
                WHERE waiting.relation = ('mfa.' || $1)::regclass AND NOT waiting.granted";
            let alone = loop {
                let waits = sqlx::query_scalar::<_, i64>(waits).bind(table);
                if let Some(alone) = waits.fetch_optional(&mut observer).await.unwrap() {
                    break alone;
                }
                assert!(!migration.is_finished(), "{table}");
            };
            assert_eq!(alone, 0, "it waits for {table} and has locked accounts");
            let made = change(&before, &key("alice"), |_| ()).await.expect("it waits behind the migration");
            assert_eq!(made, Commit::Won);
            assert!(!migration.is_finished(), "{table}");
            holder.execute("COMMIT").await.unwrap();
            migration.await.unwrap().unwrap();
            assert_eq!(found(&mut observer).await.unwrap(), NEXT.to, "{table}");
            let made = change(&before, &key("alice"), |_| ()).await.expect("the program before goes on");
            assert_eq!(made, Commit::Won);
            before.close().await;
        }
    }
}
