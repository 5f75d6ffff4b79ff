//! Concurrent requests at two servers on one database: the limits of one server apply to both together.
//!
//! If `MFA_TEST_PREVIOUS` names a program, it is one of the two servers: the previous version must work
//! beside this one.

use std::path::PathBuf;

use futures_util::future::join_all;
use mfa_tests::{Answer, Client, Server, binary, rounds};

use super::on;
use crate::postgres;

/// Two servers on one store with a long timeout, so that the race is between requests.
fn replicas(store: &str) -> [Server; 2] {
    let options = on(store).and([("MFA_REQUEST_TIMEOUT", "30s")]);
    let previous = std::env::var_os("MFA_TEST_PREVIOUS").map(PathBuf::from);
    // The previous version creates the database that this version opens.
    let one = Server::with(previous.as_deref().unwrap_or(binary!()), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
    [one, other]
}

/// Posts codes at once, alternating between the servers; returns the numbers of answers of each kind.
async fn post(clients: [&Client; 2], user: &str, codes: &[String]) -> (usize, usize, usize) {
    let answers = join_all(codes.iter().enumerate().map(|(n, code)| clients[n % 2].verify(user, code))).await;
    let problems = |name| answers.iter().filter(|answer| answer.problem() == name).count();
    let verified = answers.iter().filter(|answer| answer.status == 200).count();
    let counted = (verified, problems("invalid-code"), problems("locked"));
    let known =
        |answer: &&Answer| answer.status == 200 || matches!(answer.problem(), "invalid-code" | "locked");
    let others: Vec<_> = answers.iter().filter(|answer| !known(answer)).collect();
    assert!(others.is_empty(), "{counted:?}, and for {user} unexpected {others:?}");
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_parallel_posts_to_two_servers_counts() {
    one_of_64(&postgres::database().await, rounds(2, 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_parallel_posts_to_two_servers_on_redis_counts() {
    let redis = crate::redis::Server::durable();
    one_of_64(&redis.url(), rounds(2, 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_of_200_parallel_guesses_to_two_servers_are_evaluated() {
    five_of_200(&postgres::database().await, rounds(2, 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_of_200_parallel_guesses_to_two_servers_on_redis_are_evaluated() {
    let redis = crate::redis::Server::durable();
    five_of_200(&redis.url(), rounds(2, 200)).await;
}

async fn one_of_64(store: &str, rounds: usize) {
    let [one, other] = replicas(store);
    let clients = [&one.client, &other.client];
    for round in 0..rounds {
        for kind in ["totp", "hotp"] {
            let user = format!("race-{kind}-{round}");
            let (device, backup_codes) = clients[round % 2].enrol(&user, kind).await;
            let code = if kind == "totp" { device.totp(0) } else { device.hotp(1) };
            let (verified, invalid, locked) = post(clients, &user, &vec![code; 64]).await;
            assert_eq!((verified, invalid, locked), (1, 63, 0), "{user}");
            assert_eq!(other.client.count_events(&user, "verified").await, 1, "{user}");
            assert_eq!(one.client.count_events(&user, "verification_failed").await, 0, "{user}");
            let backup_code = post(clients, &user, &vec![backup_codes[0].clone(); 64]).await;
            assert_eq!(backup_code, (1, 63, 0), "a backup code of {user}");
        }
    }
}

async fn five_of_200(store: &str, rounds: usize) {
    let [one, other] = replicas(store);
    let clients = [&one.client, &other.client];
    for round in 0..rounds {
        let user = format!("guess-{round}");
        let (device, _) = clients[round % 2].enrol(&user, "totp").await;
        let wrong: Vec<_> = (0..200).map(|n| device.wrong(n)).collect();
        assert_eq!(post(clients, &user, &wrong).await, (0, 5, 195), "{user}");
        assert_eq!(other.client.count_events(&user, "verification_failed").await, 5, "{user}");
        for client in clients {
            client.verify(&user, &device.totp(0)).await.expect_problem(429, "locked");
        }
    }
}
