//! Rows that this version cannot read, and numbers that it cannot write.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::account::{CodeHash, HashedCode};
use mfa_domain::ports::{
    AccountQuery, AccountStore, ApiKey, ApiKeyHash, ApiKeyId, ApiKeyStore, DeliveryStore, EventPosition,
    EventQuery, Scopes, UnreadableApiKey,
};
use mfa_domain::{BackupCodes, BackupCodesChange, EventKind, FactorId, FactorState, UserCase, Version};
use mfa_store_sqlite::{SqliteError, SqliteStore};
use mfa_testkit::changes::message;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::{delta, factor, inner, key, make, now, raw};

/// A statement that makes a row unreadable, and the column that must be named.
const UNREADABLE: [(&str, &str); 33] = [
    ("UPDATE accounts SET version = -1", "version"),
    ("UPDATE accounts SET failures = 4294967296", "failures"),
    ("UPDATE accounts SET forgiven = -1", "forgiven"),
    ("UPDATE accounts SET recent_failures = 'no JSON'", "recent_failures"),
    ("UPDATE accounts SET recent_failures = '[\"a\"]'", "recent_failures"),
    ("UPDATE accounts SET recent_failures = '[-1]'", "recent_failures"),
    ("UPDATE accounts SET verified_low = -1", "verified_low"),
    ("UPDATE accounts SET verified_high = 9223372036854775807", "verified_high"),
    ("UPDATE accounts SET audit_sequence = -1", "audit_sequence"),
    ("UPDATE accounts SET audit_hash = x'00'", "audit_hash"),
    ("UPDATE accounts SET audit_base_sequence = -1", "audit_base_sequence"),
    ("UPDATE accounts SET audit_base_sequence = 1", "audit_base_hash"),
    ("UPDATE accounts SET audit_base_hash = x'00'", "audit_base_hash"),
    ("UPDATE accounts SET factors = 'no JSON'", "factors"),
    ("UPDATE accounts SET factors = json_remove(factors, '$[0].label')", "factors"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].id', 'no id')", "id"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].kind', 'totp')", "data"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].data', json('{}'))", "data"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].data.counter', -1)", "data"),
    ("UPDATE accounts SET factors = json_remove(factors, '$[0].key')", "secret"),
    ("UPDATE accounts SET factors = json_remove(factors, '$[0].secret')", "secret"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].secret', 'no base64')", "secret"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].data', 'no object')", "data"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].label', '')", "label"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].state', 'revoked')", "state"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].state', 'pending')", "expires_at"),
    (
        "UPDATE accounts SET factors = json_set(factors, '$[0].state', 'pending', '$[0].expires_at', 0, '$[0].replaces', 'x')",
        "replaces",
    ),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].created_at', -1)", "factors"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].created_at', 9223372036854775807)", "created_at"),
    ("UPDATE accounts SET factors = json_set(factors, '$[0].last_used_at', -1)", "factors"),
    (
        "UPDATE accounts SET factors = json_set(factors, '$[0].last_used_at', 9223372036854775807)",
        "last_used_at",
    ),
    ("UPDATE backup_code_sets SET issued_at = -1", "issued_at"),
    ("UPDATE backup_codes SET spent_at = -1", "spent_at"),
];

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_names_the_column() {
    for (statement, column) in UNREADABLE {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mfa.db");
        let store = SqliteStore::open(&path).await.unwrap();
        make(&store, &key("alice"), |draft| {
            draft.put(factor(1, 20));
            let codes = vec![HashedCode { hash: CodeHash(vec![1; 32]), spent_at: None }];
            let set = BackupCodes { scheme: "s".to_owned(), codes, issued_at: now() };
            draft.backup_codes(BackupCodesChange::Replace(set));
        })
        .await;
        raw(&path).await.execute(statement).await.unwrap();
        let error = store.load(&key("alice")).await.expect_err(statement);
        let (table, named) = match inner(&error) {
            SqliteError::Undecodable { table, column, account: 1 } => (*table, *column),
            other => panic!("{statement}: {other:?}"),
        };
        assert_eq!((named, error.is_unreadable()), (column, true), "{statement}");
        let of_a_factor = statement.contains("SET factors") && column != "factors";
        assert_eq!(table == "factors", of_a_factor, "{statement}: {table}");
    }
}

#[tokio::test]
async fn names_of_keys_that_cannot_be_read_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    let store = SqliteStore::open(&path).await.unwrap();
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    raw(&path).await.execute("UPDATE accounts SET sealed_with = 'k1'").await.unwrap();
    let error = store.keys_in_use().await.unwrap_err();
    let named =
        matches!(inner(&error), SqliteError::Undecodable { table: "accounts", column: "sealed_with", .. });
    assert!(named, "{error:?}");
}

