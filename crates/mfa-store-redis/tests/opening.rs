//! Servers that are there, not there, somebody else's, too new, only a copy, or forgetful.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::{AccountStore, Commit, Throttle, ThrottleKey};
use mfa_domain::quota::Quota;
use mfa_store_redis::{RedisEphemeral, RedisError, RedisStore, RedisUrl};
use tokio::task::JoinSet;

use crate::support::server::{self, Cluster, DURABLE, Server, with};
use crate::support::{change, factor, inner, key, make, now, open, open_ephemeral, raw, store, told};

async fn refusal(url: &str) -> RedisError {
    RedisStore::open(url).await.expect_err("it was opened")
}

async fn charge(store: &Arc<RedisEphemeral>) {
    let quota = Quota::new(10, Duration::from_secs(10)).unwrap();
    let _ = store.charge(&ThrottleKey::user(&key("alice")), quota, now()).await.unwrap();
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_and_never_told() {
    for url in [
        "mysql://mfa:hunter2@localhost/0",
        "redis://mfa:hunter2@local host/0",
        "redis://mfa:hunter2@localhost:99999/0",
        "redis://mfa:hunter2@localhost/hunter2",
        "redis://mfa:12/hunter2@localhost",
        "redis://mfa:12?hunter2@localhost",
        "redis://mfa:12#hunter2@localhost",
        "redis://mfa:se@hunter2/t@localhost",
        "redis+cluster://mfa:se@hunter2#t@one,two",
        "redis://mfa:hunter2@localhost/0#hunter2",
        "redis://one:hunter2@host,other",
        "redis://:hunter2@",
        "redis://localhost?pasword=hunter2",
        "redis://localhost?loss=hunter2",
        "redis://localhost?replicas=hunter2",
        "redis://localhost?namespace=Hunter2",
        "redis://localhost?namespace=",
        "redis://localhost?ca=/hunter2",
        "redis+sentinel://mfa:hunter2@localhost",
        "redis+sentinel://mfa:hunter2@localhost/main/0/1",
        "redis+cluster://mfa:hunter2@localhost/1",
        "redis+hunter2://localhost",
        "hunter2",
    ] {
        let error = refusal(url).await;
        assert!(matches!(error, RedisError::Url(_)), "{url}: {error:?}");
        assert!(!told(&error).to_lowercase().contains("hunter2"), "{}", told(&error));
    }
}

#[test]
fn a_url_shows_where_it_is_and_not_what_opens_it() {
    for (url, shown) in [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://:hunter2@localhost:7000/3?namespace=a", "redis://localhost:7000/3"),
        ("redis://mfa:hunter%402@10.0.0.1", "redis://10.0.0.1:6379/0"),
        ("rediss://[::1]:7000/", "rediss://[::1]:7000/0"),
        (
            "redis+sentinel://one,[::1],two:1/main/2?sentinel_password=hunter2",
            "redis+sentinel://one:26379,[::1]:26379,two:1/main/2",
        ),
        (
            "rediss+cluster://a:hunter2@one,two:7001/0?replicas=1&loss=accepted",
            "rediss+cluster://one:6379,two:7001",
        ),
        ("valkey://:hunter2@localhost", "redis://localhost:6379/0"),
        ("valkeys://localhost/1", "rediss://localhost:6379/1"),
        ("valkey+sentinel://one,two/main", "redis+sentinel://one:26379,two:26379/main/0"),
        ("valkeys+cluster://one,two", "rediss+cluster://one:6379,two:6379"),
    ] {
        let parsed: RedisUrl = url.parse().unwrap();
        assert_eq!(parsed.to_string(), shown);
        assert_eq!(parsed.expose(), url);
        assert!(!format!("{parsed:?}").contains("hunter"), "{parsed:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_the_password_is_not() {
    for url in [
        "redis://mfa:hunter2@127.0.0.1:1",
        "redis+sentinel://mfa:hunter2@127.0.0.1:1/main",
        "redis+cluster://mfa:hunter2@127.0.0.1:1",
    ] {
        let error = refusal(url).await;
        assert!(matches!(error, RedisError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
        assert!(!told(&error).contains("hunter2"), "{}", told(&error));
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = Server::start(&["requirepass right", DURABLE[0], DURABLE[1]]);
    for who in [":hunter2@", "mfa:hunter2@", ""] {
        let error = refusal(&server.url().replace("//", &format!("//{who}"))).await;
        assert!(matches!(error, RedisError::Refused), "{error:?}");
        assert!(!told(&error).contains("hunter2"), "{}", told(&error));
    }
    RedisStore::open(&server.url().replace("//", "//:right@")).await.unwrap();
}

/// What a server says of a command that it does not know repeats what it was called with.
#[tokio::test]
async fn a_server_that_does_not_know_a_command_does_not_show_the_password() {
    let server = Server::start(&["requirepass hunter2", "rename-command HELLO \"\""]);
    let error = refusal(&server.url().replace("//", "//:hunter2@")).await;
    assert!(!told(&error).contains("hunter2"), "{}", told(&error));
    let server = Server::start(&["rename-command EVALSHA \"\"", "rename-command EVAL \"\""]);
    let error = refusal(&with(&server.url(), "loss=accepted&namespace=secret")).await;
    assert!(told(&error).contains("EVALSHA"), "{}", told(&error));
    assert!(!told(&error).contains("secret"), "{}", told(&error));
}

#[tokio::test]
async fn a_certificate_is_checked() {
    let server = Server::with_tls(&DURABLE);
    let store = open(&server.url()).await;
    make(&store, &key("alice"), |_| ()).await;
    // Nobody vouches for it, and it is not that of this name.
    let (without, _) = server.url().split_once('?').map(|(url, ca)| (url.to_owned(), ca.to_owned())).unwrap();
    for untrusted in [without, server.url().replace("localhost", "127.0.0.1")] {
        let error = refusal(&untrusted).await;
        assert!(matches!(error, RedisError::Tls(_)), "{untrusted}: {error:?}");
    }
    let error = refusal("rediss://localhost?ca=/no/such/file").await;
    assert!(matches!(error, RedisError::Url(_)), "{error:?}");
    // One side speaks TLS, and the other does not.
    let error = refusal(&format!("redis://127.0.0.1:{}", server.port())).await;
    assert!(matches!(error, RedisError::Unreachable { .. }), "{error:?}");
    let plain = Server::durable();
    let error = refusal(&plain.url().replace("redis://", "rediss://")).await;
    assert!(matches!(error, RedisError::Tls(_) | RedisError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_replica_is_refused() {
    let primary = Server::durable();
    let replica_of = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::start(&[&replica_of, DURABLE[0], DURABLE[1]]);
    let error = refusal(&replica.url()).await;
    assert!(matches!(error, RedisError::ReadOnly), "{error:?}");
    let error = RedisEphemeral::open(&replica.url()).await.unwrap_err();
    assert!(matches!(error, RedisError::ReadOnly), "{error:?}");
}

#[tokio::test]
async fn accounts_are_not_entrusted_to_a_server_that_may_lose_them() {
    let server = Server::durable();
    for (setting, value, right, named) in [
        ("appendonly", "no", "yes", "appendonly"),
        ("appendfsync", "everysec", "always", "appendfsync"),
        ("appendfsync", "no", "always", "appendfsync"),
    ] {
        assert_eq!(server.cli(&["CONFIG", "SET", setting, value]), "OK");
        let error = refusal(&server.url()).await;
        assert!(matches!(error, RedisError::NotDurable(_)), "{setting} {value}: {error:?}");
        assert!(error.to_string().contains(named), "{error}");
        let careless = open(&with(&server.url(), "loss=accepted")).await;
        make(&careless, &key("alice"), |_| ()).await;
        charge(&open_ephemeral(&server.url()).await).await;
        assert_eq!(server.cli(&["CONFIG", "SET", setting, right]), "OK");
    }
    let error = refusal(&with(&server.url(), "replicas=2")).await;
    assert!(error.to_string().contains("min-replicas-to-write to 2"), "{error}");
    RedisStore::open(&server.url()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_makes_room_by_dropping_keys_is_refused() {
    let server = Server::durable();
    for policy in ["allkeys-lru", "volatile-ttl"] {
        assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory-policy", policy]), "OK");
        let url = with(&server.url(), "loss=accepted");
        let errors = [refusal(&url).await, RedisEphemeral::open(&url).await.unwrap_err()];
        for error in errors {
            assert!(matches!(&error, RedisError::Evicting { found } if found == policy), "{error:?}");
        }
    }
}

#[tokio::test]
async fn every_node_of_a_cluster_is_looked_at() {
    let cluster = Cluster::start(&DURABLE);
    RedisStore::open(&cluster.url()).await.unwrap();
    for node in [0, 5] {
        assert_eq!(cluster.nodes[node].cli(&["CONFIG", "SET", "appendfsync", "no"]), "OK");
        let error = refusal(&cluster.url()).await;
        assert!(matches!(error, RedisError::NotDurable(_)), "{error:?}");
        assert_eq!(cluster.nodes[node].cli(&["CONFIG", "SET", "appendfsync", "always"]), "OK");
    }
    assert_eq!(cluster.nodes[4].cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]), "OK");
    let error = RedisEphemeral::open(&cluster.url()).await.unwrap_err();
    assert!(matches!(error, RedisError::Evicting { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_major_version_is_refused_and_a_newer_minor_one_is_not() {
    let (store, url) = store().await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    let (mut shell, namespace) = raw(&url).await;
    let mut set = async |key: &str, field: &str, value: &str| {
        let name = format!("{namespace}:{key}");
        redis::cmd("HSET").arg(name).arg(field).arg(value).exec_async(&mut shell).await.unwrap();
    };
    RedisEphemeral::open(&url).await.unwrap();
    for key in ["format", "ephemeral"] {
        set(key, "minor", "9999").await;
    }
    let beside = open(&url).await;
    make(&beside, &key("alice"), |draft| draft.put(factor(2, 20))).await;
    RedisEphemeral::open(&url).await.unwrap();
    for key in ["format", "ephemeral"] {
        set(key, "major", "2").await;
    }
    for error in [refusal(&url).await, RedisEphemeral::open(&url).await.unwrap_err()] {
        assert!(matches!(error, RedisError::TooNew { found: 2, known: 1 }), "{error:?}");
        assert!(error.to_string().contains("a newer version of this program"), "{error}");
    }
    let minor = redis::cmd("HGET").arg(format!("{namespace}:format")).arg("minor").to_owned();
    assert_eq!(minor.query_async::<String>(&mut shell).await.unwrap(), "9999");
}

#[tokio::test]
async fn another_programs_keys_are_refused_and_left_alone() {
    for theirs in [["SET", "format", "1"], ["LPUSH", "format", "1"], ["SADD", "tenants", "x"]] {
        let url = server::url();
        let (mut shell, namespace) = raw(&url).await;
        let [command, key, value] = theirs;
        redis::cmd(command)
            .arg(format!("{namespace}:{key}"))
            .arg(value)
            .exec_async(&mut shell)
            .await
            .unwrap();
        let error = refusal(&url).await;
        assert!(matches!(error, RedisError::Foreign { .. }), "{error:?}");
        let keys = redis::cmd("KEYS").arg(format!("{namespace}:*")).to_owned();
        assert_eq!(keys.query_async::<Vec<String>>(&mut shell).await.unwrap().len(), 1, "{theirs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_begin_one_store_at_the_same_time() {
    for _ in 0..3 {
        let url = server::url();
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let url = url.clone();
            tasks.spawn(async move {
                let store = RedisStore::open(&url).await?;
                change(&store, &key(&format!("user-{n}")), |_| ())
                    .await
                    .map_err(|error| inner(&error).clone())
            });
        }
        for opened in tasks.join_all().await {
            assert_eq!(opened.unwrap(), Commit::Won);
        }
    }
}

/// What the README says that a user must be allowed, in a cluster.
#[tokio::test]
async fn a_user_with_few_rights_is_enough_in_a_cluster() {
    let [appendonly, appendfsync] = DURABLE;
    let cluster = Cluster::start(&[appendonly, appendfsync, "min-replicas-to-write 1"]);
    let rights =
        "~mfa:* -@all +@read +@write +@scripting +@connection +info +time +config|get +cluster|slots";
    let mut allow = vec!["ACL", "SETUSER", "app", "on", ">secret"];
    allow.extend(rights.split(' '));
    for node in &cluster.nodes {
        assert_eq!(node.cli(&allow), "OK");
    }
    let url = with(&cluster.url().replace("//", "//app:secret@"), "replicas=1");
    let store = open(&url).await;
    make(&store, &key("alice"), |draft| draft.put(factor(1, 20))).await;
    assert_eq!(store.load(&key("alice")).await.unwrap().value.factors, [factor(1, 20)]);
    store.turn().await.unwrap().end().await.unwrap();
    charge(&open_ephemeral(&url).await).await;
}

/// A turn that was over before it was ended is no reason to end another's.
#[tokio::test]
async fn one_process_at_a_time_has_the_turn() {
    let server = Server::durable();
    let (one, other) = (open(&server.url()).await, open(&server.url()).await);
    let first = one.turn().await.unwrap();
    let left: u64 = server.cli(&["PTTL", "mfa:turn:{turn}"]).parse().unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
    let waiting = tokio::time::timeout(Duration::from_millis(300), other.turn()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    // It takes too long, and is over.
    assert_eq!(server.cli(&["DEL", "mfa:turn:{turn}"]), "1");
    let second = other.turn().await.unwrap();
    first.end().await.unwrap();
    assert_eq!(server.cli(&["EXISTS", "mfa:turn:{turn}"]), "1", "the first has ended the second's");
    second.end().await.unwrap();
    let _third = one.turn().await.unwrap();
}

/// What the README says that a user must be allowed.
#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let server = Server::durable();
    let rights = "~mfa:* -@all +@read +@write +@scripting +@connection +info +time +config|get";
    let mut allow = vec!["ACL", "SETUSER", "app", "on", ">secret"];
    allow.extend(rights.split(' '));
    assert_eq!(server.cli(&allow), "OK");
    let url = server.url().replace("//", "//app:secret@");
    let store = open(&url).await;
    mfa_testkit::account_store::basic(store.as_ref()).await.unwrap();
    mfa_testkit::api_key_store::basic(store.as_ref()).await.unwrap();
    store.turn().await.unwrap().end().await.unwrap();
    let ephemeral = open_ephemeral(&url).await;
    mfa_testkit::throttle::basic(ephemeral.as_ref()).await.unwrap();
    mfa_testkit::challenge_store::basic(ephemeral.as_ref()).await.unwrap();
    // Keys of others are out of its reach.
    let error = refusal(&with(&url, "namespace=other")).await;
    assert!(matches!(error, RedisError::Privilege(_)), "{error:?}");
    // What cannot be looked at is not taken for right.
    server.cli(&["ACL", "SETUSER", "app", "-config"]);
    let error = refusal(&url).await;
    assert!(matches!(error, RedisError::Privilege(_)), "{error:?}");
    assert!(error.to_string().contains("CONFIG GET"), "{error}");
    assert!(store.load(&key("alice")).await.is_ok());
}
