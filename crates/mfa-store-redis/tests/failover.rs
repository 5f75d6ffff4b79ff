//! Primaries that are killed, hang, or were ahead of their replica: what was answered is there, or it is noticed.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use mfa_domain::ports::{AccountStore, ChallengeStore, Outbox};
use mfa_domain::quota::Charge;
use mfa_domain::{Message, Version};
use mfa_store_redis::{RedisEphemeral, RedisError, RedisOptions, RedisStore};
use tokio::time::Instant;

use crate::support::server::{Cluster, DURABLE, Sentinels, Server, with};
use crate::support::{
    challenge, change, charge, end, eventually, factor, in_time, inner, key, make, message, now, open,
    open_ephemeral,
};

#[tokio::test]
async fn a_change_that_too_few_replicas_have_is_an_error() {
    let [appendonly, appendfsync] = DURABLE;
    let primary = Server::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    let replica_of = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::start(&[&replica_of, appendonly, appendfsync]);
    while !replica.cli(&["INFO", "replication"]).contains("master_link_status:up") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (call_timeout, replica_timeout) = (Duration::from_secs(4), Duration::from_secs(2));
    let options = RedisOptions { call_timeout, replica_timeout };
    let url = with(&primary.url(), "replicas=1");
    let store = RedisStore::open_with(&url, &options).await.unwrap();
    make(&store, &key("alice"), |_| ()).await;
    replica.pause();
    let error = in_time(change(&store, &key("alice"), |_| ())).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::Unacknowledged { wanted: 1, got: 0, .. }), "{error:?}");
    // Reads, and changes that are not to last, wait for nobody.
    assert_eq!(store.load(&key("alice")).await.unwrap().version, Version(2));
    replica.resume();
    let _ = eventually(async || change(&store, &key("alice"), |_| ()).await).await;
    assert!(store.load(&key("alice")).await.unwrap().version >= Version(3));
    // Without any replica nothing is even tried.
    replica.kill();
    let error = in_time(change(&store, &key("alice"), |_| ())).await;
    if let Err(error) = error {
        let told = matches!(inner(&error), RedisError::Unacknowledged { .. } | RedisError::Unavailable(_));
        assert!(told, "{error:?}");
    } else {
        panic!("it was answered without a replica: {error:?}");
    }
}

