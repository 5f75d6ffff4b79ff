//! A Redis that stops and returns: as counter of requests, and as store of accounts.

use std::path::Path;
use std::time::Duration;

use mfa_tests::{Server, ServerOptions, binary, rounds};

use super::load::Load;
use super::{on, replicas, told_by_readyz};
use crate::postgres;
use crate::redis::{Cluster, DURABLE, Server as Redis, with};

/// Two servers with one key ring, accounts in one PostgreSQL, and counters in one Redis.
async fn counting_in(redis: &Redis) -> [Server; 2] {
    let mut options: ServerOptions = on(&postgres::database().await);
    options.environment.push(("MFA_EPHEMERAL".to_owned(), redis.url()));
    let one = Server::with(binary!(), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
    [one, other]
}

async fn throttle_is(server: &Server, health: &str) {
    for _ in 0..600 {
        let ready = server.client.get("/readyz").await.expect(200).json;
        if ready["dependencies"]["throttle"] == health {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the throttle does not become {health}");
}

/// Counters may be lost: codes are still checked, limited by the budgets in the accounts.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_redis_that_counts_requests_codes_are_checked_as_before() {
    let redis = Redis::start(&[]);
    let servers = counting_in(&redis).await;
    let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
    let pause = Duration::from_secs(rounds(2, 10) as u64);
    for _ in 0..rounds(1, 5) {
        redis.restart_empty();
        load.progress(100).await;

        redis.pause();
        let paused = tokio::time::Instant::now();
        for (replica, server) in servers.iter().enumerate() {
            load.progress_at(replica, 20).await;
            throttle_is(server, "failing").await;
        }
        tokio::time::sleep_until(paused + pause).await;
        redis.resume();
        for server in &servers {
            throttle_is(server, "ok").await;
        }

        redis.kill();
        for (replica, server) in servers.iter().enumerate() {
            load.progress_at(replica, 20).await;
            throttle_is(server, "failing").await;
        }
        redis.start_again();
        for server in &servers {
            throttle_is(server, "ok").await;
        }
    }
    load.settle(&servers, "restarted empty, paused and killed").await;
}

/// Breaks and repairs the Redis with the accounts under load, repeatedly.
async fn comes_back(fail: impl Fn(&Redis), mend: impl Fn(&Redis), what: &str) {
    let times = rounds(1, 10);
    let redis = Redis::durable();
    let servers = replicas(&redis.url());
    let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
    for _ in 0..times {
        fail(&redis);
        for (replica, server) in servers.iter().enumerate() {
            load.refusals_at(replica, 5).await;
            told_by_readyz(server, 503).await;
        }
        mend(&redis);
        for (replica, server) in servers.iter().enumerate() {
            load.progress_at(replica, 20).await;
            told_by_readyz(server, 200).await;
        }
    }
    load.settle(&servers, &format!("{what} {times} times")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_in_a_redis_that_is_killed_under_load_are_all_there_afterwards() {
    comes_back(Redis::kill, Redis::start_again, "killed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_in_a_redis_that_stands_still_are_refused_in_time_and_then_go_on() {
    comes_back(Redis::pause, Redis::resume, "paused").await;
}

/// It answers every query and rejects every change.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_in_a_redis_that_is_full_are_not_checked_until_there_is_room() {
    let limit = |redis: &Redis, bytes: &str| {
        assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", bytes]).trim(), "OK");
    };
    comes_back(|redis| limit(redis, "1"), |redis| limit(redis, "0"), "full").await;
}

/// A Redis with an older copy of its files has forgotten which codes were used, so no code is checked against
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_in_a_redis_that_went_back_to_older_files_let_nobody_in() {
    let redis = Redis::durable();
    let servers = replicas(&redis.url());
    let (token, _) = servers[0].client.enrol("alice", "hotp").await;
    let files = redis.folder().join("data/appendonlydir");
    let copy = redis.folder().join("copy");
    let head = || redis.cli(&["HGET", "mfa:{default}:account:alice", "audit_sequence"]);
    let before = head();
    redis.kill();
    copy_files(&files, &copy);
    redis.start_again();
    for counter in 1..4 {
        for server in &servers {
            checked(server, &token.hotp(counter)).await;
        }
    }
    assert_ne!(head(), before);
    redis.kill();
    std::fs::remove_dir_all(&files).unwrap();
    copy_files(&copy, &files);
    redis.start_again();
    // The API key exists, but the used codes are forgotten.
    assert_eq!(head(), before);
    for _ in 0..3 {
        for server in &servers {
            for counter in 0..8 {
                let answer = server.client.verify("alice", &token.hotp(counter)).await;
                assert_eq!(answer.status, 503, "{}", answer.text);
            }
        }
    }
}

/// Without its files a Redis knows neither users nor API keys, which does not prove that a key is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_in_a_redis_that_lost_its_files_are_refused_as_unavailable() {
    let redis = Redis::durable();
    let servers = replicas(&redis.url());
    let (token, _) = servers[0].client.enrol("alice", "hotp").await;
    for server in &servers {
        server.client.verify("alice", "000000").await.expect_problem(401, "invalid-code");
    }
    redis.restart_empty();
    for counter in 0..4 {
        for server in &servers {
            let answer = server.client.verify("alice", &token.hotp(counter)).await;
            assert_eq!(answer.status, 503, "{}", answer.text);
        }
    }
}

/// Waits until a code is checked, with any result.
async fn checked(server: &Server, code: &str) {
    for _ in 0..600 {
        let answer = server.client.verify("alice", code).await;
        if answer.status == 200 || answer.problem() == "invalid-code" {
            return;
        }
        assert_eq!(answer.status, 503, "{}", answer.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no code is checked");
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_primary_under_load_has_everything_that_was_answered() {
    let [log, sync] = DURABLE;
    let cluster = Cluster::start(&[log, sync, "min-replicas-to-write 1"]);
    let url = with(&cluster.url(), "replicas=1");
    let servers = replicas(&url);
    let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
    let key = "mfa:{default}:last";
    for _ in 0..rounds(1, 5) {
        load.progress(50).await;
        let primary = cluster.primary_of(key, cluster.bystander_of(key));
        cluster.nodes[primary].kill();
        for replica in 0..servers.len() {
            load.refusals_at(replica, 5).await;
        }
        // Its replica takes over, but answers nothing until it has a replica of its own.
        cluster.nodes[primary].start_again();
        cluster.wait_until_whole();
        for replica in 0..servers.len() {
            load.progress_at(replica, 20).await;
        }
    }
    load.settle(&servers, "primary lost").await;
}
