//! Servers that are killed, emptied, paused, full or only a copy: never a false answer, and no restart of ours.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mfa_domain::ports::{
    AccountQuery, AccountStore, ChallengeStore, Commit, EventQuery, StoreError, Throttle, ThrottleKey,
};
use mfa_domain::quota::{Charge, Quota};
use mfa_domain::{
    Account, Challenge, ChallengeData, ChallengeId, ChallengeKind, Progress, Version, Versioned,
};
use mfa_store_redis::{RedisEphemeral, RedisError, RedisStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

mod support;
use support::server::{Cluster, DURABLE, Sentinels, Server, with};
use support::{change, delta, factor, inner, key, make, now, open, open_ephemeral};

/// No call takes longer, whatever happens; it may end in an error.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let answer = call.await;
    // A second, and what a busy machine takes beside.
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    answer
}

/// What a call answers once it works again.
async fn eventually<T>(mut call: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let begin = Instant::now();
    loop {
        match in_time(call()).await {
            Ok(answer) => return answer,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(30), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn charge(store: &RedisEphemeral) -> Result<Charge, StoreError> {
    charge_to(store, "alice").await
}

async fn charge_to(store: &RedisEphemeral, user: &str) -> Result<Charge, StoreError> {
    let quota = Quota::new(1, Duration::from_mins(1)).unwrap();
    store.charge(&ThrottleKey::user(&key(user)), quota, now()).await
}

#[tokio::test]
async fn a_server_that_was_killed_is_an_error_in_time_and_one_that_is_back_is_used_again() {
    let server = Server::durable();
    let store = open(&server.url()).await;
    let ephemeral = open_ephemeral(&server.url()).await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    assert_eq!(charge(&ephemeral).await.unwrap(), Charge::Admitted);
    server.kill();
    for _ in 0..3 {
        let error = in_time(store.load(&key("alice"))).await.unwrap_err();
        let lost = matches!(inner(&error), RedisError::ConnectionLost(_) | RedisError::Unreachable { .. });
        assert!(lost, "{error:?}");
        assert!(in_time(charge(&ephemeral)).await.is_err());
    }
    server.start_again();
    let read = eventually(async || store.load(&key("alice")).await).await;
    assert_eq!(read.value.factors, [factor(1, 20)]);
    make(&store, &key("alice"), |draft| draft.put(factor(2, 20))).await;
    assert_ne!(eventually(async || charge(&ephemeral).await).await, Charge::Admitted);
}

/// A connection that was lost while nobody used it is known to be, so a restart at night fails nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_calls_is_not_noticed() {
    let server = Server::durable();
    let store = open(&server.url()).await;
    let ephemeral = open_ephemeral(&server.url()).await;
    for round in 1..=3 {
        make(&store, &key("alice"), |draft| draft.put(factor(round, 20))).await;
        let _ = charge(&ephemeral).await.unwrap();
        server.kill();
        server.start_again();
    }
    assert_eq!(store.load(&key("alice")).await.unwrap().version, Version(3));
}

#[tokio::test]
async fn a_server_that_is_paused_is_an_error_in_time_and_is_used_again_afterwards() {
    let server = Server::durable();
    let store = RedisStore::open(&server.url()).await.unwrap();
    let ephemeral = RedisEphemeral::open(&server.url()).await.unwrap();
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    server.pause();
    let delta = delta(&Account::default(), &key("bob"), |_| ());
    for _ in 0..2 {
        let (alice, bob) = (key("alice"), key("bob"));
        let (loaded, committed, charged) = in_time(async {
            tokio::join!(store.load(&alice), store.commit(&bob, Version(0), &delta), charge(&ephemeral))
        })
        .await;
        for error in [loaded.unwrap_err(), committed.unwrap_err(), charged.unwrap_err()] {
            assert!(matches!(inner(&error), RedisError::Timeout), "{error:?}");
        }
    }
    // One that is opened meanwhile is refused in time as well.
    let begin = Instant::now();
    assert!(RedisStore::open(&server.url()).await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    server.resume();
    let read = eventually(async || store.load(&key("alice")).await).await;
    assert_eq!(read.value.factors, [factor(1, 20)]);
    // Of the commits whose end nobody knew at most one was made.
    let bob = eventually(async || store.load(&key("bob")).await).await;
    assert!(bob.version <= Version(1), "{bob:?}");
    make(&store, &key("bob"), |_| ()).await;
    let _ = eventually(async || charge(&ephemeral).await).await;
}

/// Whoever tried again by itself would be told a conflict that it has made.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_an_error_and_no_conflict() {
    let server = Server::durable();
    let cut = Arc::new(AtomicBool::new(false));
    let port = proxy(server.port(), Arc::clone(&cut)).await;
    let store = open(&format!("redis://127.0.0.1:{port}")).await;
    let ephemeral = open_ephemeral(&format!("redis://127.0.0.1:{port}")).await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    assert_eq!(charge_to(&ephemeral, "bob").await.unwrap(), Charge::Admitted);
    let alice = store.load(&key("alice")).await.unwrap();
    let delta = delta(&alice.value, &key("alice"), |draft| draft.put(factor(2, 20)));
    cut.store(true, Ordering::SeqCst);
    let error = store.commit(&key("alice"), Version(1), &delta).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::ConnectionLost(_)), "{error:?}");
    cut.store(true, Ordering::SeqCst);
    let error = charge(&ephemeral).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::ConnectionLost(_)), "{error:?}");
    // Both were done. A read that is cut off is simply asked again.
    store.load(&key("alice")).await.unwrap();
    cut.store(true, Ordering::SeqCst);
    let read = store.load(&key("alice")).await.unwrap();
    assert!(!cut.load(Ordering::SeqCst), "nothing was cut");
    assert_eq!((read.version, read.value.factors), (Version(2), vec![factor(2, 20)]));
    assert_ne!(charge(&ephemeral).await.unwrap(), Charge::Admitted);
}

