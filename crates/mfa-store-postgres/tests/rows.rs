//! Rows that this version cannot read, and numbers that it cannot write.

use mfa_domain::account::{CodeHash, HashedCode};
use mfa_domain::ports::{
    AccountQuery, AccountStore, ApiKey, ApiKeyHash, ApiKeyId, ApiKeyStore, Commit, DeliveryStore,
    EventPosition, EventQuery, Scopes, UnreadableApiKey,
};
use mfa_domain::{
    BackupCodes, BackupCodesChange, EventKind, FactorId, FactorState, UserCase, Version, Versioned,
};
use mfa_store_postgres::PostgresError;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::{delta, factor, inner, key, make, now, raw, store};

/// What makes a row unreadable, and the column that must be named. The field of a factor is a column of the view.
const UNREADABLE: [(&str, &str); 17] = [
    ("UPDATE mfa.accounts SET failures = 4294967296", "failures"),
    ("UPDATE mfa.accounts SET forgiven = -1", "forgiven"),
    ("UPDATE mfa.accounts SET recent_failures = '{-1}'", "recent_failures"),
    ("UPDATE mfa.accounts SET verified_low = -1", "verified_low"),
    ("UPDATE mfa.accounts SET verified_high = 9223372036854775807", "verified_high"),
    ("UPDATE mfa.accounts SET audit_sequence = -1", "audit_sequence"),
    ("UPDATE mfa.accounts SET audit_hash = '\\x00'", "audit_hash"),
    ("UPDATE mfa.accounts SET audit_base_sequence = -1", "audit_base_sequence"),
    ("UPDATE mfa.accounts SET audit_base_sequence = 1", "audit_base_hash"),
    ("UPDATE mfa.accounts SET audit_base_hash = '\\x00'", "audit_base_hash"),
    ("UPDATE mfa.accounts SET factors = '{}'", "factors"),
    ("UPDATE mfa.backup_code_sets SET issued_at = -1", "issued_at"),
    ("UPDATE mfa.backup_code_sets SET spent_at = '{-1}'", "spent_at"),
    ("UPDATE mfa.backup_code_sets SET spent_at = '{}'", "spent_at"),
    ("UPDATE mfa.backup_code_sets SET count = -1", "count"),
    ("UPDATE mfa.backup_code_sets SET count = 3", "hashes"),
    ("UPDATE mfa.backup_code_sets SET hashes = ''", "hashes"),
];

