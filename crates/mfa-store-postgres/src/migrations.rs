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
/// one: it adds, what it adds has a default, and what it writes elsewhere is written where that program
/// looks, too. A program makes it when it opens the database.
///
/// A new major version takes away what only programs before need, and these refuse the database from
/// then on. The program that brings it works with the last version before it as well, and so beside
/// itself, before and after; who runs it says when ([`upgrade`]).
const MIGRATIONS: [(Version, Work); 8] = [
    (Version { major: 1, minor: 0 }, Work::AtOnce(include_str!("../migrations/1.0.sql"))),
    (Version { major: 1, minor: 1 }, Work::AtOnce(include_str!("../migrations/1.1.sql"))),
    (Version { major: 1, minor: 2 }, Work::AtOnce(include_str!("../migrations/1.2.sql"))),
    (Version { major: 1, minor: 3 }, Work::AtOnce(include_str!("../migrations/1.3.sql"))),
    (Version { major: 1, minor: 4 }, Work::AtOnce(include_str!("../migrations/1.4.sql"))),
    (Version { major: 1, minor: 5 }, Work::InParts(include_str!("../migrations/1.5.sql"))),
    (Version { major: 1, minor: 6 }, Work::AtOnce(include_str!("../migrations/1.6.sql"))),
    (Version { major: 2, minor: 0 }, Work::AtOnce(include_str!("../migrations/2.0.sql"))),
];

/// What makes a version.
#[derive(Clone, Copy)]
enum Work {
    /// Statements, in one transaction.
    AtOnce(&'static str),
    /// A statement that is made again and again, for what comes after the account that it named last,
    /// until it names none. Where there was nothing before, there is nothing to do.
    InParts(&'static str),
}

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
    COMMENT ON COLUMN mfa.migrations.major IS 'A program refuses a newer one than it knows.';
    COMMENT ON COLUMN mfa.migrations.minor IS 'A program that knows the major version works with any.';
    COMMENT ON COLUMN mfa.migrations.applied_at IS 'When the tables were brought to that version.'";

pub(crate) const LATEST: &str =
    "SELECT major, minor FROM mfa.migrations ORDER BY major DESC, minor DESC LIMIT 1";

/// A version of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: i32,
    minor: i32,
}

/// How far a program brings tables that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// As far as programs before it work with them.
    Minor,
    /// All the way.
    Major,
}

impl Reach {
    /// The version that tables of the version `found` are brought to; new ones always to the last.
    fn of(self, found: Version) -> Version {
        let stays = self == Self::Minor && found != Version::default();
        let reached = MIGRATIONS.iter().map(|(version, _)| *version);
        reached.filter(|version| !stays || version.major == found.major).max().unwrap_or_default()
    }
}

/// Brings the tables up to date, as far as programs before this one work with them. Where they are, it
/// needs no privilege but to read.
pub(crate) async fn migrate(on: &mut PgConnection) -> Result<(), PostgresError> {
    bring(on, Reach::Minor).await?;
    let (found, last) = (found(on).await?, Reach::Major.of(Version::default()));
    if found < last {
        tracing::info!(
            found.major,
            found.minor,
            last.major,
            "the database keeps what older programs need; upgrade it once none of them is used"
        );
    }
    Ok(())
}

/// Brings tables that [`migrate`] has brought as far as it does to the last version, and takes away what
/// only older programs need.
pub(crate) async fn upgrade(on: &mut PgConnection) -> Result<(), PostgresError> {
    let found = found(on).await?;
    if found == Version::default() || found < Reach::Minor.of(found) {
        return Err(PostgresError::NotPrepared);
    }
    bring(on, Reach::Major).await
}