/// Hands on what is asked, and, once it is told to cut, no answer any more but the end of the connection;
/// the next connection is whole again.
async fn proxy(to: u16, cut: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let cut = Arc::clone(&cut);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let (mut question, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
                loop {
                    tokio::select! {
                        Ok(length @ 1..) = client.read(&mut question) => {
                            server.write_all(&question[..length]).await.unwrap();
                        }
                        Ok(length @ 1..) = server.read(&mut answer) => {
                            if cut.swap(false, Ordering::SeqCst) {
                                return;
                            }
                            client.write_all(&answer[..length]).await.unwrap();
                        }
                        else => return,
                    }
                }
            });
        }
    });
    port
}

/// Whoever goes on with an empty store would take every user for one who has no factor.
#[tokio::test]
async fn a_server_that_was_emptied_is_not_taken_for_one_where_nobody_has_a_factor() {
    let server = Server::durable();
    let store = open(&server.url()).await;
    let reader = open(&server.url()).await;
    let ephemeral = open_ephemeral(&server.url()).await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    reader.load(&key("alice")).await.unwrap();
    assert_eq!(charge(&ephemeral).await.unwrap(), Charge::Admitted);
    server.restart_empty();
    for store in [&store, &reader] {
        for _ in 0..50 {
            let error = store.load(&key("alice")).await.unwrap_err();
            match inner(&error) {
                RedisError::ConnectionLost(_) | RedisError::Unreachable { .. } => continue,
                RedisError::WentBack { tenant } => assert_eq!(tenant, "acme"),
                other => panic!("{other:?}"),
            }
            break;
        }
        let error = change(store, &key("bob"), |_| ()).await.unwrap_err();
        assert!(matches!(inner(&error), RedisError::WentBack { .. }), "{error:?}");
        let query = EventQuery { tenant: key("bob").tenant, user: None, after: None, limit: 10 };
        let error = store.events(&query).await.unwrap_err();
        assert!(matches!(inner(&error), RedisError::WentBack { .. }), "{error:?}");
    }
    // A throttle may forget.
    assert_eq!(eventually(async || charge(&ephemeral).await).await, Charge::Admitted);
    // Whoever restarts the program has looked at it.
    let store = open(&server.url()).await;
    make(&store, &key("alice"), |_| ()).await;
}

