//! Servers that are killed, emptied, paused, full or only a copy: never a false answer, and no restart of ours.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mfa_domain::ports::{
    AccountQuery, AccountStore, ChallengeStore, Commit, EventQuery, Throttle, ThrottleKey,
};
use mfa_domain::quota::{Charge, Quota};
use mfa_domain::{Account, AccountKey, ChallengeId, TenantId, Version, Versioned};
use mfa_store_redis::{RedisEphemeral, RedisError, RedisStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::server::{DURABLE, Server, with};
use crate::support::{
    change, charge, charge_to, delta, eventually, factor, in_time, inner, key, make, now, open,
    open_ephemeral,
};

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
            // Once the first have waited in vain, a new connection is tried, and that is not made either.
            let told = matches!(inner(&error), RedisError::Timeout | RedisError::Unreachable { .. });
            assert!(told, "{error:?}");
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

/// A server that is far away answers many tenants' questions at the time of one.
#[tokio::test(flavor = "multi_thread")]
async fn the_keys_in_use_are_asked_of_many_tenants_at_once() {
    let server = Server::durable();
    let near = open(&server.url()).await;
    let tenants = 300;
    for tenant in 0..tenants {
        let tenant = TenantId::new(&format!("tenant-{tenant}")).unwrap();
        make(&near, &AccountKey::new(tenant, key("alice").user), |draft| draft.put(factor(1, 20))).await;
    }
    let delay = Duration::from_millis(50);
    let port = far_away(server.port(), delay).await;
    let far = open(&format!("redis://127.0.0.1:{port}")).await;
    let begin = Instant::now();
    assert_eq!(far.keys_in_use().await.unwrap(), near.keys_in_use().await.unwrap());
    // One after the other each of them takes the whole way.
    assert!(begin.elapsed() < delay * tenants, "{:?}", begin.elapsed());
}

/// Hands on what is asked, and each answer after a while.
async fn far_away(to: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let ((mut asked, mut told), (mut answers, mut asks)) = (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut asked, &mut asks).await });
            tokio::spawn(async move {
                let mut answer = vec![0; 65_536];
                while let Ok(length @ 1..) = answers.read(&mut answer).await {
                    tokio::time::sleep(delay).await;
                    if told.write_all(&answer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
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

/// Once others have filled up the numbers, nothing would show it any more.
#[tokio::test]
async fn what_went_back_stays_refused_and_is_not_changed() {
    let server = Server::durable();
    let (reader, writer) = (open(&server.url()).await, open(&server.url()).await);
    let other = open(&server.url()).await;
    for _ in 0..3 {
        make(&reader, &key("alice"), |_| ()).await;
    }
    writer.load(&key("alice")).await.unwrap();
    server.cli(&["FLUSHALL"]);
    let delta = delta(&Account::default(), &key("bob"), |draft| draft.put(factor(1, 20)));
    let error = writer.commit(&key("bob"), Version(0), &delta).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::WentBack { .. }), "{error:?}");
    let error = reader.load(&key("alice")).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::WentBack { .. }), "{error:?}");
    assert_eq!(other.load(&key("bob")).await.unwrap(), Versioned::default(), "it was made all the same");
    for _ in 0..5 {
        make(&other, &key("alice"), |_| ()).await;
    }
    for store in [&reader, &writer] {
        let error = store.load(&key("alice")).await.unwrap_err();
        assert!(matches!(inner(&error), RedisError::WentBack { .. }), "{error:?}");
        let error = store.commit(&key("bob"), Version(0), &delta).await.unwrap_err();
        assert!(matches!(inner(&error), RedisError::WentBack { .. }), "{error:?}");
    }
    assert_eq!(other.load(&key("bob")).await.unwrap(), Versioned::default());
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
    let error = ephemeral.get(&id).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::ReadOnly), "{error:?}");
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(ephemeral.get(&id).await.unwrap(), None);
}

/// Changes that wait for a replica have connections of their own, and reads have another.
#[tokio::test]
async fn what_a_change_learns_of_a_primary_that_became_a_replica_reads_know_as_well() {
    let [appendonly, appendfsync] = DURABLE;
    let server = Server::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    let replica_of = format!("replicaof 127.0.0.1 {}", server.port());
    let replica = Server::start(&[&replica_of, appendonly, appendfsync]);
    while !server.cli(&["INFO", "replication"]).contains("state=online") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = open(&with(&server.url(), "replicas=1")).await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    let read = store.load(&key("alice")).await.unwrap();
    let delta = delta(&read.value, &key("alice"), |_| ());
    // Of one that cannot be reached, so it keeps what it has.
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    // Nobody has told the connection of the reads so far.
    store.load(&key("alice")).await.unwrap();
    let error = store.commit(&key("alice"), Version(1), &delta).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::ReadOnly), "{error:?}");
    let error = store.load(&key("alice")).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::ReadOnly), "{error:?}");
    drop(replica);
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
