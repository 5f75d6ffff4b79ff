//! Fields that this version cannot read, numbers that it cannot write, and changes in every order.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use mfa_domain::account::{CodeHash, HashedCode};
use mfa_domain::ports::{
    AccountQuery, AccountStore, ApiKey, ApiKeyHash, ApiKeyId, ApiKeyStore, Commit, EventQuery, Scopes,
};
use mfa_domain::{
    BackupCodes, BackupCodesChange, EventKind, Factor, FactorId, FactorState, KeyId, Sealed, Timestamp,
    UserCase, Version, Versioned,
};
use mfa_store_redis::RedisError;
use redis::aio::MultiplexedConnection;

use crate::support::{change, delta, factor, give, inner, key, make, message, now, raw, store};

/// A field of the hash of an account, what makes it unreadable, and the name that must be told.
const UNREADABLE: [(&str, &str, &str); 15] = [
    ("version", "-1", "version"),
    ("failures", "4294967296", "failures"),
    ("forgiven", "", "forgiven"),
    ("recent", "1 x", "recent"),
    ("recent", "253402300799001", "recent"),
    ("verified_medium", "-1", "verified_medium"),
    ("audit_sequence", "x", "audit_sequence"),
    ("audit_hash", "short", "audit_hash"),
    ("factors", "alice", "factors"),
    ("factors", r#"[{"id":"00000000-0000-7000-8000-000000000000"}]"#, "factors"),
    ("codes", "{}", "codes"),
    ("codes", r#"{"scheme":"s","issued_at":-1,"hashes":[]}"#, "codes"),
    ("codes", r#"{"scheme":"s","issued_at":1,"hashes":["?"]}"#, "codes"),
    ("spent", "0", "spent"),
    ("spent", "0=-1", "spent"),
];

/// The same for the document of factors: a text to replace, and what it is replaced by.
const UNREADABLE_FACTORS: [(&str, &str, &str); 10] = [
    (r#""id":""#, r#""id":"x"#, "id"),
    (r#""kind":"hotp""#, r#""kind":"totp""#, "data"),
    (r#""label":"Token""#, r#""label":"""#, "label"),
    (r#""state":"active""#, r#""state":"revoked""#, "state"),
    (r#""state":"active""#, r#""state":"pending""#, "expires_at"),
    (r#""created_at":"#, r#""created_at":999"#, "created_at"),
    (r#""counter":1"#, r#""counter":-1"#, "data"),
    (r#""data":{"#, r#""data":["#, "factors"),
    (r#""secret":""#, r#""secret":"?"#, "secret"),
    (r#""secret":"#, r#""secrets":"#, "factors"),
];

#[tokio::test]
async fn what_cannot_be_read_is_an_error_that_names_the_field() {
    let (store, url) = store().await;
    let (mut shell, namespace) = raw(&url).await;
    let codes = vec![HashedCode { hash: CodeHash(vec![1; 32]), spent_at: None }];
    let set = BackupCodes { scheme: "s".to_owned(), codes, issued_at: now() };
    for (n, (field, value, named)) in UNREADABLE.into_iter().chain(UNREADABLE_FACTORS).enumerate() {
        let user = key(&format!("user-{n}"));
        make(&store, &user, |draft| {
            draft.put(factor(1, 20));
            draft.backup_codes(BackupCodesChange::Replace(set.clone()));
        })
        .await;
        let name = format!("{namespace}:{{acme}}:account:{}", user.user.as_str());
        if field.starts_with('"') {
            let document = redis::cmd("HGET").arg(&name).arg("factors").to_owned();
            let document: String = document.query_async(&mut shell).await.unwrap();
            assert!(document.contains(field), "{document}");
            give(&mut shell, &["HSET", &name, "factors", &document.replace(field, value)]).await;
        } else {
            give(&mut shell, &["HSET", &name, field, value]).await;
        }
        let error = store.load(&user).await.expect_err(field);
        let told =
            matches!(inner(&error), RedisError::Undecodable { key: "account", field } if *field == named);
        assert!(told && error.is_unreadable(), "{field} {value}: {error:?}");
    }
}

#[tokio::test]
async fn an_event_or_an_api_key_that_cannot_be_read_is_named() {
    let id = ApiKeyId::new("abc").unwrap();
    for (field, value) in [
        ("tenant", ""),
        ("user_case", "lower"),
        ("scopes", "verify sudo"),
        ("hash", "short"),
        ("created_at", "-1"),
        ("revoked_at", "-1"),
        ("name", ""),
        ("last_used_at", "-1"),
    ] {
        let (store, url) = store().await;
        let (mut shell, namespace) = raw(&url).await;
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
        give(&mut shell, &["HSET", &format!("{namespace}:key:abc"), field, value]).await;
        give(&mut shell, &["ZADD", &format!("{namespace}:keys"), "0", "No id"]).await;
        let error = ApiKeyStore::find(&*store, &id).await.unwrap_err();
        let error = inner(&error);
        let told = matches!(error, RedisError::Undecodable { field: named, .. } if *named == field);
        assert!(told, "{field}: {error:?}");
        let list = store.list(None).await.unwrap();
        let named: Vec<_> = list.unreadable.iter().map(ToString::to_string).collect();
        assert_eq!(list.keys, [good], "{field}");
        assert!(named[0].starts_with("API key \"No id\" cannot be read: "), "{named:?}");
        assert_eq!(named[1..], [format!("API key abc cannot be read: {error}")], "{field}");
    }
    let good = ["user", "alice", "sequence", "1", "at", "1", "kind", "verified", "factor", "", "actor", "a"];
    let rest = ["detail", "{}", "previous", &"0".repeat(32), "hash", &"0".repeat(32)];
    for (field, value) in [
        ("user", " a"),
        ("sequence", "-1"),
        ("at", "-1"),
        ("factor", "x"),
        ("detail", "[]"),
        ("detail", r#"{"n":1}"#),
        ("previous", "short"),
        ("hash", ""),
    ] {
        let (store, url) = store().await;
        let (mut shell, namespace) = raw(&url).await;
        let name = format!("{namespace}:{{acme}}:events");
        let mut entry = vec!["XADD", &name, "1-0"];
        entry.extend(good.iter().chain(&rest));
        let place = entry.iter().position(|part| *part == field).unwrap() + 1;
        entry[place] = value;
        give(&mut shell, &entry).await;
        let query = EventQuery { tenant: key("alice").tenant, user: None, after: None, limit: 10 };
        let healthy = "2-0";
        let mut entry = vec!["XADD", &name, healthy];
        entry.extend(good.iter().chain(&rest));
        give(&mut shell, &entry).await;
        let page = store.events(&query).await.unwrap();
        let ids: Vec<_> = page.events.iter().map(|event| event.position.0).collect();
        assert_eq!(ids, [2], "{field}");
        let [spoilt] = page.unreadable.as_slice() else { panic!("{field}: {page:?}") };
        assert_eq!(spoilt.position.0, 1);
        assert!(spoilt.what.contains(field), "{field}: {spoilt:?}");
    }
}

#[tokio::test]
async fn an_event_of_a_user_that_says_it_is_another_s_is_not_read() {
    let (store, url) = store().await;
    let (mut shell, namespace) = raw(&url).await;
    let alice = key("alice");
    make(&store, &alice, |_| ()).await;
    let of_alice = EventQuery { tenant: alice.tenant, user: Some(alice.user), after: None, limit: 10 };
    let page = store.events(&of_alice).await.unwrap();
    let id = format!("{}-0", page.events[0].position);
    let name = format!("{namespace}:{{acme}}:events");
    give(&mut shell, &["DEL", &name]).await;
    let hash = "0".repeat(32);
    let entry = ["XADD", &name, &id, "user", "bob", "sequence", "1", "at", "1", "kind", "verified"];
    let rest = ["factor", "", "actor", "a", "detail", "{}", "previous", &hash, "hash", &hash];
    give(&mut shell, &[&entry[..], &rest].concat()).await;
    let page = store.events(&of_alice).await.unwrap();
    assert_eq!((page.events.len(), page.unreadable.len()), (0, 1), "{page:?}");
    assert!(page.unreadable[0].what.contains("user"), "{page:?}");
    let of_all = EventQuery { user: None, ..of_alice };
    assert_eq!(store.events(&of_all).await.unwrap().events.len(), 1);
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_named_and_keeps_no_other_out() {
    let account = "{acme}:account:bob";
    for (spoil, what) in [
        (vec!["HSET", account, "audit_hash", "short"], "audit_hash"),
        (vec!["HDEL", account, "audit_sequence"], "audit_sequence"),
        (vec!["SET", account, "no hash"], "audit_sequence"),
        (vec!["ZADD", "{acme}:users", "0", "b\n"], "users"),
        (vec!["ZADD", "tenants", "0", "A b"], "tenants"),
    ] {
        let (store, url) = store().await;
        let (mut shell, namespace) = raw(&url).await;
        for _ in 0..2 {
            for user in ["alice", "bob", "carol"] {
                make(&store, &key(user), |_| ()).await;
            }
        }
        let name = format!("{namespace}:{}", spoil[1]);
        let spoil: Vec<&str> =
            spoil.iter().enumerate().map(|(n, part)| if n == 1 { &*name } else { *part }).collect();
        give(&mut shell, &spoil).await;
        let bob_reads = what == "users" || what == "tenants";
        for second_event_before in [None, Some(mfa_domain::Timestamp::MAX)] {
            for limit in [1, 2, 10] {
                let mut query =
                    AccountQuery { after: None, not_sealed_with: None, second_event_before, limit };
                let (mut users, mut unreadable) = (Vec::new(), Vec::new());
                loop {
                    let page = store.page(&query).await.unwrap();
                    users.extend(
                        page.accounts.into_iter().map(|account| account.key.user.as_str().to_owned()),
                    );
                    unreadable.extend(page.unreadable);
                    query.after = page.next;
                    if query.after.is_none() {
                        break;
                    }
                }
                let expected =
                    ["alice", "bob", "carol"].into_iter().filter(|user| bob_reads || *user != "bob");
                assert_eq!(users, expected.collect::<Vec<_>>(), "{spoil:?}, pages of {limit}");
                assert_eq!(unreadable.len(), 1, "{spoil:?}: {unreadable:?}");
                assert!(unreadable[0].what.contains(what), "{spoil:?}: {unreadable:?}");
            }
        }
    }
}

/// All keys of a namespace, and what they hold.
async fn everything(shell: &mut MultiplexedConnection, namespace: &str) -> Vec<(String, Vec<String>)> {
    let mut keys = redis::cmd("KEYS");
    let mut keys: Vec<String> = keys.arg(format!("{namespace}:*")).query_async(shell).await.unwrap();
    keys.sort();
    let mut all = Vec::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(shell).await.unwrap();
        let read = match kind.as_str() {
            "hash" => redis::cmd("HGETALL").arg(&key).to_owned(),
            "zset" => redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).arg("WITHSCORES").to_owned(),
            "stream" => redis::cmd("XRANGE").arg(&key).arg("-").arg("+").to_owned(),
            "list" => redis::cmd("LRANGE").arg(&key).arg(0).arg(-1).to_owned(),
            _ => redis::cmd("MGET").arg(&key).to_owned(),
        };
        let read: Vec<redis::Value> = read.query_async(shell).await.unwrap();
        let mut values: Vec<_> = read.iter().map(|value| format!("{value:?}")).collect();
        // A hash tells its fields in any order.
        values.sort();
        all.push((key, values));
    }
    all
}

/// What a script has written stays when it fails, so it must fail before.
#[tokio::test]
async fn a_key_of_another_kind_makes_a_commit_fail_before_it_has_changed_anything() {
    let always = ["account:alice", "users", "sealed", "events", "events:alice", "last"];
    // These are looked at once the version is the right one.
    let at_times = ["messages", "due"];
    for (spoilt, first) in always.map(|key| (key, 0)).into_iter().chain(at_times.map(|key| (key, 1))) {
        let (store, url) = store().await;
        let (mut shell, namespace) = raw(&url).await;
        make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
        let name = format!("{namespace}:{{acme}}:{spoilt}");
        give(&mut shell, &["DEL", &name]).await;
        give(&mut shell, &["LPUSH", &name, "x"]).await;
        let before = everything(&mut shell, &namespace).await;
        let empty = Versioned::default();
        let new = delta(&empty.value, &key("alice"), |draft| {
            draft.put(factor(2, 20));
            draft.message(message(1));
        });
        for version in first..=1 {
            let error = store.commit(&key("alice"), Version(version), &new).await.expect_err(spoilt);
            assert!(matches!(inner(&error), RedisError::Undecodable { .. }), "{spoilt}: {error:?}");
        }
        assert_eq!(everything(&mut shell, &namespace).await, before, "{spoilt}: something was changed");
    }
}

#[tokio::test]
async fn what_is_damaged_makes_a_change_fail_before_it_has_changed_anything() {
    let (store, url) = store().await;
    let (mut shell, namespace) = raw(&url).await;
    let alice = key("alice");
    make(&store, &alice, |draft| draft.put(factor(1, 20))).await;
    let first = store.load(&alice).await.unwrap().value;
    for _ in 0..2 {
        make(&store, &alice, |_| ()).await;
    }
    // One of them begins the trail that is left, and one of its numbers is none.
    let base = mfa_domain::AuditHead { sequence: 2, hash: mfa_domain::audit::EventHash([7; 32]) };
    let events = format!("{namespace}:{{acme}}:events:alice");
    give(&mut shell, &["ZREM", &events, "2"]).await;
    give(&mut shell, &["ZADD", &events, "2", "two"]).await;
    let before = everything(&mut shell, &namespace).await;
    let error = store.trim(&alice, first.audit_base, base).await.unwrap_err();
    let told = matches!(inner(&error), RedisError::Undecodable { key: "events", .. });
    assert!(told, "{error:?}");
    assert_eq!(everything(&mut shell, &namespace).await, before);
    // A key is named twice, a name is none, and what names them is gone.
    let removal = delta(&first, &alice, |draft| draft.remove(factor(1, 20).id));
    let account = format!("{namespace}:{{acme}}:account:alice");
    for spoil in [
        &["HSET", &account, "sealed_with", "6b31 6b31"][..],
        &["HSET", &account, "sealed_with", "6b31 k2"],
        &["HDEL", &account, "sealed_with"],
    ] {
        give(&mut shell, spoil).await;
        let before = everything(&mut shell, &namespace).await;
        let error = store.commit(&alice, Version(3), &removal).await.unwrap_err();
        let told = matches!(inner(&error), RedisError::Undecodable { key: "account", field: "sealed_with" });
        assert!(told, "{spoil:?}: {error:?}");
        assert_eq!(everything(&mut shell, &namespace).await, before, "{spoil:?}");
    }
}

/// By these names a script keeps the index of the tenant without a look at the factors.
#[tokio::test]
async fn the_keys_of_secrets_are_named_once_and_in_order_and_the_index_follows() {
    let (store, url) = store().await;
    let (mut shell, namespace) = raw(&url).await;
    let alice = key("alice");
    let sealed = |n: u8, key: Option<&str>| {
        let sealed = key.map(|key| Sealed { key: KeyId::new(key), bytes: vec![7; 20] });
        Factor { id: FactorId::fresh(now(), &[n; 10]), sealed, ..factor(1, 20) }
    };
    for (changes, expected) in [
        (vec![], None),
        (vec![sealed(1, Some("k2")), sealed(2, Some("k1")), sealed(3, Some("k2"))], Some("6b31 6b32")),
        (vec![], Some("6b31 6b32")),
        (vec![sealed(2, Some("k3"))], Some("6b32 6b33")),
        (vec![sealed(1, None)], Some("6b32 6b33")),
        (vec![sealed(2, None), sealed(3, None)], Some("")),
        (vec![sealed(3, Some("k1"))], Some("6b31")),
    ] {
        make(&store, &alice, |draft| changes.into_iter().for_each(|factor| draft.put(factor))).await;
        let name = |of| format!("{namespace}:{{acme}}:{of}");
        let named = redis::cmd("HGET").arg(name("account:alice")).arg("sealed_with").to_owned();
        let named: Option<String> = named.query_async(&mut shell).await.unwrap();
        assert_eq!(named.as_deref(), expected);
        let index = redis::cmd("ZRANGE").arg(name("sealed")).arg(0).arg(-1).to_owned();
        let index: Vec<String> = index.query_async(&mut shell).await.unwrap();
        let keys = expected.unwrap_or_default().split_whitespace();
        assert_eq!(index, keys.map(|key| format!("{key}:alice")).collect::<Vec<_>>());
    }
}

/// Events are never written behind those that are there.
#[tokio::test]
async fn an_id_of_the_last_event_that_has_gone_back_is_an_error() {
    let (store, url) = store().await;
    let (mut shell, namespace) = raw(&url).await;
    for _ in 0..3 {
        make(&store, &key("alice"), |_| ()).await;
    }
    give(&mut shell, &["SET", &format!("{namespace}:{{acme}}:last"), "2"]).await;
    let other = mfa_store_redis::RedisStore::open(&url).await.unwrap();
    let error = change(&other, &key("alice"), |_| ()).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::Undecodable { key: "last", .. }), "{error:?}");
    // Who has seen the third event knows more.
    let error = store.load(&key("alice")).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::WentBack { .. }), "{error:?}");
}

#[tokio::test]
async fn a_version_that_has_no_next_one_is_refused() {
    let (store, _) = store().await;
    let alice = key("alice");
    let delta = delta(&Versioned::default().value, &alice, |draft| draft.put(factor(u64::MAX, 20)));
    let error = store.commit(&alice, Version(u64::MAX), &delta).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::TooLarge { field: "version" }), "{error:?}");
    assert_eq!(store.commit(&alice, Version(0), &delta).await.unwrap(), Commit::Won);
    assert_eq!(store.load(&alice).await.unwrap().value.factors, [factor(u64::MAX, 20)]);
}

/// Whoever looks with `redis-cli` can see what is going on.
#[tokio::test]
async fn an_operator_can_read_the_keys() {
    let (store, url) = store().await;
    make(&store, &key("alice"), |draft| {
        let replaces = Some(FactorId::fresh(now(), &[2; 10]));
        let state = FactorState::Pending { expires_at: now(), replaces };
        draft.put(Factor { state, ..factor(42, 20) });
        draft.attempts().fail(now());
        draft.record(EventKind::Locked, None, [("until", now().to_string())]);
    })
    .await;
    let (mut shell, namespace) = raw(&url).await;
    let id = factor(1, 20).id;
    for (command, name, rest, expected) in [
        ("HGET", "account:alice", "version", "1".to_owned()),
        ("HGET", "account:alice", "recent", "1800000000000".to_owned()),
        ("HGET", "account:alice", "factors", id.to_string()),
        ("HGET", "account:alice", "factors", "\"counter\":42".to_owned()),
        ("HGET", "account:alice", "sealed_with", "6b31".to_owned()),
        ("GET", "last", "", "2".to_owned()),
    ] {
        let mut command = redis::cmd(command);
        command.arg(format!("{namespace}:{{acme}}:{name}"));
        if !rest.is_empty() {
            command.arg(rest);
        }
        let text: String = command.query_async(&mut shell).await.unwrap();
        assert!(text.contains(&expected), "{name} {rest}: {text}");
    }
}

/// What a delta does to one factor is done one after the other.
#[tokio::test]
async fn a_delta_may_change_one_factor_again_and_again() {
    let (store, _) = store().await;
    let user = key("alice");
    let id = |n: u8| FactorId::fresh(now(), &[n; 10]);
    let token = |n: u8, counter: u64| Factor { id: id(n), ..factor(counter, 20) };
    let mut model = Versioned::default();
    let edits: [&[(u8, Option<u64>)]; 9] = [
        &[(1, Some(1)), (2, Some(1)), (3, Some(1))],
        &[(1, Some(2)), (1, Some(3))],
        &[(1, None), (1, Some(4))],
        &[(4, Some(1)), (4, None)],
        &[(4, Some(2)), (2, None), (4, None), (4, Some(3)), (2, Some(9))],
        &[(9, None)],
        &[(3, Some(7)), (3, None), (3, Some(8)), (3, None)],
        &[(5, Some(1)), (1, Some(5)), (6, Some(1)), (5, None), (5, Some(2))],
        &[(1, None), (2, None), (4, None), (5, None), (6, None), (6, Some(2))],
    ];
    for edit in edits {
        let delta = delta(&model.value, &user, |draft| {
            for (n, counter) in edit {
                match counter {
                    Some(counter) => draft.put(token(*n, *counter)),
                    None => draft.remove(id(*n)),
                }
            }
        });
        assert_eq!(store.commit(&user, model.version, &delta).await.unwrap(), Commit::Won);
        model.value.apply(&delta);
        model.version = model.version.next();
        assert_eq!(store.load(&user).await.unwrap(), model, "{edit:?}");
    }
}

/// Sets take the place of longer, shorter and empty ones; a place that is not in the set means nothing.
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
    let spend = |place, second| BackupCodesChange::Spend { place, at: Timestamp::from_unix_seconds(second) };
    for change in [
        spend(0, 1),
        set(3),
        spend(2, 1),
        spend(2, 2),
        spend(7, 1),
        set(10),
        spend(9, 1),
        set(0),
        spend(0, 1),
        set(2),
        spend(1, 1),
        set(2),
        BackupCodesChange::Remove,
        spend(1, 1),
        set(2),
    ] {
        let delta = delta(&model.value, &user, |draft| draft.backup_codes(change.clone()));
        assert_eq!(store.commit(&user, model.version, &delta).await.unwrap(), Commit::Won);
        model.value.apply(&delta);
        model.version = model.version.next();
        assert_eq!(store.load(&user).await.unwrap(), model, "{change:?}");
    }
}

/// A page has a thousand accounts or events at most, and says that there are more.
#[tokio::test(flavor = "multi_thread")]
async fn long_pages_are_cut_and_say_so() {
    let (store, _) = store().await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move {
            for n in 0..64 {
                make(&store, &key(&format!("user-{task}-{n}")), |_| ()).await;
            }
        });
    }
    tasks.join_all().await;
    let query = EventQuery { tenant: key("a").tenant, user: None, after: None, limit: 100_000 };
    let events = store.events(&query).await.unwrap();
    assert_eq!((events.events.len(), events.more), (1000, true));
    let after = events.events.last().map(|event| event.position);
    let events = store.events(&EventQuery { after, ..query }).await.unwrap();
    assert_eq!((events.events.len(), events.more), (24, false));
    let everyone =
        AccountQuery { after: None, not_sealed_with: None, second_event_before: None, limit: u32::MAX };
    let page = store.page(&everyone).await.unwrap();
    assert_eq!((page.accounts.len(), page.next.is_some()), (1000, true));
}
