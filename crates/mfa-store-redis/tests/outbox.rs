//! Messages that are damaged, of many tenants, of one that lost something, and on a server that is full.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use mfa_domain::ports::{Claimed, Commit, Outbox};
use mfa_domain::{AccountKey, Message, MessageId, TenantId, Timestamp, Version};
use mfa_store_redis::{RedisError, RedisStore};

use crate::support::server::Server;
use crate::support::{change, give, inner, key, make, message, now, open, queue, raw, store};

async fn claim(store: &RedisStore, limit: u32) -> Claimed {
    store.claim(now(), now().plus(Message::CLAIM), limit).await.unwrap()
}

fn ids(claimed: &Claimed) -> Vec<MessageId> {
    claimed.messages.iter().map(|message| message.value.id).collect()
}

/// Queues so many messages of a user of that tenant.
async fn queue_of(store: &RedisStore, tenant: &str, count: u8) {
    let account = AccountKey::new(TenantId::new(tenant).unwrap(), key("alice").user);
    let messages = (0..count).map(|number| Message { account: account.clone(), ..message(number) });
    queue(store, &account, messages).await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_named_and_keeps_no_other_out() {
    for (part, value, named) in [
        ("version", Some("x"), "version"),
        ("version", Some(""), "version"),
        ("version", None, "version"),
        ("user", Some(" a"), "user"),
        ("expires_at", Some("-1"), "expires_at"),
        ("expires_at", Some("999999999999999"), "expires_at"),
        ("state", Some("lost"), "state"),
        ("tries", Some("1e3"), "tries"),
        ("tries", None, "tries"),
        ("key", None, "content"),
        ("content", None, "content"),
    ] {
        let (store, url) = store().await;
        let (mut shell, namespace) = raw(&url).await;
        let (spoilt, good) = (message(1), message(2));
        queue(&store, &key("alice"), [spoilt.clone(), good.clone()]).await;
        let (messages, field) = (format!("{namespace}:{{acme}}:messages"), format!("{}:{part}", spoilt.id));
        match value {
            Some(value) => give(&mut shell, &["HSET", &messages, &field, value]).await,
            None => give(&mut shell, &["HDEL", &messages, &field]).await,
        }
        let error = store.message(&key("alice").tenant, spoilt.id).await.expect_err(part);
        let told =
            matches!(inner(&error), RedisError::Undecodable { key: "messages", field } if *field == named);
        assert!(told && error.is_unreadable(), "{part} {value:?}: {error:?}");
        let claimed = claim(&store, 10).await;
        assert_eq!(ids(&claimed), [good.id], "{part} {value:?}");
        assert_eq!(claimed.unreadable.len(), 1, "{part} {value:?}: {claimed:?}");
        let told = &claimed.unreadable[0];
        assert!(told.what.contains(named), "{part} {value:?}: {claimed:?}");
        assert_eq!((told.tenant.as_ref(), told.id), (Some(&key("alice").tenant), Some(spoilt.id)));
        // It is claimed as well, and comes again no sooner than others.
        let claimed = claim(&store, 10).await;
        assert!(
            claimed.messages.is_empty() && claimed.unreadable.is_empty(),
            "{part} {value:?}: {claimed:?}"
        );
    }
}

#[tokio::test]
async fn keys_of_another_kind_keep_only_their_tenant_out() {
    for spoilt in ["messages", "due"] {
        let (store, url) = store().await;
        let (mut shell, namespace) = raw(&url).await;
        for tenant in ["acme", "zebra"] {
            queue_of(&store, tenant, 1).await;
        }
        let name = format!("{namespace}:{{acme}}:{spoilt}");
        give(&mut shell, &["DEL", &name]).await;
        give(&mut shell, &["SET", &name, "x"]).await;
        let claimed = claim(&store, 10).await;
        assert_eq!((claimed.messages.len(), claimed.unreadable.len()), (1, 1), "{spoilt}: {claimed:?}");
        assert_eq!(claimed.messages[0].value.account.tenant.as_str(), "zebra");
    }
}

/// Of whatever another process queues only a claim of all knows.
#[tokio::test]
async fn what_this_process_queued_is_claimed_without_a_look_at_all_tenants() {
    let (store, url) = store().await;
    let other = open(&url).await;
    let recent = async |limit: u32| {
        let claimed = store.claim_recent(now(), now().plus(Message::CLAIM), limit).await.unwrap();
        let tenants = claimed.messages.into_iter().map(|message| message.value.account.tenant);
        tenants.map(|tenant| tenant.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(recent(10).await, [""; 0]);
    queue_of(&other, "theirs", 3).await;
    for (tenant, count) in [("b", 3), ("a", 1), ("c", 1)] {
        queue_of(&store, tenant, count).await;
    }
    // Who has more comes after those who had no turn yet.
    for (limit, expected) in [(2, vec!["b", "b"]), (2, vec!["a", "c"]), (10, vec!["b"]), (10, vec![])] {
        assert_eq!(recent(limit).await, expected);
    }
    assert_eq!(claim(&store, 10).await.messages.len(), 3);
    assert_eq!(recent(10).await, [""; 0]);
}

/// Whichever tenant it is that has very many.
#[tokio::test]
async fn every_tenant_has_its_turn() {
    let tenants = ["a", "b", "c"];
    for many in tenants {
        let (store, _) = store().await;
        for tenant in tenants {
            queue_of(&store, tenant, if tenant == many { 100 } else { 1 }).await;
        }
        let mut served = BTreeSet::new();
        for _ in 0..2 {
            let claimed = claim(&store, 5).await;
            assert_eq!(claimed.messages.len(), 5);
            served.extend(claimed.messages.into_iter().map(|message| message.value.account.tenant));
        }
        assert_eq!(served.iter().map(TenantId::as_str).collect::<Vec<_>>(), tenants, "{many} has many");
    }
}

/// More tenants than are read or asked at once.
#[tokio::test]
async fn messages_of_very_many_tenants_are_each_claimed_once() {
    let (store, _) = store().await;
    let tenants: BTreeSet<_> = (0..250).map(|n| format!("tenant-{n}")).collect();
    for tenant in &tenants {
        queue_of(&store, tenant, 1).await;
    }
    let (mut served, mut calls) = (Vec::new(), 0);
    loop {
        let claimed = claim(&store, 60).await;
        calls += 1;
        if claimed.messages.is_empty() {
            break;
        }
        served.extend(claimed.messages.into_iter().map(|message| message.value.account.tenant));
    }
    assert_eq!((served.len(), calls), (tenants.len(), 6));
    assert_eq!(served.iter().map(|tenant| tenant.as_str().to_owned()).collect::<BTreeSet<_>>(), tenants);
    // From wherever the last one ended, one call comes to all of them.
    let later = now().plus(Message::CLAIM);
    let claimed = store.claim(later, later.plus(Message::CLAIM), 1000).await.unwrap();
    assert_eq!(claimed.messages.len(), tenants.len());
}

#[tokio::test]
async fn what_expired_long_ago_is_forgotten_some_at_a_time_and_leaves_nothing_behind() {
    let (store, url) = store().await;
    let (mut shell, namespace) = raw(&url).await;
    let sent = (0..150).map(|number| {
        let queued = message(number);
        Message { sending: queued.sending.sent(), ..queued }
    });
    queue(&store, &key("alice"), sent).await;
    let [messages, due] = ["messages", "due"].map(|name| format!("{namespace}:{{acme}}:{name}"));
    let expired = message(0).expires_at;
    let hour_later = expired.plus(Message::KEPT);
    let before = Timestamp::from_unix_millis(hour_later.unix_millis() - 1);
    for (now, left) in [(expired, 150), (before, 150), (hour_later, 50), (hour_later, 0)] {
        let claimed = store.claim(now, now.plus(Message::CLAIM), 1).await.unwrap();
        assert!(claimed.messages.is_empty(), "{claimed:?}");
        let count: u64 = redis::cmd("ZCARD").arg(&due).query_async(&mut shell).await.unwrap();
        assert_eq!(count, left, "{now}");
    }
    let keys = redis::cmd("EXISTS").arg(messages).arg(due).to_owned();
    assert_eq!(keys.query_async::<u64>(&mut shell).await.unwrap(), 0);
}

/// Whoever could not say so would send it again.
#[tokio::test]
async fn that_a_message_was_sent_is_kept_though_no_memory_is_left() {
    let server = Server::durable();
    let store = open(&server.url()).await;
    let tenant = key("alice").tenant;
    queue(&store, &key("alice"), [message(1), message(2)]).await;
    let claimed = claim(&store, 1).await.messages.swap_remove(0);
    let other = if claimed.value.id == message(1).id { message(2) } else { message(1) };
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = change(&store, &key("alice"), |draft| draft.message(message(3))).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::OutOfMemory), "{error:?}");
    let error = store.claim(now(), now().plus(Message::CLAIM), 1).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::OutOfMemory), "{error:?}");
    let sent = claimed.value.sending.sent();
    assert_eq!(store.swap(&tenant, claimed.value.id, claimed.version, &sent).await.unwrap(), Commit::Won);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    let read = store.message(&tenant, claimed.value.id).await.unwrap().unwrap();
    assert_eq!((read.value.sending, read.version), (sent, Version(3)));
    assert_eq!(store.message(&tenant, message(3).id).await.unwrap(), None);
    assert_eq!(ids(&claim(&store, 10).await), [other.id]);
}