#[tokio::test]
async fn where_losses_are_accepted_an_emptied_server_is_filled_anew() {
    let server = Server::start(&[]);
    let store = open(&with(&server.url(), "loss=accepted")).await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    server.restart_empty();
    let read = eventually(async || store.load(&key("alice")).await).await;
    assert_eq!(read, Versioned::default());
    make(&store, &key("alice"), |_| ()).await;
    let everyone = AccountQuery { after: None, not_sealed_with: None, second_event_before: None, limit: 10 };
    let found = store.page(&everyone).await.unwrap().accounts;
    assert!(found.iter().any(|account| account.key == key("alice")), "the index has lost a tenant");
}

#[tokio::test]
async fn scripts_that_a_server_has_forgotten_are_sent_again() {
    let server = Server::durable();
    let store = open(&server.url()).await;
    let ephemeral = open_ephemeral(&server.url()).await;
    for version in 0..3 {
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
        assert_eq!(store.load(&key("alice")).await.unwrap().version, Version(version));
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
        make(&store, &key("alice"), |_| ()).await;
        let _ = charge(&ephemeral).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_without_memory_changes_nothing() {
    let server = Server::durable();
    let store = open(&server.url()).await;
    let ephemeral = open_ephemeral(&server.url()).await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    let before = store.load(&key("alice")).await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let alice = key("alice");
    for edit in 0..3 {
        let changed = change(&store, &alice, |draft| match edit {
            0 => draft.put(factor(2, 20)),
            1 => draft.remove(factor(1, 20).id),
            _ => draft.attempts().fail(now()),
        });
        let error = changed.await.unwrap_err();
        assert!(matches!(inner(&error), RedisError::OutOfMemory), "{error:?}");
        assert_eq!(store.load(&key("alice")).await.unwrap(), before);
    }
    let error = charge(&ephemeral).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::OutOfMemory), "{error:?}");
    let query = EventQuery { tenant: key("alice").tenant, user: None, after: None, limit: 10 };
    assert_eq!(store.events(&query).await.unwrap().events.len(), 1);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    make(&store, &key("alice"), |draft| draft.put(factor(2, 20))).await;
}

/// Who was told once that it cannot be written connects anew, and then it is not read either.
#[tokio::test]
async fn a_primary_that_became_a_replica_is_neither_read_nor_written() {
    let (server, other) = (Server::durable(), Server::durable());
    let ephemeral = open_ephemeral(&server.url()).await;
    server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let (id, quota) = (ChallengeId::from_entropy([1; 16]), Quota::new(1, Duration::from_mins(1)).unwrap());
    let charged = ephemeral.charge(&ThrottleKey::user(&key("alice")), quota, now()).await;
    let error = charged.unwrap_err();
    assert!(matches!(inner(&error), RedisError::ReadOnly), "{error:?}");
    let error = ephemeral.get(&id, now()).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::ReadOnly), "{error:?}");
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(ephemeral.get(&id, now()).await.unwrap(), None);
}

/// Nothing that was answered is lost with a process, and nothing is answered that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_won_is_there_after_the_server_was_killed_under_load() {
    let server = Server::durable();
    let store = open(&server.url()).await;
    let mut won = [0_u64; 16];
    for _ in 0..10 {
        let made = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for (user, won) in won.iter().copied().enumerate() {
            let (store, made) = (Arc::clone(&store), Arc::clone(&made));
            tasks.spawn(async move {
                let (key, mut won) = (key(&format!("user-{user}")), won);
                // Until the first error: then it is not known whether it was made.
                while change(&store, &key, |_| ()).await.is_ok_and(|commit| commit == Commit::Won) {
                    won += 1;
                    made.fetch_add(1, Ordering::SeqCst);
                }
                (user, won)
            });
        }
        while made.load(Ordering::SeqCst) < 200 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.kill();
        let results = tasks.join_all().await;
        server.start_again();
        for (user, count) in results {
            let read = eventually(async || store.load(&key(&format!("user-{user}"))).await).await;
            assert!((count..=count + 1).contains(&read.version.0), "{count} were won, and {read:?} is there");
            assert_eq!(read.version.0, read.value.audit_head.sequence);
            won[user] = read.version.0;
        }
    }
}

