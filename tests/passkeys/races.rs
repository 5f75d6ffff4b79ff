//! A registration and an assertion count once, however many callers post them at the same time.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use mfa_tests::{Answer, Client, SecurityKey, Server, ServerOptions, binary, rounds};
use serde_json::Value;

use super::calls::{
    ORIGIN, answer, begin, begin_without_user, confirm, log_in, offer, options, register, relying_party,
    status,
};
use crate::{postgres, redis};

/// With a long timeout, so that the race is between requests.
fn racing(store: &str) -> ServerOptions {
    relying_party(ServerOptions::new([("MFA_STORE", store), ("MFA_LOG", "info")]).patient())
}

async fn on_two(store: &str, ephemeral: Option<String>) {
    let mut options = racing(store);
    options.environment.extend(ephemeral.map(|url| ("MFA_EPHEMERAL".to_owned(), url)));
    let one = Server::with(binary!(), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
    race_all([&one.client, &other.client]).await;
}

async fn on_one(store: &str) {
    let server = Server::with(binary!(), racing(store));
    race_all([&server.client; 2]).await;
}

async fn race_all(clients: [&Client; 2]) {
    for round in 0..rounds(1, 50) {
        let user = format!("race-{round}");
        let key = one_of_64_registrations(clients, &user).await;
        one_of_64_assertions(clients, &user, &key).await;
        ceremonies_side_by_side(clients, &user, key).await;
    }
    offers_side_by_side(clients).await;
    one_account_of_two(clients, ["first", "second"]).await;
}

/// The answers to 64 calls at once, half of them at each server.
async fn of_64(clients: [&Client; 2], call: impl AsyncFn(&Client) -> Answer) -> Vec<Answer> {
    join_all((0..64).map(|number| call(clients[number % 2]))).await
}

/// The numbers of successes and of these problems. Any other answer is in neither.
fn counted(answers: &[Answer], refusals: &[&str]) -> (usize, usize) {
    let accepted = answers.iter().filter(|answer| answer.status == 200).count();
    (accepted, answers.iter().filter(|answer| refusals.contains(&answer.problem())).count())
}

async fn one_of_64_registrations(clients: [&Client; 2], user: &str) -> SecurityKey {
    let offered = &offer(clients[0], user).await.expect(201).json;
    let mut key = SecurityKey::new(ORIGIN);
    let created = &key.create(options(offered));
    let answers = of_64(clients, async |client| confirm(client, user, offered, created).await).await;
    let counts = counted(&answers, &["already-active", "challenge-over"]);
    assert_eq!(counts, (1, 63), "{user}: {answers:?}");
    let with_codes = answers.iter().filter(|answer| answer.json.get("backup_codes").is_some());
    assert_eq!(with_codes.count(), 1, "{user}");
    assert_eq!(clients[0].count_events(user, "factor_activated").await, 1, "{user}");
    key
}

async fn one_of_64_assertions(clients: [&Client; 2], user: &str, key: &SecurityKey) {
    for begun in [begin(clients[0], user).await, begin_without_user(clients[1]).await] {
        let before = clients[0].count_events(user, "verified").await;
        let (begun, asserted) = (&begun, &key.get(options(&begun)));
        let answers = of_64(clients, async |client| answer(client, begun, asserted).await).await;
        assert_eq!(counted(&answers, &["challenge-over"]), (1, 63), "{user}: {answers:?}");
        let verified = answers.iter().find(|answer| answer.status == 200).unwrap();
        assert_eq!(verified.json["user"], user);
        assert_eq!(clients[0].count_events(user, "verified").await, before + 1, "{user}");
    }
    assert_eq!(clients[0].count_events(user, "verification_failed").await, 0, "{user}");
}

/// Each of five challenges is answered once, though each answer comes twice, and the largest counter stays.
async fn ceremonies_side_by_side(clients: [&Client; 2], user: &str, mut key: SecurityKey) {
    let before = clients[0].count_events(user, "verified").await;
    let begun = join_all((0..5).map(|number| begin(clients[number % 2], user))).await;
    let ids: BTreeSet<_> = begun.iter().map(|begun| options(begun)["challenge"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 5, "{begun:?}");
    let asserted: Vec<Value> = begun
        .iter()
        .zip(1..)
        .map(|(begun, count)| {
            key.sign_count = count;
            key.get(options(begun))
        })
        .collect();
    let both =
        clients.into_iter().flat_map(|client| begun.iter().zip(&asserted).map(move |pair| (client, pair)));
    let answers = join_all(both.map(|(client, (begun, asserted))| answer(client, begun, asserted))).await;
    assert_eq!(counted(&answers, &["challenge-over"]), (5, 5), "{user}: {answers:?}");
    for twice in answers[..5].iter().zip(&answers[5..]) {
        assert_ne!(twice.0.status, twice.1.status, "{user}: {twice:?}");
    }
    assert_eq!(clients[0].count_events(user, "verified").await, before + 5, "{user}");
    assert_eq!(status(clients[1], user).await["factors"][0]["passkey"]["sign_count"], 5, "{user}");
}

/// To authenticators a user is one, though nobody knew the user when the passkeys were offered.
async fn offers_side_by_side(clients: [&Client; 2]) {
    for round in 0..rounds(3, 50) {
        let user = format!("new-{round}");
        let offers = join_all(clients.map(|client| offer(client, &user))).await;
        let offers: Vec<_> = offers.into_iter().map(|offer| offer.expect(201).json).collect();
        let handles = offers.iter().map(|offer| &options(offer)["user"]["id"]).collect::<Vec<_>>();
        assert_eq!(handles[0], handles[1], "{user}");
        // Both can be confirmed until one is.
        let mut key = SecurityKey::new(ORIGIN);
        let created = key.create(options(&offers[1]));
        confirm(clients[0], &user, &offers[1], &created).await.expect(200);
    }
}

/// Of two users who register one credential, one has it.
async fn one_account_of_two(clients: [&Client; 2], users: [&str; 2]) {
    for round in 0..rounds(3, 50) {
        let users = users.map(|user| format!("{user}-{round}"));
        let mut key = SecurityKey::new(ORIGIN);
        let offers = join_all(users.iter().map(|user| offer(clients[0], user))).await;
        let offers: Vec<_> = offers.into_iter().map(|offer| offer.expect(201).json).collect();
        let created: Vec<_> = offers.iter().map(|offered| key.create(options(offered))).collect();
        let confirms = (0..2).map(|n| confirm(clients[n], &users[n], &offers[n], &created[n]));
        let answers = join_all(confirms).await;
        assert_eq!(counted(&answers, &["handle-taken"]), (1, 1), "{answers:?}");
        let owner = answers.iter().find(|answer| answer.status == 200).unwrap();
        // The authenticator keeps the handle of the owner.
        key.user_handle = owner.json["passkeys"]["user_id"].as_str().map(str::to_owned);
        let begun = begin_without_user(clients[1]).await;
        let verified = answer(clients[0], &begun, &key.get(options(&begun))).await.expect(200);
        assert_eq!(verified.json["user"], owner.json["user"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_and_assertions_count_once_on_sqlite() {
    on_one("sqlite:mfa.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_and_assertions_count_once_in_memory() {
    on_one("memory:").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_and_assertions_count_once_on_two_servers_with_postgresql() {
    on_two(&postgres::database().await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_and_assertions_count_once_on_two_servers_with_challenges_in_redis() {
    let redis = redis::Server::start(&[]);
    on_two(&postgres::database().await, Some(redis.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_and_assertions_count_once_on_two_servers_with_everything_in_redis() {
    let redis = redis::Server::durable();
    on_two(&redis.url(), None).await;
}

/// A challenge that a fault has taken with it answers nothing; the user begins another.
#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_whose_challenge_was_lost_counts_for_nobody() {
    let redis = redis::Server::start(&[]);
    let url = redis.url();
    let with_redis = ServerOptions::new([("MFA_EPHEMERAL", url.as_str())]);
    let server = Server::with(binary!(), relying_party(with_redis));
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    let begun = begin(client, "alice").await;
    redis.restart_empty();
    let asserted = key.get(options(&begun));
    // Until the server has a connection again, nothing is decided.
    let mut answered = answer(client, &begun, &asserted).await;
    for _ in 0..50 {
        if answered.problem() != "unavailable" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        answered = answer(client, &begun, &asserted).await;
    }
    answered.expect_problem(404, "not-found");
    assert_eq!(client.count_events("alice", "verified").await, 0);
    log_in(client, "alice", &key).await.expect(200);
}