/// Until then a newer version may read it.
#[tokio::test]
async fn a_message_that_cannot_be_read_comes_again_until_it_expires_and_has_failed_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    let store = Arc::new(SqliteStore::open(&path).await.unwrap());
    let test = mfa_testkit::ports(store.clone());
    let mfa = test.mfa();
    let (spoilt, good) = (message(1, now()), message(2, now()));
    make(&store, &key("alice"), |draft| {
        draft.message(spoilt.clone());
        draft.message(good.clone());
    })
    .await;
    let mut shell = raw(&path).await;
    let spoil = format!("UPDATE messages SET user = '' WHERE id = '{}'", spoilt.id);
    shell.execute(AssertSqlSafe(spoil)).await.unwrap();
    for (minute, unreadable, state) in
        [(0, 1, "queued"), (2, 1, "queued"), (9, 1, "queued"), (11, 1, "failed"), (13, 0, "failed")]
    {
        test.clock.set(now().plus(Duration::from_mins(minute)));
        let claimed = mfa.claim_messages(10).await.unwrap();
        assert_eq!((claimed.messages.len(), claimed.unreadable.len()), (1, unreadable), "{claimed:?}");
        assert!(claimed.unreadable.iter().all(|message| message.id == Some(spoilt.id)), "{claimed:?}");
        let row = sqlx::query_as("SELECT state, content IS NULL FROM messages WHERE user = ''");
        let found: (String, bool) = row.fetch_one(&mut shell).await.unwrap();
        assert_eq!(found, (state.to_owned(), state == "failed"), "{minute}");
    }
}

#[tokio::test]
async fn an_api_key_that_cannot_be_read_is_named_with_the_column_and_the_others_are_listed() {
    let id = ApiKeyId::new("abc").unwrap();
    for (statement, column) in [
        ("UPDATE api_keys SET scopes = 'verify sudo'", "scopes"),
        ("UPDATE api_keys SET user_case = 'lower'", "user_case"),
        ("UPDATE api_keys SET hash = x'00'", "hash"),
        ("UPDATE api_keys SET tenant = ''", "tenant"),
        ("UPDATE api_keys SET created_at = -1", "created_at"),
        ("UPDATE api_keys SET revoked_at = -1", "revoked_at"),
        ("UPDATE api_keys SET name = ''", "name"),
        ("UPDATE api_keys SET name = CAST(x'ff' AS TEXT)", "name"),
        ("UPDATE api_keys SET scopes = CAST(x'ff' AS TEXT)", "scopes"),
        ("UPDATE api_keys SET last_used_at = -1", "last_used_at"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mfa.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let api_key = ApiKey {
            id: id.clone(),
            name: None,
            tenant: key("alice").tenant,
            user_case: UserCase::Exact,
            scopes: Scopes::new(),
            hash: ApiKeyHash::of("secret"),
            created_at: now(),
            revoked_at: None,
            last_used_at: None,
        };
        let good = ApiKey { id: ApiKeyId::new("good").unwrap(), ..api_key.clone() };
        store.insert(&api_key).await.unwrap();
        store.insert(&good).await.unwrap();
        let spoil = AssertSqlSafe(format!("{statement} WHERE id = 'abc'"));
        raw(&path).await.execute(spoil).await.unwrap();
        let error = ApiKeyStore::find(&store, &id).await.unwrap_err();
        let error = inner(&error);
        assert!(
            matches!(error, SqliteError::Undecodable { column: named, .. } if *named == column),
            "{statement}: {error:?}"
        );
        let list = store.list(None).await.unwrap();
        let unreadable = UnreadableApiKey { id: "abc".into(), what: error.to_string() };
        assert_eq!((list.keys, list.unreadable), (vec![good], vec![unreadable]), "{statement}");
    }
}

/// What makes the rows of a user unreadable: the statement, the column that must be named, whether the
/// account's row can be read, and whether the events can.
const SPOILT: [(&str, &str, bool, bool); 13] = [
    ("UPDATE events SET sequence = -sequence", "sequence", true, false),
    ("UPDATE events SET at = -1", "at", true, false),
    ("UPDATE events SET factor = 'x'", "factor", true, false),
    ("UPDATE events SET detail = '[]'", "detail", true, false),
    ("UPDATE events SET kind = CAST(x'ff' AS TEXT)", "kind", true, false),
    ("UPDATE events SET actor = CAST(x'ff' AS TEXT)", "actor", true, false),
    ("UPDATE events SET previous = x''", "previous", true, false),
    ("UPDATE events SET hash = x'00'", "hash", true, false),
    ("UPDATE accounts SET audit_hash = x'00'", "audit_hash", false, true),
    ("UPDATE accounts SET audit_base_sequence = -1", "audit_base_sequence", false, true),
    ("UPDATE accounts SET audit_base_hash = x'00'", "audit_base_hash", false, true),
    ("UPDATE accounts SET user = ''", "user", false, false),
    ("UPDATE accounts SET user = CAST(x'ff' AS TEXT)", "user", false, false),
];

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_keeps_no_other_out() {
    for (statement, column, account_reads, events_read) in SPOILT {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mfa.db");
        let store = SqliteStore::open(&path).await.unwrap();
        for _ in 0..2 {
            for user in ["alice", "bob", "carol"] {
                make(&store, &key(user), |_| ()).await;
            }
        }
        let which = if statement.contains("events") { "account" } else { "id" };
        let spoil = format!("{statement} WHERE {which} = (SELECT id FROM accounts WHERE user = 'bob')");
        raw(&path).await.execute(AssertSqlSafe(spoil)).await.unwrap();

        // Pages of every length, so that an unreadable row is the first, the last and the only one.
        for limit in [1, 2, 10] {
            let mut query =
                AccountQuery { after: None, not_sealed_with: None, second_event_before: None, limit };
            let (mut users, mut unreadable) = (Vec::new(), Vec::new());
            loop {
                let page = store.page(&query).await.unwrap();
                users.extend(page.accounts.into_iter().map(|account| account.key.user.as_str().to_owned()));
                unreadable.extend(page.unreadable);
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            let expected =
                ["alice", "bob", "carol"].into_iter().filter(|user| account_reads || *user != "bob");
            assert_eq!(users, expected.collect::<Vec<_>>(), "{statement}");
            assert_eq!(unreadable.len(), usize::from(!account_reads), "{statement}");
            assert!(
                unreadable.iter().all(|account| account.what.contains(column)),
                "{statement}: {unreadable:?}"
            );

            let tenant = key("alice").tenant;
            let mut query = EventQuery { tenant, user: None, after: None, limit };
            let (mut events, mut unreadable) = (Vec::new(), Vec::new());
            loop {
                let page = store.events(&query).await.unwrap();
                query.after = page.last();
                events.extend(page.events.into_iter().map(|event| event.position.0));
                unreadable.extend(page.unreadable);
                if !page.more {
                    break;
                }
            }
            assert_eq!(
                events,
                if events_read { vec![1, 2, 3, 4, 5, 6] } else { vec![1, 3, 4, 6] },
                "{statement}"
            );
            let ids: Vec<_> = unreadable.iter().map(|event| event.position.0).collect();
            assert_eq!(ids, if events_read { vec![] } else { vec![2, 5] }, "{statement}");
            assert!(
                unreadable.iter().all(|event| event.what.contains(column)),
                "{statement}: {unreadable:?}"
            );

            let (mut seen, mut after) = (0, EventPosition(0));
            loop {
                let page = store.trail(after, limit).await.unwrap();
                let last = page.events.last().map(|event| event.recorded.position);
                seen += page.events.len();
                after = last.max(page.unreadable.last().map(|event| event.position)).unwrap();
                if !page.more {
                    break;
                }
            }
            assert_eq!((seen, after), (if events_read { 6 } else { 4 }, EventPosition(6)), "{statement}");
        }
    }
}

#[tokio::test]
async fn a_number_that_sqlite_cannot_hold_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("mfa.db")).await.unwrap();
    let alice = key("alice");
    let too_large = i64::MAX as u64 + 1;
    // What is in a document is no number of SQLite's.
    make(&store, &alice, |draft| draft.put(factor(u64::MAX, 20))).await;
    let read = store.load(&alice).await.unwrap();
    assert_eq!(read.value.factors, [factor(u64::MAX, 20)]);
    let delta = delta(&read.value, &alice, |_| ());
    for version in [too_large, u64::MAX] {
        let error = store.commit(&alice, Version(version), &delta).await.unwrap_err();
        assert!(matches!(inner(&error), SqliteError::TooLarge { column: "version" }), "{error:?}");
        assert!(!error.is_unreadable());
    }
}