/// What befalls the primary of a tenant, and how it comes back.
async fn survives(strike: impl Fn(&Server), heal: impl Fn(&Server)) {
    let [appendonly, appendfsync] = DURABLE;
    let cluster = Cluster::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    let store = RedisStore::open(&with(&cluster.url(), "replicas=1")).await.unwrap();
    let ephemeral = RedisEphemeral::open(&cluster.url()).await.unwrap();
    let slot = "mfa:{acme}:last";
    let mut won = 0;
    for counter in 1..=20 {
        make(&store, &key("alice"), |draft| draft.put(factor(counter, 20))).await;
        won += 1;
    }
    let primary = cluster.primary_of(slot, 0);
    let witness = cluster.bystander_of(slot);
    strike(&cluster.nodes[primary]);
    // Until the replica has taken its place there are errors, in time.
    let read = eventually(async || store.load(&key("alice")).await).await;
    assert_eq!((read.version, read.value.factors), (Version(won), vec![factor(won, 20)]));
    // The node that answered knew first.
    for wait in 0.. {
        if cluster.primary_of(slot, witness) != primary {
            break;
        }
        assert!(wait < 200, "nobody has taken its place");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // There is no replica left that could have a change.
    for _ in 0..3 {
        assert!(in_time(change(&store, &key("alice"), |_| ())).await.is_err());
    }
    heal(&cluster.nodes[primary]);
    let _ = eventually(async || change(&store, &key("alice"), |_| ()).await).await;
    let read = in_time(store.load(&key("alice"))).await.unwrap();
    // Of those that were errors some may have been made.
    assert!(read.version.0 > won, "{read:?}");
    assert_eq!(read.version.0, read.value.audit_head.sequence);
    let _ = eventually(async || charge(&ephemeral).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_primary_is_killed_goes_on_with_its_replica() {
    survives(Server::kill, Server::start_again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_primary_hangs_goes_on_with_its_replica() {
    survives(Server::pause, Server::resume).await;
}

/// What befalls the primary that sentinels watch, and how it comes back.
async fn is_replaced(strike: impl Fn(&Server), heal: impl Fn(&Server)) {
    let [appendonly, appendfsync] = DURABLE;
    let sentinels = Sentinels::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    let store = RedisStore::open(&with(&sentinels.url(), "replicas=1")).await.unwrap();
    let ephemeral = RedisEphemeral::open(&sentinels.url()).await.unwrap();
    for counter in 1..=20 {
        make(&store, &key("alice"), |draft| draft.put(factor(counter, 20))).await;
    }
    let _ = charge(&ephemeral).await.unwrap();
    strike(&sentinels.servers[0]);
    let read = eventually(async || store.load(&key("alice")).await).await;
    assert_eq!((read.version, read.value.factors), (Version(20), vec![factor(20, 20)]));
    assert_eq!(sentinels.primary(), 1);
    assert_ne!(eventually(async || charge(&ephemeral).await).await, Charge::Admitted);
    heal(&sentinels.servers[0]);
    let _ = eventually(async || change(&store, &key("alice"), |_| ()).await).await;
    assert!(store.load(&key("alice")).await.unwrap().version >= Version(21));
    assert_ne!(eventually(async || charge(&ephemeral).await).await, Charge::Admitted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_killed_is_replaced_by_what_the_sentinels_promote() {
    is_replaced(Server::kill, Server::start_again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_hangs_is_replaced_by_what_the_sentinels_promote() {
    is_replaced(Server::pause, Server::resume).await;
}

/// Redis replicates after the fact. What a replica that takes over has not heard of is gone, and so is the
/// news that a challenge was answered; nobody goes on as if nothing had happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_loses_changes_is_noticed_and_brings_no_challenge_back() {
    let sentinels = Sentinels::start(&DURABLE);
    let store = RedisStore::open(&sentinels.url()).await.unwrap();
    let ephemeral = RedisEphemeral::open(&sentinels.url()).await.unwrap();
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    let challenge = challenge(1, now());
    ephemeral.put(&challenge).await.unwrap();
    let [primary, replica] = &sentinels.servers[..] else { panic!("two servers") };
    let name = format!("mfa:challenge:{}", challenge.id);
    while replica.cli(&["EXISTS", &name]) != "1" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // From now on the replica hears of nothing, and nobody has asked that it should.
    primary.cli(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
    primary.cli(&["CLIENT", "KILL", "TYPE", "replica"]);
    make(&store, &key("alice"), |draft| draft.put(factor(2, 20))).await;
    assert!(end(&ephemeral, &challenge.id).await.unwrap().is_some());
    primary.kill();
    let begin = Instant::now();
    loop {
        let error = in_time(store.load(&key("alice"))).await.expect_err("an old state was read");
        if matches!(inner(&error), RedisError::WentBack { .. }) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(replica.cli(&["EXISTS", &name]), "1", "there is nothing that could come back");
    assert_eq!(eventually(async || ephemeral.get(&challenge.id).await).await, None);
    assert_eq!(end(&ephemeral, &challenge.id).await.unwrap(), None);
}

/// Slots move from one primary to another while everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_is_followed() {
    let cluster = Cluster::start(&DURABLE);
    let store = open(&cluster.url()).await;
    let ephemeral = open_ephemeral(&cluster.url()).await;
    make(&store, &key("alice"), |draft| {
        draft.put(factor(1, 20));
        draft.message(message(1));
    })
    .await;
    let claim = async || store.claim(now(), now().plus(Message::CLAIM), 10).await.unwrap().messages;
    assert_eq!(in_time(claim()).await.len(), 1);
    let _ = charge(&ephemeral).await.unwrap();
    for slot_of in ["mfa:{acme}:last", "mfa:throttle:{acme/alice}:user"] {
        let from = &cluster.nodes[cluster.primary_of(slot_of, 0)];
        let to = &cluster.nodes[cluster.primary_of(slot_of, 0).wrapping_add(1) % 3];
        assert!(to.cli(&["ROLE"]).starts_with("master"));
        let slot = from.cli(&["CLUSTER", "KEYSLOT", slot_of]);
        let (from_id, to_id) = (from.cli(&["CLUSTER", "MYID"]), to.cli(&["CLUSTER", "MYID"]));
        to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let keys = from.cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        let port = to.port().to_string();
        let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        migrate.extend(keys.lines());
        assert_eq!(from.cli(&migrate), "OK");
        // The slot is still the old one's, and its keys are not.
        if slot_of.contains("throttle") {
            assert_ne!(in_time(charge(&ephemeral)).await.unwrap(), Charge::Admitted);
        } else {
            assert_eq!(in_time(store.load(&key("alice"))).await.unwrap().version, Version(1));
            make(&store, &key("alice"), |draft| {
                draft.put(factor(2, 20));
                draft.message(message(2));
            })
            .await;
            assert_eq!(in_time(claim()).await.len(), 1);
        }
        for node in [to, from] {
            node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
        if slot_of.contains("throttle") {
            assert_ne!(in_time(charge(&ephemeral)).await.unwrap(), Charge::Admitted);
        } else {
            let read = in_time(store.load(&key("alice"))).await.unwrap();
            assert_eq!(read.value.factors, [factor(2, 20)]);
            assert_eq!(in_time(claim()).await.len(), 0);
        }
    }
}
