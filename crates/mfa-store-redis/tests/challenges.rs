//! Challenges keep the contract, are forgotten in time, and never come back.

use mfa_domain::ports::{ChallengeStore, Commit};
use mfa_domain::{Progress, Version};
use mfa_store_redis::RedisError;
use mfa_testkit::{Violation, challenge_store};

use crate::support::server::{self, Cluster, Sentinels, Server};
use crate::support::{challenge, end, inner, now, open_ephemeral, raw};

async fn keeps_the_contract(url: &str) -> Result<(), Violation> {
    let one = open_ephemeral(url).await;
    let other = open_ephemeral(url).await;
    challenge_store::basic(one.as_ref()).await?;
    challenge_store::time(one.as_ref()).await?;
    challenge_store::race(one, other).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_server() -> Result<(), Violation> {
    keeps_the_contract(&server::url()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster() -> Result<(), Violation> {
    let cluster = Cluster::start(&[]);
    keeps_the_contract(&cluster.url()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sentinels_and_a_replica_that_must_have_every_change() -> Result<(), Violation> {
    let sentinels = Sentinels::start(&[]);
    keeps_the_contract(&server::with(&sentinels.url(), "replicas=1")).await
}

#[tokio::test]
async fn a_challenge_is_forgotten_an_hour_after_it_expired_whatever_became_of_it() {
    let url = server::url();
    let store = open_ephemeral(&url).await;
    let (mut shell, namespace) = raw(&url).await;
    let (one, hour) = (challenge(1, now()), 3_600_000);
    store.put(&one).await.unwrap();
    let name = format!("{namespace}:challenge:{}", one.id);
    let mut left = async || redis::cmd("PTTL").arg(&name).query_async::<i64>(&mut shell).await.unwrap();
    let first = left().await;
    assert!((hour + 580_000..=hour + 600_000).contains(&first), "{first}");
    let next = Progress { failures: 1, ..one.progress.clone() };
    assert_eq!(store.swap(&one.id, Version(1), &next).await.unwrap(), Commit::Won);
    let second = left().await;
    assert!((hour + 580_000..=first).contains(&second), "a change gives it no more time: {second}");
    assert!(end(store.as_ref(), &one.id).await.unwrap().is_some());
    let third = left().await;
    assert!((hour + 580_000..=second).contains(&third), "what is over is kept as long: {third}");
}

#[tokio::test]
async fn an_id_that_is_there_is_refused() {
    let store = open_ephemeral(&server::url()).await;
    store.put(&challenge(1, now())).await.unwrap();
    let error = store.put(&challenge(1, now())).await.unwrap_err();
    assert!(matches!(inner(&error), RedisError::DuplicateChallenge), "{error:?}");
}

/// A server that is restarted from a snapshot has what was answered since as it was before.
#[tokio::test]
async fn what_was_answered_is_not_open_again_with_an_old_snapshot() {
    let server = Server::start(&[]);
    let store = open_ephemeral(&server.url()).await;
    let (answered, changed) = (challenge(1, now()), challenge(2, now()));
    store.put(&answered).await.unwrap();
    store.put(&changed).await.unwrap();
    assert_eq!(server.cli(&["SAVE"]), "OK");
    assert!(end(store.as_ref(), &answered.id).await.unwrap().is_some());
    let next = Progress { failures: 1, ..changed.progress.clone() };
    assert_eq!(store.swap(&changed.id, Version(1), &next).await.unwrap(), Commit::Won);
    server.kill();
    server.start_again();
    for challenge in [&answered, &changed] {
        let name = format!("mfa:challenge:{}", challenge.id);
        assert_eq!(server.cli(&["EXISTS", &name]), "1", "there is nothing that could come back");
        let found = loop {
            // The first call may find out that the connection is lost.
            if let Ok(found) = store.get(&challenge.id).await {
                break found;
            }
        };
        assert_eq!(found, None);
        assert_eq!(store.swap(&challenge.id, Version(1), &next).await.unwrap(), Commit::Conflict);
        assert_eq!(end(store.as_ref(), &challenge.id).await.unwrap(), None);
    }
    store.put(&challenge(3, now())).await.unwrap();
    assert!(end(store.as_ref(), &challenge(3, now()).id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_field_that_cannot_be_read_is_an_error_that_names_it() {
    let url = server::url();
    let store = open_ephemeral(&url).await;
    let (mut shell, namespace) = raw(&url).await;
    for (number, (field, value)) in (0..).zip([
        ("tenant", "A"),
        ("user", " a"),
        ("factor", "1"),
        ("purpose", "verify_in_2"),
        ("nonce", "two words"),
        ("created_at", "-1"),
        ("expires_at", "soon"),
        ("expires_at", "999999999999999"),
        ("state", "approved_in_2"),
        ("failures", "4294967296"),
        ("version", "x"),
    ]) {
        let one = challenge(number, now());
        store.put(&one).await.unwrap();
        let name = format!("{namespace}:challenge:{}", one.id);
        let set = redis::cmd("HSET").arg(&name).arg(field).arg(value).to_owned();
        set.exec_async(&mut shell).await.unwrap();
        let error = store.get(&one.id).await.expect_err(field);
        let named = matches!(inner(&error), RedisError::Undecodable { field: named, .. } if *named == field);
        assert!(named, "{field}: {error:?}");
    }
}
