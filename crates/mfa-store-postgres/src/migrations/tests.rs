//! A migration beside programs that are at work.

use mfa_domain::ports::Commit;
use mfa_testkit::changes::{change, key};
use sqlx::{AssertSqlSafe, Connection};

use super::*;
use crate::{PostgresStore, server};

/// What the next version may do: it needs both tables for itself.
const NEXT: Migration = Migration {
    to: Version { major: 1, minor: 1 },
    statements: "
        ALTER TABLE mfa.events SET (autovacuum_vacuum_scale_factor = 0.1);
        ALTER TABLE mfa.accounts ADD COLUMN added text",
};

/// A long reader of a table, and a vacuum of another, are not to make the program before this one
/// wait for as long as they take.
#[tokio::test]
async fn a_migration_that_must_wait_lets_others_through_and_then_goes_on() {
    for (table, held) in [("accounts", "ACCESS SHARE"), ("events", "SHARE UPDATE EXCLUSIVE")] {
        let url = server::database().await;
        let before = PostgresStore::open(&url).await.unwrap();
        let connect = || async { PgConnection::connect(&url).await.unwrap() };
        let (mut holder, mut migrating, mut observer) = (connect().await, connect().await, connect().await);
        let hold = format!("BEGIN; LOCK TABLE mfa.{table} IN {held} MODE");
        holder.execute(sqlx::raw_sql(AssertSqlSafe(hold))).await.unwrap();
        let migration = tokio::spawn(async move { bring(&mut migrating, &[MIGRATIONS[0], NEXT]).await });
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