/// A process that knows of an event that is not there any more knows nothing else of that tenant.
#[tokio::test]
async fn messages_of_a_tenant_that_went_back_are_left_alone_and_those_of_others_are_not() {
    let (store, url) = store().await;
    let (mut shell, namespace) = raw(&url).await;
    for tenant in ["acme", "zebra"] {
        queue_of(&store, tenant, 1).await;
    }
    let (acme, id) = (key("alice").tenant, message(0).id);
    let queued = store.message(&acme, id).await.unwrap().unwrap();
    give(&mut shell, &["SET", &format!("{namespace}:{{acme}}:last"), "0"]).await;
    let claimed = claim(&store, 10).await;
    assert_eq!((claimed.messages.len(), claimed.unreadable.len()), (1, 1), "{claimed:?}");
    assert_eq!(claimed.unreadable[0].tenant.as_ref(), Some(&acme));
    assert!(claimed.unreadable[0].what.contains("has lost changes of tenant acme"), "{claimed:?}");
    // It is named once in two minutes, and no message is queued there any more.
    let claimed = claim(&store, 10).await;
    assert_eq!((claimed.messages.len(), claimed.unreadable.len()), (0, 0), "{claimed:?}");
    let sent = queued.value.sending.sent();
    for error in [
        store.message(&acme, id).await.unwrap_err(),
        store.swap(&acme, id, queued.version, &sent).await.unwrap_err(),
    ] {
        assert!(matches!(inner(&error), RedisError::WentBack { .. }), "{error:?}");
    }
    // Whoever restarts the program has looked at it.
    let other = open(&url).await;
    assert_eq!(other.message(&acme, id).await.unwrap(), Some(queued));
}

#[tokio::test]
async fn a_message_whose_version_cannot_be_read_is_not_replaced() {
    let (store, url) = store().await;
    let (mut shell, namespace) = raw(&url).await;
    make(&store, &key("alice"), |draft| draft.message(message(1))).await;
    let (messages, field) = (format!("{namespace}:{{acme}}:messages"), format!("{}:version", message(1).id));
    give(&mut shell, &["HSET", &messages, &field, "1.5"]).await;
    let error = change(&store, &key("alice"), |draft| draft.message(message(1))).await.unwrap_err();
    let told = matches!(inner(&error), RedisError::Undecodable { key: "messages", field: "version" });
    assert!(told, "{error:?}");
    // A version that nothing has is a conflict, whatever is there.
    let (tenant, one) = (key("alice").tenant, message(1));
    let swapped = store.swap(&tenant, one.id, Version(u64::MAX), &one.sending).await;
    assert_eq!(swapped.unwrap(), Commit::Conflict);
}