async fn bring(on: &mut PgConnection, reach: Reach) -> Result<(), PostgresError> {
    let begin = Instant::now();
    loop {
        let found = found(on).await?;
        if found >= reach.of(found) {
            return Ok(());
        }
        match step(on, found, reach).await {
            Err(PostgresError::Locked | PostgresError::GivenUp) if begin.elapsed() < PATIENCE => {
                tracing::warn!("the database cannot be migrated while others use its tables; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error @ (PostgresError::Locked | PostgresError::GivenUp)) => {
                return Err(PostgresError::Unmigrated(Arc::new(error)));
            }
            made => made?,
        }
    }
}

/// The version after the one that was found, so that no lock is held for longer than its own work takes; of
/// tables that are not there, all versions, so that they are there as a whole or not at all.
async fn step(on: &mut PgConnection, before: Version, reach: Reach) -> Result<(), PostgresError> {
    let last = reach.of(before);
    let mut made: Vec<_> =
        MIGRATIONS.iter().filter(|(version, _)| *version > before && *version <= last).collect();
    if before != Version::default() {
        made.truncate(1);
        if let Some((_, Work::InParts(part))) = made.first() {
            in_parts(on, part).await?;
        }
    }
    let mut transaction = on.begin().await.map_err(PostgresError::from_driver)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(PostgresError::from_driver)?;
    if found(&mut transaction).await? != before {
        // Another replica was faster.
        return Ok(());
    }
    transaction.execute(LOCK_TIMEOUT).await.map_err(PostgresError::from_driver)?;
    if before == Version::default() {
        lay_foundation(&mut transaction).await?;
    }
    for (version, work) in &made {
        if let Work::AtOnce(statements) = *work {
            transaction.execute(sqlx::raw_sql(statements)).await.map_err(unmigrated)?;
        }
        sqlx::query("INSERT INTO mfa.migrations (major, minor) VALUES ($1, $2)")
            .bind(version.major)
            .bind(version.minor)
            .execute(&mut *transaction)
            .await
            .map_err(unmigrated)?;
    }
    transaction.commit().await.map_err(unmigrated)?;
    for (version, _) in made {
        tracing::info!(version.major, version.minor, "the database was migrated");
    }
    Ok(())
}

async fn in_parts(on: &mut PgConnection, part: &'static str) -> Result<(), PostgresError> {
    let mut done = Some(0_i64);
    while let Some(after) = done {
        let mut transaction = on.begin().await.map_err(PostgresError::from_driver)?;
        transaction.execute(LOCK_TIMEOUT).await.map_err(PostgresError::from_driver)?;
        let part = sqlx::query_scalar(part).bind(after).fetch_one(&mut *transaction);
        done = part.await.map_err(unmigrated)?;
        transaction.commit().await.map_err(unmigrated)?;
    }
    Ok(())
}

/// The version that the tables have; the default one if there are none.
async fn found(on: &mut PgConnection) -> Result<Version, PostgresError> {
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
    let known = Reach::Major.of(found).major;
    if found.major > known {
        return Err(PostgresError::TooNew { found: found.major, known });
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
        | PostgresError::Locked
        | PostgresError::GivenUp) => error,
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
    use mfa_domain::account::{BackupCodes, CodeHash, HashedCode};
    use mfa_domain::ports::{AccountStore, Commit};
    use mfa_domain::{BackupCodesChange, Timestamp};
    use mfa_testkit::changes::{change, key};
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::{PostgresStore, server};

    /// What a program before version 1.4 does to backup codes in its statement for changes of every kind:
    /// those from a place on go; a set is issued; its codes are; one is spent.
    const BEFORE: &str = "
        WITH won AS (SELECT id FROM mfa.accounts WHERE user_id = ANY ($6)),
        removed_codes AS (
            DELETE FROM mfa.backup_codes o USING won w WHERE o.account_id = w.id AND o.place >= $1
        ),
        removed_sets AS (
            DELETE FROM mfa.backup_code_sets o USING won w WHERE o.account_id = w.id AND $1 = 0
        ),
        issued_sets AS (
            INSERT INTO mfa.backup_code_sets (account_id, scheme, issued_at)
            SELECT w.id, $2, $3 FROM won w WHERE $2 IS NOT NULL
            ON CONFLICT (account_id) DO UPDATE SET scheme = excluded.scheme, issued_at = excluded.issued_at
        ),
        issued_codes AS (
            INSERT INTO mfa.backup_codes (account_id, place, hash)
            SELECT w.id, c.place - 1, c.hash FROM won w, unnest($4::bytea[]) WITH ORDINALITY AS c (hash, place)
            ON CONFLICT (account_id, place) DO UPDATE SET hash = excluded.hash, spent_at = excluded.spent_at
        ),
        spent AS (
            UPDATE mfa.backup_codes o SET spent_at = $3 FROM won w WHERE o.account_id = w.id AND o.place = $5
        )
        SELECT";

    /// How such a program reads them.
    const READ_BEFORE: &str = "
        SELECT s.scheme, s.issued_at, c.hashes, c.spent
        FROM mfa.accounts a JOIN mfa.backup_code_sets s ON s.account_id = a.id
        LEFT JOIN LATERAL (
            SELECT array_agg(o.hash ORDER BY o.place) AS hashes, array_agg(o.spent_at ORDER BY o.place) AS spent
            FROM mfa.backup_codes o WHERE o.account_id = s.account_id
        ) c ON true
        WHERE a.user_id = $1";

    async fn write_before(on: &mut PgConnection, users: &[&str], change: &BackupCodesChange) {
        let (mut kept, mut issued, mut at, mut hashes, mut spent) = (None, None, 0, Vec::new(), None);
        match change {
            BackupCodesChange::Remove => kept = Some(0),
            BackupCodesChange::Spend { place, at: now } => {
                (spent, at) = (i32::try_from(*place).ok(), now.unix_millis());
            }
            BackupCodesChange::Replace(set) => {
                kept = i32::try_from(set.codes.len()).ok();
                (issued, at) = (Some(&set.scheme), set.issued_at.unix_millis());
                hashes.extend(set.codes.iter().map(|code| code.hash.0.as_slice()));
            }
        }
        let at = i64::try_from(at).unwrap();
        let query = sqlx::query(BEFORE).bind(kept).bind(issued).bind(at).bind(hashes).bind(spent).bind(users);
        query.execute(on).await.unwrap();
    }

    async fn read_before(on: &mut PgConnection, user: &str) -> Option<BackupCodes> {
        type Found = (String, i64, Vec<Vec<u8>>, Vec<Option<i64>>);
        let found: Option<Found> = sqlx::query_as(READ_BEFORE).bind(user).fetch_optional(on).await.unwrap();
        let time = |millis: i64| Timestamp::from_unix_millis(millis.try_into().unwrap());
        found.map(|(scheme, issued_at, hashes, spent)| BackupCodes {
            scheme,
            issued_at: time(issued_at),
            codes: std::iter::zip(hashes, spent)
                .map(|(hash, spent)| HashedCode { hash: CodeHash(hash), spent_at: spent.map(time) })
                .collect(),
        })
    }

    fn set(codes: u8, round: u8) -> BackupCodesChange {
        let code = |n| HashedCode { hash: CodeHash(vec![n, codes, round]), spent_at: None };
        BackupCodesChange::Replace(BackupCodes {
            scheme: format!("{codes} in {round}"),
            codes: (0..codes).map(code).collect(),
            issued_at: Timestamp::from_unix_millis(1000 + u64::from(round)),
        })
    }

    /// Two programs by turns, in all sixteen orders of four: what the one writes, the other reads.
    #[tokio::test]
    async fn backup_codes_of_the_program_before_and_of_this_one_are_the_same_until_the_upgrade() {
        let url = server::database().await;
        let mut before = PgConnection::connect(&url).await.unwrap();
        lay_foundation(&mut before).await.unwrap();
        for (version, work) in &MIGRATIONS[..4] {
            let Work::AtOnce(migration) = *work else { panic!("{version:?}") };
            before.execute(sqlx::raw_sql(migration)).await.unwrap();
            let made = format!("INSERT INTO mfa.migrations VALUES ({}, {})", version.major, version.minor);
            before.execute(sqlx::raw_sql(AssertSqlSafe(made))).await.unwrap();
        }
        let account = "INSERT INTO mfa.accounts (tenant_id, user_id, version, failures, forgiven,
                recent_failures, audit_sequence, audit_hash)
            SELECT 'acme', u, 1, 0, 0, '{}', 0, decode(repeat('00', 32), 'hex')
            FROM unnest(ARRAY['alice', 'bob', 'carol']) u";
        before.execute(account).await.unwrap();
        let spend = |place, at| BackupCodesChange::Spend { place, at: Timestamp::from_unix_millis(at) };
        write_before(&mut before, &["alice", "bob", "carol"], &set(10, 0)).await;
        write_before(&mut before, &["alice", "bob", "carol"], &spend(2, 1)).await;
        let mut expected = read_before(&mut before, "bob").await;
        assert_eq!(expected.as_ref().unwrap().codes[2].spent_at, Some(Timestamp::from_unix_millis(1)));

        assert!(matches!(PostgresStore::upgrade(&url).await, Err(PostgresError::NotPrepared)));
        // The program before goes on while this one migrates.
        let [three, four] = [MIGRATIONS[3].0, MIGRATIONS[4].0];
        step(&mut before, three, Reach::Minor).await.unwrap();
        assert_eq!(found(&mut before).await.unwrap(), four);
        let carols = expected.clone();
        write_before(&mut before, &["alice", "bob"], &spend(4, 2)).await;
        expected.as_mut().unwrap().codes[4].spent_at = Some(Timestamp::from_unix_millis(2));

        let users = [key("alice"), key("bob")];
        let store = PostgresStore::open(&url).await.unwrap();
        let check = async |before: &mut PgConnection, expected: &Option<BackupCodes>, when: &str| {
            for user in &users {
                let read = store.load(user).await.unwrap().value.backup_codes;
                assert_eq!(read, *expected, "{when}: {}", user.user);
                let read = read_before(before, user.user.as_str()).await;
                assert_eq!(read, *expected, "{when}: {} for the program before", user.user);
            }
        };
        check(&mut before, &expected, "at first").await;
        assert_eq!(store.load(&key("carol")).await.unwrap().value.backup_codes, carols);
        for round in 1..=16_u8 {
            let changes = [
                set(3, round),
                spend(1, 2),
                set(10, round),
                spend(9, 3),
                spend(0, 4),
                set(2, round),
                BackupCodesChange::Remove,
                set(1, round),
            ];
            for (n, codes_change) in changes.into_iter().enumerate() {
                if round >> (n % 4) & 1 == 0 {
                    write_before(&mut before, &["alice", "bob"], &codes_change).await;
                } else {
                    for user in &users {
                        let made = change(&store, user, |draft| draft.backup_codes(codes_change.clone()));
                        assert_eq!(made.await.unwrap(), Commit::Won);
                    }
                }
                match codes_change {
                    BackupCodesChange::Remove => expected = None,
                    BackupCodesChange::Replace(set) => expected = Some(set),
                    BackupCodesChange::Spend { place, at } => {
                        expected.as_mut().unwrap().codes[place].spent_at = Some(at);
                    }
                }
                check(&mut before, &expected, &format!("change {n} of round {round}")).await;
            }
        }

        for _ in 0..2 {
            PostgresStore::upgrade(&url).await.unwrap();
            assert_eq!(found(&mut before).await.unwrap(), Version { major: 2, minor: 0 });
        }
        let [alice, _] = &users;
        let codes = async || store.load(alice).await.unwrap().value.backup_codes;
        assert_eq!(codes().await, expected);
        let made = change(&store, alice, |draft| draft.backup_codes(spend(0, 5)));
        assert_eq!(made.await.unwrap(), Commit::Won);
        assert!(codes().await.unwrap().codes[0].spent_at.is_some());
        let left: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                    WHERE c.relnamespace = 'mfa'::regnamespace AND NOT t.tgisinternal)
                + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'mfa'::regnamespace)
                + (SELECT count(*) FROM pg_class WHERE oid = to_regclass('mfa.backup_codes'))",
        )
        .fetch_one(&mut before)
        .await
        .unwrap();
        assert_eq!(left, 0, "triggers, functions and tables");
    }

    /// Nobody is answered with an error while an upgrade takes away what nobody looks at.
    #[tokio::test(flavor = "multi_thread")]
    async fn requests_go_on_while_the_database_is_upgraded() {
        for _ in 0..5 {
            let url = server::database().await;
            let mut before = PgConnection::connect(&url).await.unwrap();
            lay_foundation(&mut before).await.unwrap();
            before.execute(sqlx::raw_sql(include_str!("../migrations/1.0.sql"))).await.unwrap();
            before.execute("INSERT INTO mfa.migrations (major, minor) VALUES (1, 0)").await.unwrap();
            let store = PostgresStore::open(&url).await.unwrap();
            let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let requests = (0..32).map(|n| {
                let (store, over) = (store.clone(), over.clone());
                tokio::spawn(async move {
                    let (user, mut done) = (key(&format!("user-{n}")), 0);
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        let made = change(&store, &user, |draft| draft.backup_codes(set(2, n)));
                        assert_eq!(made.await.expect("a commit"), Commit::Won);
                        done += 1;
                    }
                    done
                })
            });
            let requests: Vec<_> = requests.collect();
            tokio::time::sleep(Duration::from_millis(200)).await;
            PostgresStore::upgrade(&url).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            for done in requests {
                assert!(done.await.unwrap() > 0);
            }
            assert_eq!(found(&mut before).await.unwrap(), Version { major: 2, minor: 0 });
            store.close().await;
        }
    }

    /// A long reader of a table, and a vacuum of another, are not to make the program before this one
    /// wait for as long as they take.
    #[tokio::test]
    async fn a_migration_that_must_wait_lets_others_through_and_then_goes_on() {
        for (table, held) in [("accounts", "ACCESS SHARE"), ("events", "SHARE UPDATE EXCLUSIVE")] {
            let url = server::database().await;
            let connect = || async { PgConnection::connect(&url).await.unwrap() };
            let (mut holder, mut before, mut observer) = (connect().await, connect().await, connect().await);
            lay_foundation(&mut holder).await.unwrap();
            holder.execute(sqlx::raw_sql(include_str!("../migrations/1.0.sql"))).await.unwrap();
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
            let version = found(&mut observer).await.unwrap();
            assert_eq!(version, Reach::Minor.of(MIGRATIONS[0].0), "{table}");
            store.close().await;
        }
    }
}
