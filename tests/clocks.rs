//! A wrong clock is detected, and its effects on factors can be repaired.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use mfa_testkit::{FakeTimeServer, TimeAnswer};
use mfa_tests::{Clock, Server, ServerOptions, binary};
use serde_json::{Value, json};
use tokio::time::Instant;

const TWO_DAYS: i64 = 48 * 60 * 60;

/// Waits until `/readyz` has this status and reports this state of the clock.
async fn told_by_readyz(server: &Server, status: u16, clock: &str) {
    let begin = Instant::now();
    loop {
        let answer = server.client.get("/readyz").await;
        if answer.status == status && answer.json["dependencies"]["clock"] == clock {
            return;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "not {status} and {clock}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The value of the metric, in seconds.
async fn ahead(server: &Server, reference: &str) -> f64 {
    let line = format!("mfa_clock_ahead_seconds{{reference=\"{reference}\"}} ");
    let metrics = server.client.get("/metrics").await.text;
    let value = metrics.lines().find_map(|found| found.strip_prefix(&line));
    value.unwrap_or_else(|| panic!("no {line}in {metrics}")).parse().unwrap()
}

/// Waits until the log contains `text`.
async fn logged(server: &Server, text: &str) {
    let begin = Instant::now();
    while !server.log().contains(text) {
        assert!(begin.elapsed() < Duration::from_mins(1), "no {text} in {}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_clock_is_not_that_of_the_database_says_so() {
    let server = crate::redis::Server::durable();
    let (postgres, redis) = (crate::postgres::database().await, server.url());
    tokio::join!(is_compared_with(&postgres), is_compared_with(&redis));
}

async fn is_compared_with(store: &str) {
    let clock = Clock::new();
    let options = ServerOptions::new([("MFA_STORE", store)]);
    let server = Server::with(binary!(), clock.of(options));
    told_by_readyz(&server, 200, "ok").await;
    clock.set(20);
    told_by_readyz(&server, 503, "failing").await;
    let found = ahead(&server, "database").await;
    assert!((15.0..=20.0).contains(&found), "{found}");
    // Requests are answered all the same.
    server.client.get("/v1/users/alice").await.expect(200);
    clock.set(0);
    told_by_readyz(&server, 200, "ok").await;
    clock.set(-20);
    told_by_readyz(&server, 503, "failing").await;
    let found = ahead(&server, "database").await;
    assert!((-20.0..=-15.0).contains(&found), "{found}");
    assert!(server.log().contains("the clock is wrong: not ready"), "{}", server.log());
    clock.set(5);
    told_by_readyz(&server, 200, "ok").await;
    logged(&server, "the clock is wrong reference=\"database\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_server_shows_a_clock_that_no_database_does() {
    let fake = FakeTimeServer::start();
    let address = fake.address().to_string();
    let start = |answer| {
        fake.set(answer);
        let options = [("MFA_STORE", "memory:"), ("MFA_TIME_SERVER", address.as_str())];
        Server::with(binary!(), ServerOptions::new(options))
    };
    let server = start(TimeAnswer::Ahead(0));
    told_by_readyz(&server, 200, "ok").await;
    let server = start(TimeAnswer::Ahead(20_000));
    told_by_readyz(&server, 503, "failing").await;
    let found = ahead(&server, "time_server").await;
    assert!((-20.0..=-15.0).contains(&found), "{found}");
    // With a wrong clock, no message is sent or given up.
    let address = json!({ "kind": "email", "label": "Mail", "address": "eve@example.com" });
    let offered = server.client.post("/v1/users/eve/factors", address).await.expect(201);
    let challenge = format!("/v1/challenges/{}?wait=3", offered.json["challenge"]["id"].as_str().unwrap());
    let status = server.client.get(&challenge).await.expect(200);
    assert_eq!(status.json["challenge"]["delivery"], "queued");
    let said = server.log().matches("no messages are sent while the clock of this server is wrong").count();
    assert_eq!(said, 1, "{}", server.log());
    // An unusable time server stops no server.
    let server = start(TimeAnswer::Unsynchronised);
    told_by_readyz(&server, 200, "unknown").await;
    assert!(server.log().contains("could not compare the clock"), "{}", server.log());

    let server = Server::in_memory(binary!());
    let ready = server.client.get("/readyz").await.expect(200);
    assert!(ready.json["dependencies"]["clock"].is_null(), "{ready:?}");
}

/// Nor does it start with such a clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_falls_behind_1970_stops() {
    let clock = Clock::new();
    let mut server = Server::with(binary!(), clock.of(ServerOptions::default()));
    server.client.get("/healthz").await.expect(200);
    clock.set(-i64::try_from(mfa_tests::now()).unwrap() - 1000);
    let status = tokio::task::spawn_blocking(move || (server.ended(), server)).await.unwrap();
    assert_eq!(status.0.code(), Some(3), "{}", status.1.log());
    assert!(status.1.log().contains("before 1970"), "{}", status.1.log());
}

fn json_of<const N: usize>(server: &Server, arguments: [&str; N]) -> Value {
    let output = server.command(arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_factor_that_a_wrong_clock_left_behind_is_named_and_set_right() {
    let clock = Clock::new();
    let server = Server::with(binary!(), clock.of(ServerOptions::default()));
    let client = &server.client;
    let (phone, _) = client.enrol("alice", "totp").await;
    let ahead_until = async || {
        let user = client.get("/v1/users/alice").await.expect(200).json;
        user["factors"][0]["ahead_until"].as_str().map(str::to_owned)
    };
    assert_eq!(ahead_until().await, None);
    clock.set(TWO_DAYS);
    client.verify("alice", &phone.totp(TWO_DAYS)).await.expect(200);
    clock.set(0);
    let until = ahead_until().await.expect("a time");
    client.verify("alice", &phone.totp(30)).await.expect_problem(401, "invalid-code");
    logged(&server, &phone.factor).await;
    assert_eq!(
        json_of(&server, ["user", "show", "alice", "--json"])["factors"][0]["ahead_until"],
        until.as_str()
    );
    let named = server.command(["user", "show", "alice"]);
    let named = String::from_utf8(named.stdout).unwrap();
    assert!(named.contains(&format!("no code before {until}")), "{named}");

    let set_back = ["user", "set-back", "alice", &phone.factor, "--reason", "the clock was wrong", "--json"];
    assert_eq!(json_of(&server, set_back)["set_back"], true);
    assert_eq!(json_of(&server, set_back)["set_back"], false);
    assert_eq!(ahead_until().await, None);
    // No code of the current window is accepted, and every code of the next one is.
    client.verify("alice", &phone.totp(0)).await.expect_problem(401, "invalid-code");
    clock.set(90);
    client.verify("alice", &phone.totp(90)).await.expect(200);
    let events = client.get("/v1/users/alice/events").await.expect(200).json;
    let kinds: Vec<_> =
        events["events"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    for kind in ["factor_ahead", "factor_set_back"] {
        assert_eq!(kinds.iter().filter(|found| **found == json!(kind)).count(), 1, "{kinds:?}");
    }
    let without_reason = server.command(["user", "set-back", "alice", &phone.factor]);
    assert_eq!(without_reason.status.code(), Some(2), "{without_reason:?}");
}
