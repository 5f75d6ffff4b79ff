//! Codes by e-mail, while something fails between the commit that promises a code and its mail.

use std::time::Duration;

use mfa_tests::rounds;
use serde_json::{Value, json};

use self::codes::{Codes, users};
use super::standby::Pair;
use crate::postgres;
use crate::postgres::Server as Postgres;
use crate::redis::Server as Redis;

mod codes;

/// Takes one second for each mail and defers the first ones, so that a fault meets waiting codes and tries
/// under way.
fn slow() -> Value {
    json!({ "slow": 1, "greylist": users() / 4 })
}

/// Every code is sent after an outage of the store, while the challenges are kept.
async fn keeps(store: &str, challenges: &Redis, fail: impl Fn(), mend: impl Fn(), survived: &str) {
    let mut codes = Codes::open(store, Some(challenges), users()).await;
    codes.through(slow());
    codes.outage(fail, mend).await;
    codes.ask(users() / 3);
    codes.settle(survived).await;
}

/// The challenges are lost with the store, so unsent codes are useless: they are reported as failed.
async fn reports(store: &str, fail: impl Fn(), mend: impl Fn(), survived: &str) {
    let mut codes = Codes::open(store, None, users()).await;
    codes.through(json!({ "rcpt": "451 4.3.2 not now" }));
    codes.outage(fail, mend).await;
    codes.lose_challenges();
    codes.through(json!({}));
    codes.ask(users() / 3);
    codes.settle(survived).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_outlive_a_crash_of_postgresql_that_leaves_their_challenges_alone() {
    for _ in 0..rounds(1, 3) {
        let (database, redis) = (Postgres::start(&[]), Redis::start(&[]));
        let url = database.database().await;
        keeps(&url, &redis, || database.crash(), || database.start_again(), "PostgreSQL crashed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_whose_challenges_a_crash_of_postgresql_takes_are_reported_as_failed() {
    for _ in 0..rounds(1, 3) {
        let database = Postgres::start(&[]);
        let url = database.database().await;
        reports(&url, || database.crash(), || database.start_again(), "PostgreSQL and challenges lost").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_outlive_a_failover_that_leaves_their_challenges_alone() {
    for _ in 0..rounds(1, 3) {
        let (pair, redis) = (Pair::synchronous().await, Redis::start(&[]));
        keeps(&pair.url(), &redis, || pair.lose_primary(), || pair.promote(), "failover").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_whose_challenges_a_failover_takes_are_reported_as_failed() {
    for _ in 0..rounds(1, 3) {
        let pair = Pair::synchronous().await;
        reports(&pair.url(), || pair.lose_primary(), || pair.promote(), "failover, challenges lost").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_whose_challenges_a_killed_redis_takes_are_reported_as_failed() {
    for _ in 0..rounds(1, 3) {
        let redis = Redis::durable();
        reports(&redis.url(), || redis.kill(), || redis.start_again(), "Redis killed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_outlive_replicas_that_are_killed_again_and_again() {
    let kills = rounds(3, 40);
    let mut codes = Codes::open(&postgres::database().await, None, 8 * kills).await;
    codes.through(slow());
    for kill in 0..kills {
        codes.ask(8);
        // A different moment each time.
        let moment = 1000 + kill as u64 * 37 % 60 * 1000 + kill as u64 * 131 % 1000;
        tokio::time::sleep(Duration::from_micros(moment)).await;
        codes.servers[kill % 2].kill();
        codes.hear(usize::MAX).await;
        codes.servers[kill % 2].restart();
    }
    codes.settle(&format!("{kills} kills")).await;
}
