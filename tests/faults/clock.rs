//! A replica with a wrong clock.

use futures_util::future::join_all;
use mfa_tests::{Answer, Authenticator, Client, Clock, Server, binary, rounds};
use serde_json::json;

use super::load::Load;
use super::on;
use crate::postgres;

/// The deviation: two minutes, in seconds.
const OFF: i64 = 120;

/// Two servers on one new database; the second has this clock.
async fn replicas(clock: &Clock) -> [Server; 2] {
    let url = postgres::database().await;
    let mut options = on(&url);
    options.environment.push(("MFA_LOCKOUT_FIRST_LOCK".to_owned(), "10m".to_owned()));
    let one = Server::with(binary!(), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), clock.of(options));
    [one, other]
}

/// Enrols a user with a TOTP factor at a server whose clock is `ahead` seconds ahead.
async fn enrol(client: &Client, user: &str, ahead: i64) -> Authenticator {
    let offer = json!({ "kind": "totp", "label": "Phone", "qr": "none" });
    let enrolment = client.post(&format!("/v1/users/{user}/factors"), offer).await.expect(201);
    let phone = Authenticator::scan(&enrolment.json);
    let path = format!("/v1/users/{user}/factors/{}/confirm", phone.factor);
    // If a step ends during the call, the code is too old; then 30 seconds remain for the next one.
    let confirm = || client.post(&path, json!({ "code": phone.totp(ahead - 30) }));
    if confirm().await.status != 200 {
        confirm().await.expect(200);
    }
    phone
}

async fn refused_everywhere(servers: &[Server; 2], user: &str, code: &str) {
    for server in servers {
        server.client.verify(user, code).await.expect_problem(401, "invalid-code");
    }
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_the_window_of_a_wrong_clock_counts_once() {
    let clock = Clock::new();
    let servers = replicas(&clock).await;
    let [one, other] = &servers;

    clock.set(OFF);
    let phone = enrol(&one.client, "ahead", 0).await;
    // The server that is ahead accepts codes that the other does not know yet. Afterwards no earlier code is
    // accepted.
    other.client.verify("ahead", &phone.totp(OFF)).await.expect(200);
    refused_everywhere(&servers, "ahead", &phone.totp(OFF)).await;
    one.client.verify("ahead", &phone.totp(0)).await.expect_problem(401, "invalid-code");

    clock.set(-OFF);
    let phone = enrol(&other.client, "behind", -OFF).await;
    other.client.verify("behind", &phone.totp(-OFF)).await.expect(200);
    refused_everywhere(&servers, "behind", &phone.totp(-OFF)).await;
    one.client.verify("behind", &phone.totp(0)).await.expect(200);
    // The window of the slow server has passed for good.
    refused_everywhere(&servers, "behind", &phone.totp(-OFF + 30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_parallel_posts_counts_where_two_clocks_differ() {
    let clock = Clock::new();
    let servers = replicas(&clock).await;
    // The code of the next step is in the windows of both.
    clock.set(30);
    for round in 0..rounds(2, 20) {
        let user = format!("race-{round}");
        let phone = enrol(&servers[0].client, &user, 0).await;
        let code = phone.totp(30);
        let posts = (0..64).map(|n| servers[n % 2].client.verify(&user, &code));
        let answers = join_all(posts).await;
        let verified = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(verified, 1, "{user}");
        assert_eq!(servers[1].client.count_events(&user, "verified").await, 1, "{user}");
    }
}

/// A lock ends for a replica when its own clock says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_early_or_late_by_what_two_clocks_differ_and_no_more() {
    let clock = Clock::new();
    let [one, other] = replicas(&clock).await;
    let phone = enrol(&one.client, "alice", 0).await;
    for guess in 0..5 {
        one.client.verify("alice", &phone.wrong(guess)).await.expect_problem(401, "invalid-code");
    }
    // Ten minutes; not earlier by either clock.
    for ahead in [-OFF, 0, OFF, 4 * OFF] {
        clock.set(ahead);
        let locked = other.client.verify("alice", &phone.wrong(9)).await.expect_problem(429, "locked");
        let left = 600 - ahead;
        assert!((left - 60..=left + 1).contains(&i64::try_from(retry_after(&locked)).unwrap()), "{locked:?}");
    }
    clock.set(601);
    other.client.verify("alice", &phone.wrong(9)).await.expect_problem(401, "invalid-code");
    // That failure is dated in the future, so its lock is longer by that much: twenty minutes from then.
    let locked = one.client.verify("alice", &phone.wrong(9)).await.expect_problem(429, "locked");
    assert!(retry_after(&locked) > 1200, "{locked:?}");
    clock.set(0);
    other.client.verify("alice", &phone.totp(0)).await.expect_problem(429, "locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_under_load_loses_nothing() {
    let jumps = rounds(3, 30);
    let clock = Clock::new();
    let servers = replicas(&clock).await;
    let load = Load::begin(&[&servers[0], &servers[1]], 8).await;
    for ahead in [OFF, -OFF, 0].into_iter().cycle().take(jumps) {
        clock.set(ahead);
        load.progress_at(0, 20).await;
        load.progress_at(1, 20).await;
    }
    clock.set(0);
    load.settle(&servers, &format!("the clock of a replica jumped {jumps} times")).await;
}
