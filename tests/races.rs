//! A code is accepted once and every guess is charged, however many callers post at the same time.

#![allow(clippy::unwrap_used, reason = "test code")]

use futures_util::future::join_all;
use mfa_tests::{Client, Server, ServerOptions, binary, rounds};

/// A race uses more backup codes than a user may try in an hour.
const BACKUP_CODES: (&str, &str) = ("MFA_THROTTLE_BACKUP_CODE", "1000/1h");

/// A server on this store with a long timeout, so that the race is between requests and not with a busy
/// machine.
fn server_on(store: &str) -> Server {
    let settings = [
        ("MFA_STORE", store),
        ("MFA_REQUEST_TIMEOUT", "1m"),
        ("MFA_THROTTLE_REFUSAL_DELAY", "0s"),
        BACKUP_CODES,
    ];
    Server::with(binary!(), ServerOptions::new(settings))
}

/// Posts one code 64 times at once; returns the numbers of acceptances and of rejections.
async fn parallel_posts(client: &Client, user: &str, code: &str) -> (usize, usize) {
    let answers = join_all((0..64).map(|_| client.verify(user, code))).await;
    let verified = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.problem() == "invalid-code").count();
    (verified, refused)
}

async fn one_of_64(client: &Client) {
    for round in 0..rounds(3, 100) {
        let user = format!("race-{round}");
        let (phone, backup_codes) = client.enrol(&user, "totp").await;
        assert_eq!(parallel_posts(client, &user, &phone.totp(0)).await, (1, 63), "TOTP, round {round}");
        assert_eq!(client.count_events(&user, "verified").await, 1);
        assert_eq!(client.count_events(&user, "verification_failed").await, 0, "a used code is no guess");
        let answers = parallel_posts(client, &user, &backup_codes[0]).await;
        assert_eq!(answers, (1, 63), "backup code, round {round}");

        let user = format!("race-hotp-{round}");
        let (token, _) = client.enrol(&user, "hotp").await;
        assert_eq!(parallel_posts(client, &user, &token.hotp(1)).await, (1, 63), "HOTP, round {round}");
    }
}

async fn five_of_200(client: &Client) {
    for (user, kind) in [("guess-totp", "totp"), ("guess-hotp", "hotp")] {
        let (device, backup_codes) = client.enrol(user, kind).await;
        let guesses = (0..200).map(|i| {
            let code = if i % 4 == 3 { format!("abcd-efgh-jkmn-{i:04}") } else { device.wrong(i) };
            let client = client.clone();
            async move { client.verify(user, &code).await }
        });
        let answers = join_all(guesses).await;
        let invalid = answers.iter().filter(|answer| answer.problem() == "invalid-code").count();
        let locked = answers.iter().filter(|answer| answer.problem() == "locked").count();
        assert_eq!((invalid, locked), (5, 195), "{kind}");
        assert_eq!(client.count_events(user, "verification_failed").await, 5, "{kind}");
        assert_eq!(client.count_events(user, "locked").await, 1, "{kind}");

        // From now on right and wrong codes get the same answer, whatever the method.
        let right = if kind == "hotp" { device.hotp(1) } else { device.totp(0) };
        for code in [right.as_str(), device.wrong(7).as_str(), backup_codes[0].as_str()] {
            let answer = client.verify(user, code).await.expect_problem(429, "locked");
            assert!(answer.headers.contains_key("retry-after"));
        }
        assert_eq!(client.count_events(user, "verification_failed").await, 5, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_parallel_posts_counts_on_sqlite() {
    one_of_64(&server_on("sqlite:mfa.db").client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_parallel_posts_counts_in_memory() {
    one_of_64(&server_on("memory:").client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_of_200_parallel_guesses_are_evaluated_on_sqlite_and_the_lock_survives_a_restart() {
    let mut server = server_on("sqlite:mfa.db");
    five_of_200(&server.client).await;
    server.kill();
    server.restart();
    for user in ["guess-totp", "guess-hotp"] {
        server.client.verify(user, "123456").await.expect_problem(429, "locked");
        let status = server.client.get(&format!("/v1/users/{user}")).await.expect(200);
        assert!(status.json["locked_until"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_of_200_parallel_guesses_are_evaluated_in_memory() {
    five_of_200(&server_on("memory:").client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_backup_codes_in_parallel_are_both_spent() {
    let server = server_on("sqlite:mfa.db");
    let client = &server.client;
    for round in 0..rounds(5, 100) {
        let user = format!("two-{round}");
        let (_, codes) = client.enrol(&user, "totp").await;
        let answers = join_all(codes[..2].iter().map(|code| client.verify(&user, code))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "round {round}");
        let status = client.get(&format!("/v1/users/{user}")).await;
        assert_eq!(status.json["backup_codes"]["remaining"], 8, "round {round}");
    }
}
