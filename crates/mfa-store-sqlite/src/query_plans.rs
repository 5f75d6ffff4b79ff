//! Every query finds its rows through an index, and every index serves a query.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Executor, SqliteConnection};

use crate::{
    SqliteStore, account_change, accounts, api_keys, challenges, deliveries, events, outbox, throttle,
};

/// Each statement, and the steps of its plan that may read all rows, since there are few.
const STATEMENTS: [(&str, &[&str]); 45] = [
    (accounts::LOAD, &[]),
    (accounts::PAGE_END, &[]),
    (accounts::PAGE, &[]),
    // The table that the recursion makes.
    (accounts::FIND, &[]),
    (accounts::KEYS_IN_USE, &["SCAN used"]),
    (events::EVENTS_OF_TENANT, &[]),
    (events::EVENTS_OF_USER, &[]),
    (api_keys::FIND_API_KEYS, &[]),
    (api_keys::LIST_API_KEYS, &["SCAN api_keys"]),
    (account_change::NEW_ACCOUNTS, &[]),
    (account_change::CHANGE_ACCOUNTS, &[]),
    (account_change::CHANGE_KEYS, &[]),
    (account_change::ADD_EVENTS, &[]),
    (account_change::CLAIM_HANDLE, &[]),
    (account_change::RELEASE_HANDLE, &[]),
    (account_change::HANDLE_OWNER, &[]),
    (account_change::REMOVE_CODES, &[]),
    (account_change::ADD_CODE_SET, &[]),
    (account_change::ADD_CODE, &[]),
    (account_change::SPEND_CODE, &[]),
    (accounts::MOVE_BASE, &[]),
    (accounts::REMOVE_EVENTS, &[]),
    (api_keys::ADD_API_KEY, &["SCAN api_keys"]),
    (api_keys::REVOKE_API_KEY, &[]),
    (api_keys::USE_API_KEY, &[]),
    (challenges::GET_CHALLENGE, &[]),
    (challenges::PUT_CHALLENGE, &[]),
    (challenges::FORGET_CHALLENGES, &[]),
    (challenges::SWAP_CHALLENGE, &[]),
    (outbox::PUT_MESSAGE, &[]),
    (outbox::FIND_MESSAGE, &[]),
    (outbox::ANY_MESSAGE, &["SCAN CONSTANT ROW"]),
    (outbox::DUE_MESSAGES, &[]),
    (outbox::CLAIM_MESSAGE, &[]),
    (outbox::SWAP_MESSAGE, &[]),
    (outbox::FORGET_MESSAGES, &[]),
    (throttle::READ_BUCKETS, &[]),
    (throttle::WRITE_BUCKETS, &[]),
    (throttle::FORGET_BUCKETS, &[]),
    (deliveries::NEW_DELIVERY, &[]),
    (deliveries::CHANGE_DELIVERY, &[]),
    (deliveries::FIND_DELIVERY, &[]),
    // From the first event of the page up to its limit.
    (deliveries::TRAIL, &["SEARCH e USING INTEGER PRIMARY KEY (rowid>?)"]),
    // The last row.
    (deliveries::LAST_EVENT, &["SEARCH events"]),
    // The cascade from a set of codes to its codes.
    ("DELETE FROM backup_codes WHERE account = ?", &[]),
];

#[tokio::test]
async fn no_query_reads_a_whole_table_and_no_index_is_idle() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("mfa.db")).await.unwrap();
    let mut connection = store.readers.acquire().await.unwrap();
    connection.execute("PRAGMA query_only = OFF").await.unwrap();
    check(&mut connection).await;
    // The planner decides again once it knows the distribution of the rows.
    fill(&mut connection).await;
    check(&mut connection).await;
}

/// An index that every commit writes costs one more page per account.
#[tokio::test]
async fn a_change_of_an_account_writes_no_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("mfa.db")).await.unwrap();
    let writes = async |statement| {
        let explain = AssertSqlSafe(format!("EXPLAIN {statement}"));
        let steps: Vec<(i64, String)> = sqlx::query_as(explain).fetch_all(&store.readers).await.unwrap();
        steps.into_iter().filter(|(_, step)| step == "OpenWrite").count()
    };
    assert_eq!(writes(account_change::CHANGE_ACCOUNTS).await, 1);
    assert_eq!(writes(account_change::CHANGE_KEYS).await, 2);
}

async fn check(connection: &mut SqliteConnection) {
    let mut used = String::new();
    for (statement, allowed) in STATEMENTS {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).fetch_all(&mut *connection).await.unwrap();
        for (_, _, _, step) in plan {
            assert!(!scans(&step) || allowed.contains(&step.as_str()), "{step}: {statement}");
            // Backup codes and the rows of one batch are few; whole pages must not be sorted.
            let few = [accounts::LOAD, account_change::ADD_EVENTS];
            let sorts = step.contains("TEMP B-TREE") && !few.contains(&statement);
            assert!(!sorts || statement == api_keys::LIST_API_KEYS, "{step}: {statement}");
            used.push_str(&step);
            used.push('\n');
        }
    }
    let indexes: BTreeSet<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
    )
    .fetch_all(connection)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let idle: Vec<_> = indexes.iter().filter(|index| !used.contains(index.as_str())).collect();
    assert!(idle.is_empty(), "{idle:?} are in no plan:\n{used}");
}

/// Whether a step reads a table to its end: from its beginning, from some row on, or, as `min` without an
/// index does, shown as a search.
fn scans(step: &str) -> bool {
    let whole = step.starts_with("SCAN") && !step.contains("VIRTUAL TABLE") && step != "SCAN CONSTANT ROW";
    let from_a_row = step.ends_with("USING INTEGER PRIMARY KEY (rowid>?)");
    let without_index = step.starts_with("SEARCH") && !step.contains(" USING ");
    whole || from_a_row || without_index
}

/// Two keys, four tenants, and enough accounts and events to make a scan expensive.
async fn fill(connection: &mut SqliteConnection) {
    let fill = "
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
        INSERT INTO accounts
            SELECT n, 't' || (n % 4), 'u' || n, 1, 0, 0, '[]', NULL, NULL, NULL, 1, x'', 0, NULL,
                '[\"k' || (n % 2) || '\"]', '[]', NULL, NULL
            FROM n;
        INSERT INTO handles SELECT tenant, CAST(user AS BLOB), id FROM accounts;
        INSERT INTO backup_code_sets SELECT id, 's', 0 FROM accounts;
        INSERT INTO backup_codes SELECT id, 0, x'', NULL FROM accounts;
        INSERT INTO deliveries SELECT 'e' || n, 1, 0, NULL, 0, 0, 0, NULL, 0, 0 FROM (SELECT id AS n FROM accounts);
        INSERT INTO events SELECT id, tenant, id, 1, 0, 'verified', NULL, 'a', '{}', x'', x'' FROM accounts;
        INSERT INTO challenges
            SELECT 'c' || id, tenant, user, NULL, 'push', 'verify', 'c', NULL, id, id, 1, 'open', 0, x'' FROM accounts;
        INSERT INTO throttles SELECT 'user/' || tenant || '/' || user, id, id, id FROM accounts;
        ANALYZE";
    connection.execute(fill).await.unwrap();
}