#[tokio::test]
async fn a_change_that_too_few_replicas_have_is_an_error() {
    let [appendonly, appendfsync] = DURABLE;
    let primary = Server::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    let replica_of = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::start(&[&replica_of, appendonly, appendfsync]);
    while !primary.cli(&["INFO", "replication"]).contains("state=online") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = RedisStore::open(&with(&primary.url(), "replicas=1")).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_killed_is_replaced_by_what_the_sentinels_promote() {
    let [appendonly, appendfsync] = DURABLE;
    let sentinels = Sentinels::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    let store = RedisStore::open(&with(&sentinels.url(), "replicas=1")).await.unwrap();
    let ephemeral = RedisEphemeral::open(&sentinels.url()).await.unwrap();
    for counter in 1..=20 {
        make(&store, &key("alice"), |draft| draft.put(factor(counter, 20))).await;
    }
    let _ = charge(&ephemeral).await.unwrap();
    sentinels.servers[0].kill();
    let read = eventually(async || store.load(&key("alice")).await).await;
    assert_eq!((read.version, read.value.factors), (Version(20), vec![factor(20, 20)]));
    assert_eq!(sentinels.primary(), 1);
    sentinels.servers[0].start_again();
    let _ = eventually(async || change(&store, &key("alice"), |_| ()).await).await;
    assert!(store.load(&key("alice")).await.unwrap().version >= Version(21));
    assert_ne!(eventually(async || charge(&ephemeral).await).await, Charge::Admitted);
}

/// Redis replicates after the fact. What a replica that takes over has not heard of is gone, and so is the
/// news that a challenge was taken; nobody goes on as if nothing had happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_loses_changes_is_noticed_and_brings_no_challenge_back() {
    let sentinels = Sentinels::start(&DURABLE);
    let store = RedisStore::open(&sentinels.url()).await.unwrap();
    let ephemeral = RedisEphemeral::open(&sentinels.url()).await.unwrap();
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    let challenge = Challenge {
        id: ChallengeId::from_entropy([1; 16]),
        account: key("alice"),
        factor: None,
        kind: ChallengeKind::EmailCode,
        created_at: now(),
        expires_at: now().plus(Duration::from_mins(5)),
        progress: Progress::new(ChallengeData::default()),
    };
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
    assert!(ephemeral.take(&challenge.id, now()).await.unwrap().is_some());
    primary.kill();
    let begin = Instant::now();
    loop {
        let error = in_time(store.load(&key("alice"))).await.expect_err("an old state was read");
        if matches!(inner(&error), RedisError::WentBack { .. }) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(replica.cli(&["EXISTS", &name]), "1", "there is nothing that could come back");
    assert_eq!(eventually(async || ephemeral.get(&challenge.id, now()).await).await, None);
    assert_eq!(ephemeral.take(&challenge.id, now()).await.unwrap(), None);
}

/// Slots move from one primary to another while everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_is_followed() {
    let cluster = Cluster::start(&DURABLE);
    let store = open(&cluster.url()).await;
    let ephemeral = open_ephemeral(&cluster.url()).await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
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
            make(&store, &key("alice"), |draft| draft.put(factor(2, 20))).await;
        }
        for node in [to, from] {
            node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
        if slot_of.contains("throttle") {
            assert_ne!(in_time(charge(&ephemeral)).await.unwrap(), Charge::Admitted);
        } else {
            let read = in_time(store.load(&key("alice"))).await.unwrap();
            assert_eq!(read.value.factors, [factor(2, 20)]);
        }
    }
}