/// The same for the only factor of a user: what it is merged with.
const UNREADABLE_FACTOR: [(&str, &str); 9] = [
    (r#"{"kind": "totp"}"#, "data"),
    (r#"{"data": {}}"#, "data"),
    (r#"{"data": {"v": 1, "counter": -1}}"#, "data"),
    (r#"{"key": null}"#, "secret"),
    (r#"{"secret": null}"#, "secret"),
    (r#"{"label": ""}"#, "label"),
    (r#"{"state": "revoked"}"#, "state"),
    (r#"{"state": "pending", "expires_at": null}"#, "expires_at"),
    (r#"{"last_used_at": 18446744073709551615}"#, "last_used_at"),
];

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_names_the_column() {
    let (store, url) = store().await;
    let mut shell = raw(&url).await;
    let merge = |change| {
        let merged = format!("(factors -> 0)::jsonb || '{change}'");
        format!("UPDATE mfa.accounts SET factors = json_build_array({merged})")
    };
    let factors = UNREADABLE_FACTOR.map(|(change, field)| (merge(change), field));
    let rows = UNREADABLE.map(|(statement, column)| (statement.to_owned(), column));
    for (n, (statement, column)) in rows.into_iter().chain(factors).enumerate() {
        let user = key(&format!("user-{n}"));
        make(&store, &user, |draft| {
            draft.put(factor(1, 20));
            let codes = vec![HashedCode { hash: CodeHash(vec![1; 32]), spent_at: None }];
            let set = BackupCodes { scheme: "s".to_owned(), codes, issued_at: now() };
            draft.backup_codes(BackupCodesChange::Replace(set));
        })
        .await;
        let own = "(SELECT max(id) FROM mfa.accounts)";
        let which = if statement.contains("mfa.accounts") { "id" } else { "account_id" };
        shell.execute(AssertSqlSafe(format!("{statement} WHERE {which} = {own}"))).await.unwrap();
        let error = store.load(&user).await.expect_err(&statement);
        let named = match inner(&error) {
            PostgresError::Undecodable { column, account: 1.., .. } => column,
            other => panic!("{statement}: {other:?}"),
        };
        assert_eq!((*named, error.is_unreadable()), (column, true), "{statement}");
        // Whoever is read with it is not affected.
        let healthy = key(&format!("healthy-{n}"));
        let (broken, read) = tokio::join!(store.load(&user), store.load(&healthy));
        assert!(broken.is_err());
        assert_eq!(read.unwrap(), Versioned::default());
    }
}

#[tokio::test]
async fn an_api_key_that_cannot_be_read_is_named_with_the_column_and_the_others_are_listed() {
    let id = ApiKeyId::new("abc").unwrap();
    for (statement, column) in [
        ("UPDATE mfa.api_keys SET scopes = '{verify,sudo}'", "scopes"),
        ("UPDATE mfa.api_keys SET user_case = 'lower'", "user_case"),
        ("UPDATE mfa.api_keys SET hash = '\\x00'", "hash"),
        ("UPDATE mfa.api_keys SET tenant_id = ''", "tenant_id"),
        ("UPDATE mfa.api_keys SET created_at = -1", "created_at"),
        ("UPDATE mfa.api_keys SET revoked_at = -1", "revoked_at"),
        ("UPDATE mfa.api_keys SET name = ''", "name"),
        ("UPDATE mfa.api_keys SET last_used_at = -1", "last_used_at"),
    ] {
        let (store, url) = store().await;
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
        raw(&url).await.execute(spoil).await.unwrap();
        let error = ApiKeyStore::find(&*store, &id).await.unwrap_err();
        let error = inner(&error);
        assert!(
            matches!(error, PostgresError::Undecodable { column: named, .. } if *named == column),
            "{statement}: {error:?}"
        );
        let list = store.list(None).await.unwrap();
        let unreadable = UnreadableApiKey { id: "abc".into(), what: error.to_string() };
        assert_eq!((list.keys, list.unreadable), (vec![good], vec![unreadable]), "{statement}");
    }
}

/// What makes the rows of a user unreadable: the statement, the column that must be named, whether the
/// account's row can be read, and whether the events can.
const SPOILT: [(&str, &str, bool, bool); 11] = [
    ("UPDATE mfa.events SET sequence = -sequence", "sequence", true, false),
    ("UPDATE mfa.events SET at = -1", "at", true, false),
    ("UPDATE mfa.events SET detail = '[]'", "detail", true, false),
    ("UPDATE mfa.events SET detail = '{\"n\": 1}'", "detail", true, false),
    ("UPDATE mfa.events SET previous = ''", "previous", true, false),
    ("UPDATE mfa.events SET hash = '\\x00'", "hash", true, false),
    ("UPDATE mfa.accounts SET audit_hash = '\\x00'", "audit_hash", false, true),
    ("UPDATE mfa.accounts SET audit_base_sequence = -1", "audit_base_sequence", false, true),
    ("UPDATE mfa.accounts SET audit_base_hash = '\\x00'", "audit_base_hash", false, true),
    ("UPDATE mfa.accounts SET user_id = ''", "user_id", false, false),
    ("UPDATE mfa.accounts SET user_id = E'a\\nb'", "user_id", false, false),
];

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_keeps_no_other_out() {
    for (statement, column, account_reads, events_read) in SPOILT {
        let (store, url) = store().await;
        for _ in 0..2 {
            for user in ["alice", "bob", "carol"] {
                make(&store, &key(user), |_| ()).await;
            }
        }
        let which = if statement.contains("events") { "account_id" } else { "id" };
        let spoil =
            format!("{statement} WHERE {which} = (SELECT id FROM mfa.accounts WHERE user_id = 'bob')");
        raw(&url).await.execute(AssertSqlSafe(spoil)).await.unwrap();

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
async fn a_number_that_postgresql_cannot_hold_is_refused_and_changes_nothing() {
    let (store, _) = store().await;
    let alice = key("alice");
    let too_large = i64::MAX as u64 + 1;
    make(&store, &alice, |draft| draft.put(factor(too_large - 1, 20))).await;
    let read = store.load(&alice).await.unwrap();
    assert_eq!(read.value.factors, [factor(too_large - 1, 20)]);
    let delta = delta(&read.value, &alice, |_| ());
    for version in [too_large - 1, too_large, u64::MAX] {
        let error = store.commit(&alice, Version(version), &delta).await.unwrap_err();
        assert!(matches!(inner(&error), PostgresError::TooLarge { column: "version" }), "{error:?}");
        assert!(!error.is_unreadable());
    }
}

/// Whoever opens the file with the `psql` tool can see what is going on.
#[tokio::test]
async fn an_operator_can_read_the_tables() {
    let (store, url) = store().await;
    make(&store, &key("alice"), |draft| {
        let replaces = Some(FactorId::fresh(now(), &[2; 10]));
        let state = FactorState::Pending { expires_at: now(), replaces };
        draft.put(mfa_domain::Factor { state, ..factor(42, 20) });
        draft.attempts().fail(now());
        draft.record(EventKind::Locked, None, [("until", now().to_string())]);
    })
    .await;
    let mut shell = raw(&url).await;
    for (query, expected) in [
        (
            "SELECT tenant_id || '/' || user_id || ' ' || version || ' ' || recent_failures::text FROM mfa.accounts",
            "acme/alice 1 {1800000000000}",
        ),
        (
            "SELECT concat_ws(' ', user_id, kind, label, state, expires_at, replaces, created_at, last_used_at, key, \
             length(secret), data) FROM mfa.factors",
            r#"alice hotp Token pending 1800000000000 01a3185c-5000-7202-8202-020202020202 1800000000000 k1 28 {"v":1,"counter":42}"#,
        ),
        (
            "SELECT string_agg(sequence || ' ' || kind || ' ' || detail, ',' ORDER BY id) FROM mfa.events",
            r#"1 verified {},2 locked {"until": "2027-01-15T08:00:00Z"}"#,
        ),
    ] {
        let text: String = sqlx::query_scalar(query).fetch_one(&mut shell).await.unwrap();
        assert_eq!(text, expected);
    }
}

/// Sets take the place of longer, shorter and empty ones.
#[tokio::test]
async fn sets_of_backup_codes_take_each_others_place() {
    let (store, _) = store().await;
    let user = key("alice");
    let mut model = Versioned::default();
    let set = |count: u8| {
        let codes = (0..count).map(|n| HashedCode { hash: CodeHash(vec![n, count]), spent_at: None });
        BackupCodesChange::Replace(BackupCodes {
            scheme: format!("{count} codes"),
            codes: codes.collect(),
            issued_at: now(),
        })
    };
    let spend = |place| BackupCodesChange::Spend { place, at: now() };
    for change in [
        set(3),
        spend(2),
        set(10),
        spend(9),
        set(0),
        set(2),
        spend(1),
        set(2),
        BackupCodesChange::Remove,
        set(1),
    ] {
        let delta = delta(&model.value, &user, |draft| draft.backup_codes(change.clone()));
        assert_eq!(store.commit(&user, model.version, &delta).await.unwrap(), Commit::Won);
        model.value.apply(&delta);
        model.version = model.version.next();
        assert_eq!(store.load(&user).await.unwrap(), model, "{change:?}");
    }
}