/// Whoever opens the file with the `sqlite3` tool can see what is going on.
#[tokio::test]
async fn an_operator_can_read_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mfa.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let replaces = FactorId::fresh(now(), &[2; 10]);
    make(&store, &key("alice"), |draft| {
        let state = FactorState::Pending { expires_at: now(), replaces: Some(replaces) };
        draft.put(mfa_domain::Factor { state, ..factor(42, 20) });
        draft.attempts().fail(now());
        draft.record(EventKind::Locked, None, [("until", now().to_string())]);
    })
    .await;
    let mut shell = raw(&path).await;
    for (query, expected) in [
        (
            "SELECT tenant || '/' || user || ' ' || version || ' ' || recent_failures FROM accounts",
            "acme/alice 1 [1800000000000]",
        ),
        (
            "SELECT kind || ' ' || label || ' ' || state || ' ' || data FROM factors",
            r#"hotp Token pending {"v":1,"counter":42}"#,
        ),
        (
            "SELECT account || ' ' || id || ' ' || replaces || ' ' || expires_at || ' ' || created_at FROM factors",
            &format!("1 {} {replaces} 1800000000000 1800000000000", factor(42, 20).id),
        ),
        (
            "SELECT key || ' ' || secret || ' ' || (last_used_at IS NULL) FROM factors",
            "k1 BwcHBwcHBwcHBwcHBwcHBwcHBwc= 1",
        ),
        (
            "SELECT group_concat(sequence || ' ' || kind || ' ' || detail) FROM events",
            r#"1 verified {},2 locked {"until":"2027-01-15T08:00:00Z"}"#,
        ),
    ] {
        let text: String = sqlx::query_scalar(query).fetch_one(&mut shell).await.unwrap();
        assert_eq!(text, expected);
    }
}
