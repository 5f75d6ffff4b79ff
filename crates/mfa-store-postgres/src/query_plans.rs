//! Every query finds its rows through an index, and every index serves a query.

use std::collections::BTreeSet;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::{
    PostgresStore, accounts, api_keys, challenges, change, deliveries, events, migrations, outbox, server,
    throttle,
};

fn statements() -> Vec<(String, &'static [&'static str])> {
    let all = [
        (accounts::LOAD, &[][..]),
        (accounts::PAGE_END, &[]),
        (accounts::PAGE, &[]),
        (accounts::KEYS_IN_USE, &[]),
        (accounts::TRIM, &[]),
        (events::EVENTS_OF_TENANT, &[]),
        (events::EVENTS_OF_USER, &[]),
        (api_keys::FIND_API_KEYS, &[]),
        (accounts::FIND, &[]),
        // A table of a few rows.
        (api_keys::LIST_API_KEYS, &["api_keys"]),
        (api_keys::ADD_API_KEY, &["api_keys"]),
        (api_keys::REVOKE_API_KEY, &[]),
        (api_keys::USE_API_KEY, &[]),
        (challenges::PUT_CHALLENGES, &[]),
        (challenges::GET_CHALLENGES, &[]),
        (challenges::SWAP_CHALLENGES, &[]),
        (outbox::FIND_MESSAGE, &[]),
        (outbox::CLAIM_MESSAGES, &[]),
        (outbox::SWAP_MESSAGES, &[]),
        (throttle::READ_BUCKETS, &[]),
        (throttle::WRITE_BUCKETS, &[]),
        (deliveries::FIND_DELIVERY, &[]),
        (deliveries::NEW_DELIVERY, &[]),
        (deliveries::CHANGE_DELIVERY, &[]),
        (deliveries::TRAIL, &[]),
        // A sequence has one row.
        (events::LAST_ID, &["events_id_seq"]),
        (migrations::LATEST, &["migrations"]),
        (change::USUAL, &[]),
        (change::SENDING, &[]),
        (change::WHOLE, &[]),
    ];
    all.into_iter().map(|(statement, scanned)| (statement.to_owned(), scanned)).collect()
}

#[tokio::test]
async fn no_query_reads_a_whole_table_and_no_index_is_idle() {
    let store = PostgresStore::open(&server::database().await).await.unwrap();
    let mut connection = store.connections.acquire().await.unwrap();
    check(&mut connection).await;
    // The planner decides again once it knows the distribution of the rows.
    fill(&mut connection).await;
    check(&mut connection).await;
}

async fn check(connection: &mut PgConnection) {
    let mut used = BTreeSet::new();
    for (statement, scanned) in statements() {
        let plan = plan(connection, &statement).await;
        let mut nodes = vec![&plan["Plan"]];
        while let Some(node) = nodes.pop() {
            nodes.extend(node["Plans"].as_array().into_iter().flatten());
            let kind = node["Node Type"].as_str().unwrap();
            let table = node["Relation Name"].as_str().unwrap_or_default();
            // A scan of an index without a condition reads all of it, too.
            let whole = kind == "Seq Scan" || (kind.starts_with("Index") && node["Index Cond"].is_null());
            assert!(!whole || scanned.contains(&table), "{kind} of {table}: {statement}\n{plan:#}");
            assert!(kind != "Hash Join" && kind != "Merge Join", "{statement}\n{plan:#}");
            used.extend(node["Index Name"].as_str().map(str::to_owned));
            let arbiters = node["Conflict Arbiter Indexes"].as_array().into_iter().flatten();
            used.extend(arbiters.map(|name| name.as_str().unwrap().to_owned()));
            // Pages must not be sorted in whole; the input of a commit is sorted.
            let ordered =
                [accounts::PAGE_END, accounts::PAGE, challenges::PUT_CHALLENGES, throttle::READ_BUCKETS];
            let pages = ordered.contains(&statement.as_str()) || statement.contains("e.id > $2");
            let sorts = kind == "Sort" && pages;
            assert!(!sorts, "{statement}\n{plan:#}");
        }
    }
    let indexes: Vec<String> =
        sqlx::query_scalar("SELECT indexname FROM pg_indexes WHERE schemaname = 'mfa'")
            .fetch_all(connection)
            .await
            .unwrap();
    let idle: Vec<_> = indexes.iter().filter(|index| !used.contains(*index)).collect();
    assert!(idle.is_empty(), "{idle:?} are in no plan: {used:?}");
}

/// The generic plan that a store's connections use for any parameters.
async fn plan(connection: &mut PgConnection, statement: &str) -> Value {
    let parameters = (1..100).take_while(|n| statement.contains(&format!("${n}"))).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let arguments = if parameters == 0 { String::new() } else { format!("({nulls})") };
    connection.execute(AssertSqlSafe(format!("PREPARE asked AS {statement}"))).await.unwrap();
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE asked{arguments}");
    let row =
        sqlx::query(AssertSqlSafe(explain)).persistent(false).fetch_one(&mut *connection).await.unwrap();
    let plan: String = row.get_unchecked(0);
    connection.execute("DEALLOCATE asked").await.unwrap();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    plan[0].clone()
}

/// Two keys, four tenants, and enough accounts and events to make a scan expensive. There is no message: the table is
/// usually empty when it is analyzed.
async fn fill(connection: &mut PgConnection) {
    let fill = r"
        INSERT INTO mfa.accounts (tenant_id, user_id, version, failures, forgiven, recent_failures,
                audit_sequence, audit_hash, factors, sealed_with)
            SELECT 't' || n % 4, 'u' || n, 1, 0, 0, NULL, 1, '', '[]', json_build_array('k' || n % 2)
            FROM generate_series(1, 20000) n;
        INSERT INTO mfa.handles SELECT tenant_id, user_id::bytea, id FROM mfa.accounts;
        INSERT INTO mfa.backup_code_sets SELECT id, 's', 0, 0, '', NULL FROM mfa.accounts;
        INSERT INTO mfa.deliveries SELECT 'e' || id, 1, 0, NULL, 0, 0, 0, NULL, false, 0 FROM mfa.accounts;
        INSERT INTO mfa.events (tenant_id, account_id, sequence, at, kind, actor, detail, previous, hash)
            SELECT tenant_id, id, 1, 0, 'verified', 'a', '{}', '', '' FROM mfa.accounts;
        INSERT INTO mfa.challenges
            SELECT 'c' || id, tenant_id, user_id, NULL, 'push', 'verify', 'c', NULL, id, id, 1, 'open', 0, ''
            FROM mfa.accounts;
        INSERT INTO mfa.throttles SELECT 'user/' || tenant_id || '/' || user_id, id, id, id FROM mfa.accounts;
        ANALYZE";
    // No time limit: the machine may be busy.
    connection.execute("SET statement_timeout = 0").await.unwrap();
    connection.execute(sqlx::raw_sql(fill)).await.unwrap();
}
