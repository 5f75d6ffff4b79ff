//! Programs of two versions on one database, while it is migrated and upgraded, and after.

use std::sync::atomic::{AtomicBool, Ordering};

use mfa_domain::account::{BackupCodes, CodeHash, HashedCode};
use mfa_domain::ports::{AccountStore, Commit};
use mfa_domain::{BackupCodesChange, Timestamp};
use mfa_testkit::changes::{change, key};
use sqlx::{AssertSqlSafe, Connection};

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

/// Tables as the program left them whose last version that is.
async fn made_by_one_before(on: &mut PgConnection, last: Version) {
    lay_foundation(on).await.unwrap();
    for (version, work) in MIGRATIONS.iter().filter(|(version, _)| *version <= last) {
        let Work::AtOnce(migration) = *work else { panic!("{version:?}") };
        on.execute(sqlx::raw_sql(migration)).await.unwrap();
        let made = sqlx::query("INSERT INTO mfa.migrations (major, minor) VALUES ($1, $2)");
        made.bind(version.major).bind(version.minor).execute(&mut *on).await.unwrap();
    }
}

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
    let [three, four] = [MIGRATIONS[3].0, MIGRATIONS[4].0];
    made_by_one_before(&mut before, three).await;
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
            assert_eq!(read, *expected, "{when}: {:?}", user.user);
            let read = read_before(before, user.user.as_str()).await;
            assert_eq!(read, *expected, "{when}: {:?} for the program before", user.user);
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
        made_by_one_before(&mut before, MIGRATIONS[0].0).await;
        let store = PostgresStore::open(&url).await.unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let requests = (0..32).map(|n| {
            let (store, over) = (store.clone(), over.clone());
            tokio::spawn(async move {
                let (user, mut done) = (key(&format!("user-{n}")), 0);
                while !over.load(Ordering::Relaxed) {
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
        over.store(true, Ordering::Relaxed);
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
        made_by_one_before(&mut holder, MIGRATIONS[0].0).await;
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
