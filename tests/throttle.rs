//! Throttling: each limit over HTTP, and the callers that it must not affect.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mfa_tests::{Answer, Client, Server, ServerOptions, binary};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::redis;

fn server<const N: usize>(settings: [(&str, &str); N]) -> Server {
    let mut options = ServerOptions::new([("MFA_STORE", "memory:")]);
    options
        .environment
        .extend(settings.map(|(name, value)| (format!("MFA_THROTTLE_{name}"), value.to_owned())));
    Server::with(binary!(), options)
}

/// The number of answers that are not `throttled`. Each throttled answer must have a `Retry-After`.
fn admitted(answers: &[Answer]) -> usize {
    let throttled = answers.iter().filter(|answer| answer.problem() == "throttled");
    let refused = throttled.map(|answer| {
        assert_eq!(answer.status, 429, "{}", answer.text);
        assert!(retry_after(answer) >= 1);
    });
    answers.len() - refused.count()
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

async fn offers(client: &Client, user: &str, count: usize) -> Vec<Answer> {
    let offer = json!({ "kind": "totp", "label": "x", "qr": "none" });
    let path = format!("/v1/users/{user}/factors");
    join_all((0..count).map(|_| client.post(&path, offer.clone()))).await
}

async fn metric(client: &Client, line: &str) -> Option<String> {
    let metrics = client.get("/metrics").await.text;
    metrics.lines().find_map(|found| found.strip_prefix(line)).map(|value| value.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_alice_leaves_bob_and_the_rest_of_the_api_alone() {
    let server = server([("USER", "20/1h"), ("API_KEY", "100/1h")]);
    let client = &server.client;
    let (bobs, _) = client.enrol("bob", "totp").await;
    let flood = join_all((0..300).map(|_| client.verify("alice", "123456"))).await;
    assert_eq!(admitted(&flood), 20);
    // The requests throttled for Alice were not charged to the key, or Bob would be throttled as well.
    client.verify("bob", &bobs.totp(0)).await.expect(200);
    assert_eq!(client.get("/v1/users/alice").await.expect(200).json["enrolled"], false);
    client.post("/v1/users/alice/unlock", json!({ "reason": "flooded" })).await.expect(204);
    // In any spelling of the path.
    client.verify("%61lice", "123456").await.expect_problem(429, "throttled");
    assert_eq!(metric(client, r#"mfa_throttled_total{kind="user"}"#).await.as_deref(), Some("281"));
    assert_eq!(metric(client, "mfa_throttle_errors_total").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_code_is_not_looked_at_whether_it_is_right_or_wrong_or_the_account_locked() {
    // The offer, the confirmation and seven more.
    let server = server([("USER", "9/1h")]);
    let client = &server.client;
    let (phone, codes) = client.enrol("alice", "totp").await;
    let guesses: Vec<_> = (0..5).map(|number| phone.wrong(number)).collect();
    let wrong = join_all(guesses.iter().map(|code| client.verify("alice", code))).await;
    assert_eq!(admitted(&wrong), 5);
    for _ in 0..2 {
        client.verify("alice", &phone.totp(0)).await.expect_problem(429, "locked");
    }
    let anonymous = |answer: Answer| {
        let mut body = answer.expect_problem(429, "throttled").json;
        body["request_id"] = Value::Null;
        body
    };
    let locked = anonymous(client.verify("alice", &phone.totp(0)).await);
    client.post("/v1/users/alice/unlock", json!({ "reason": "test" })).await.expect(204);
    for code in [&phone.totp(0), &phone.wrong(1), &codes[0], "12"] {
        assert_eq!(anonymous(client.verify("alice", code).await), locked, "{code}");
    }
    assert_eq!(client.count_events("alice", "verification_failed").await, 5);
    assert_eq!(client.count_events("alice", "verified").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_as_long_as_told_is_admitted() {
    let server = server([("USER", "2/4s")]);
    let answers = join_all((0..5).map(|_| server.client.verify("alice", "123456"))).await;
    assert_eq!(admitted(&answers), 2);
    let wait = answers.iter().filter(|answer| answer.problem() == "throttled").map(retry_after).max();
    assert_eq!(wait, Some(2), "the quota is one in two seconds");
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.client.verify("alice", "123456").await.expect_problem(409, "not-enrolled");
}

/// A caller that repeats requests without a pause is delayed; nobody else is.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a duration, not a point in time")]
async fn a_refusal_without_a_look_at_a_code_is_held_back_and_holds_back_nothing_else() {
    let shortest = Duration::from_millis(2500);
    let server = server([("USER", "9/1h"), ("REFUSAL_DELAY", "5s")]);
    let client = &server.client;
    let (phone, _) = client.enrol("alice", "totp").await;
    let (bobs, _) = client.enrol("bob", "totp").await;
    for guess in 0..5 {
        client.verify("alice", &phone.wrong(guess)).await.expect_problem(401, "invalid-code");
    }
    let begun = Instant::now();
    let refused = |codes: Vec<String>| {
        let client = client.clone();
        tokio::spawn(async move { join_all(codes.iter().map(|code| client.verify("alice", code))).await })
    };
    let mut locked = refused(vec![phone.totp(0), phone.wrong(5)]);
    // Both are decided, and all other requests are answered before them, including Alice's.
    let decided = r#"mfa_http_requests_total{method="POST",route="/v1/users/{user}/verify",status="429"}"#;
    while metric(client, decided).await.as_deref() != Some("2") {
        assert!(!locked.is_finished(), "{decided} did not reach 2");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.verify("bob", &bobs.totp(0)).await.expect(200);
    client.post("/v1/users/alice/unlock", json!({ "reason": "test" })).await.expect(204);
    assert!(!locked.is_finished());
    for answer in (&mut locked).await.unwrap() {
        answer.expect_problem(429, "locked");
    }
    assert!(begun.elapsed() >= shortest);
    let begun = Instant::now();
    for answer in refused(vec![phone.totp(0); 3]).await.unwrap() {
        answer.expect_problem(429, "throttled");
    }
    assert!(begun.elapsed() >= shortest);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a duration, not a point in time")]
async fn a_disabled_account_is_no_way_around_the_delay() {
    let settings =
        [("MFA_STORE", "memory:"), ("MFA_LOCKOUT_DISABLE_AFTER", "5"), ("MFA_THROTTLE_REFUSAL_DELAY", "1s")];
    let server = Server::with(binary!(), ServerOptions::new(settings));
    let client = &server.client;
    let (phone, _) = client.enrol("alice", "totp").await;
    for guess in 0..5 {
        client.verify("alice", &phone.wrong(guess)).await.expect_problem(401, "invalid-code");
    }
    let begun = Instant::now();
    client.verify("alice", &phone.totp(0)).await.expect_problem(403, "disabled");
    assert!(begun.elapsed() >= Duration::from_millis(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_do_not_make_the_trail_long_by_default() {
    for store in ["sqlite:mfa.db", "memory:"] {
        // A hundred at once are slow in a build without optimisation.
        let settings = [("MFA_STORE", store), ("MFA_REQUEST_TIMEOUT", "1m")];
        let server = Server::with(binary!(), ServerOptions::new(settings));
        let client = &server.client;
        let answers = offers(client, "alice", 100).await;
        assert_eq!(admitted(&answers), 60);
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 60);
        assert_eq!(client.count_events("alice", "enrolment_started").await, 60);
        // Offers do not use up the quota for checking codes. New backup codes count as offers.
        client.verify("alice", "123456").await.expect_problem(409, "not-enrolled");
        client.send("POST", "/v1/users/alice/backup-codes", None).await.expect_problem(429, "throttled");
        assert_eq!(admitted(&offers(client, "bob", 1).await), 1);
        assert_eq!(metric(client, r#"mfa_throttled_total{kind="change"}"#).await.as_deref(), Some("41"));
    }
}

/// Every call except a verdict that adds a permanent event is charged as an offer.
#[tokio::test(flavor = "multi_thread")]
async fn renaming_and_removing_do_not_make_the_trail_long() {
    for store in ["sqlite:mfa.db", "memory:"] {
        let settings = [("MFA_STORE", store), ("MFA_REQUEST_TIMEOUT", "1m")];
        let server = Server::with(binary!(), ServerOptions::new(settings));
        let client = &server.client;
        let (phone, _) = client.enrol("alice", "totp").await;
        let path = format!("/v1/users/alice/factors/{}", phone.factor);
        let renames = (0..100).map(|number| {
            let body = json!({ "label": format!("Phone {number}") }).to_string();
            let path = &path;
            async move { client.send("PATCH", path, Some(body)).await }
        });
        // The enrolment used one offer of the quota.
        assert_eq!(admitted(&join_all(renames).await), 59, "{store}");
        assert_eq!(client.count_events("alice", "factor_renamed").await, 59, "{store}");
        client.delete(&path).await.expect_problem(429, "throttled");
        client.verify("alice", &phone.totp(0)).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_api_key_leaves_another_alone_and_one_tenant_another() {
    let settings = [("MFA_THROTTLE_API_KEY", "10/1h"), ("MFA_THROTTLE_TENANT", "15/1h")];
    let server = Server::with(binary!(), ServerOptions::new(settings));
    let key = |tenant: &str| {
        let arguments = ["api-key", "create", "--tenant", tenant, "--scope", "verify", "--json"];
        let made = server.command(arguments);
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        server.client.with_key(made["key"].as_str())
    };
    let reads =
        async |client: &Client| admitted(&join_all((0..40).map(|_| client.get("/v1/users/alice"))).await);
    let (one, two, three) = (key("acme"), key("acme"), key("acme"));
    assert_eq!(reads(&one).await, 10, "the quota of the key");
    assert_eq!(reads(&two).await, 5, "the rest of the tenant's quota");
    assert_eq!(reads(&three).await, 0, "a new key gets no new quota");
    assert_eq!(reads(&key("other")).await, 10, "the quota of another tenant");
    for kind in ["api_key", "tenant"] {
        assert!(metric(&server.client, &format!(r#"mfa_throttled_total{{kind="{kind}"}}"#)).await.is_some());
    }
}

/// No user's quota limits how many are stored.
#[tokio::test(flavor = "multi_thread")]
async fn challenges_without_a_user_have_a_quota_of_their_tenant() {
    let settings = [
        ("MFA_THROTTLE_TENANT_CHALLENGES", "10/1h"),
        ("MFA_WEBAUTHN_RP_ID", "example.com"),
        ("MFA_WEBAUTHN_ORIGINS", r#"["https://example.com"]"#),
    ];
    let server = Server::with(binary!(), ServerOptions::new(settings));
    let other = server.command(["api-key", "create", "--tenant", "other", "--scope", "verify", "--json"]);
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    let other = server.client.with_key(other["key"].as_str());
    let begin = async |client: &Client, path: &str, count: usize| {
        let body = json!({ "kind": "passkey" });
        let answers = join_all((0..count).map(|_| client.post(path, body.clone()))).await;
        let begun = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(admitted(&answers), begun, "{answers:?}");
        begun
    };
    // What is refused for another reason costs nothing.
    server
        .client
        .post("/v1/challenges", json!({ "kind": "email" }))
        .await
        .expect_problem(422, "invalid-request");
    assert_eq!(begin(&server.client, "/v1/challenges", 30).await, 10);
    assert_eq!(begin(&server.client, "/v1/users/alice/challenges", 30).await, 30);
    assert_eq!(begin(&other, "/v1/challenges", 5).await, 5);
    let refused = metric(&server.client, r#"mfa_throttled_total{kind="tenant_challenges"}"#).await;
    assert_eq!(refused.as_deref(), Some("20"));
}

/// Makes calls without a valid key from one address; returns the number answered with 401.
async fn knock(client: &Client, count: usize) -> usize {
    let stranger = client.with_key(Some("mfa_nobody_x"));
    let answers = join_all((0..count).map(|_| stranger.get("/v1/users/alice"))).await;
    let admitted = admitted(&answers);
    assert_eq!(answers.iter().filter(|answer| answer.problem() == "unauthorized").count(), admitted);
    admitted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_nobody_vouches_for_is_not_believed() {
    let server = server([("ADDRESS", "10/1h")]);
    let mut admitted = 0;
    for number in 0..40 {
        let address = format!("198.51.100.{number}");
        let spoofed = server.client.with_header("x-forwarded-for", &address);
        let spoofed = spoofed.with_header("forwarded", &format!("for={address}"));
        admitted += knock(&spoofed, 1).await;
    }
    assert_eq!(admitted, 10);
    // Calls with a valid key are not counted by address. A missing key counts like a wrong one.
    server.client.get("/v1/users/alice").await.expect(200);
    let nobody = server.client.with_key(None);
    nobody.get("/v1/users/alice").await.expect_problem(429, "throttled");
    nobody.get("/healthz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_as_to_the_last_address_that_is_not_its_own() {
    let server = server([("ADDRESS", "10/1h"), ("TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")]);
    let from = |address: &str| server.client.with_header("x-forwarded-for", address);
    assert_eq!(knock(&from("198.51.100.1"), 30).await, 10);
    assert_eq!(knock(&from("198.51.100.2"), 30).await, 10);
    // Addresses that the client sent itself are further left, or in another header.
    for number in 0..20 {
        let made_up = format!("203.0.113.{number}");
        for last in ["198.51.100.1", "198.51.100.1, 10.1.2.3"] {
            let spoofed =
                from(&format!("{made_up}, {last}")).with_header("forwarded", &format!("for={made_up}"));
            assert_eq!(knock(&spoofed, 1).await, 0);
        }
    }
    // One /64 prefix is one client.
    assert_eq!(knock(&from("2001:db8:1:2::1"), 6).await, 6);
    assert_eq!(knock(&from("2001:db8:1:2:ffff::2"), 6).await, 4);
    assert_eq!(knock(&from("2001:db8:1:3::1"), 6).await, 6);
    // The proxy's own address.
    assert_eq!(knock(&server.client, 30).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standard_header_is_read_where_the_proxies_write_that_one() {
    let settings =
        [("ADDRESS", "2/1h"), ("TRUSTED_PROXIES", "127.0.0.0/8"), ("FORWARDED_HEADER", "forwarded")];
    let server = server(settings);
    for address in ["198.51.100.1", "\"[2001:db8::1]:4711\""] {
        let client = server.client.with_header("forwarded", &format!("for={address};proto=https"));
        assert_eq!(knock(&client.with_header("x-forwarded-for", "203.0.113.1"), 5).await, 2);
    }
    assert_eq!(knock(&server.client, 5).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_defaults_are_out_of_a_busy_hosts_way() {
    let server = Server::in_memory(binary!());
    let client = &server.client;
    for _ in 0..5 {
        let answers = join_all((0..400).map(|_| client.verify("alice", "123456"))).await;
        assert_eq!(admitted(&answers), 400);
    }
    assert_eq!(metric(client, "mfa_throttled_total").await, None);
}

/// Two servers with separate accounts and one Redis. (Two servers must not share one SQLite file.)
fn servers_on(redis: &redis::Server) -> [Server; 2] {
    let url = redis.url();
    [(); 2].map(|()| server_counting_in(&url))
}

fn server_counting_in(url: &str) -> Server {
    let settings = [("MFA_STORE", "memory:"), ("MFA_EPHEMERAL", url), ("MFA_THROTTLE_TENANT", "20/1h")];
    Server::with(binary!(), ServerOptions::new(settings))
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_those_of_all_servers_together_where_they_count_in_redis() {
    let redis = redis::Server::start(&[]);
    let servers = servers_on(&redis);
    let requests = (0..50).map(|n| servers[n % 2].client.get("/v1/users/alice"));
    let answers = join_all(requests).await;
    assert_eq!(admitted(&answers), 20);
    for server in &servers {
        server.client.get("/v1/users/alice").await.expect_problem(429, "throttled");
    }
}

/// Codes are still checked, limited by the budgets in the accounts, however Redis fails.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_codes_are_checked_and_with_it_requests_are_throttled_again() {
    let redis = redis::Server::start(&[]);
    let url = redis.url();
    let running = server_counting_in(&url);
    let (phone, _) = running.client.enrol("alice", "totp").await;
    redis.kill();
    running.client.verify("alice", &phone.totp(0)).await.expect(200);
    running.client.verify("alice", &phone.totp(0)).await.expect_problem(401, "invalid-code");
    let ready = running.client.get("/readyz").await.expect(200).json;
    assert_eq!(ready["dependencies"]["throttle"], "failing", "{ready}");
    assert_eq!(ready["dependencies"]["accounts"], "ok", "{ready}");

    // A server that starts now does the same.
    let late = server_counting_in(&url);
    let (phone, _) = late.client.enrol("alice", "totp").await;
    late.client.verify("alice", &phone.totp(0)).await.expect(200);

    redis.start_again();
    for server in [&running, &late] {
        throttles(server).await;
        let ready = server.client.get("/readyz").await.expect(200).json;
        assert_eq!(ready["dependencies"]["throttle"], "ok", "{ready}");
    }
}

async fn throttles(server: &Server) {
    for _ in 0..600 {
        if server.client.get("/v1/users/alice").await.problem() == "throttled" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("requests are still not throttled");
}

/// A connection needs several round trips, so more time than a request has for its charges.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_late_and_is_far_away_is_connected_to_in_the_background() {
    let redis = redis::Server::start(&[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = server_counting_in(&format!("redis://127.0.0.1:{port}"));
    server.client.get("/v1/users/alice").await.expect(200);
    tokio::spawn(hand_on_slowly(port, redis.port()));
    throttles(&server).await;
}

/// A proxy that delays each answer by a tenth of a second, and closes a connection as soon as the client is
/// gone.
async fn hand_on_slowly(port: u16, to: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    while let Ok((mut client, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let (mut question, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
            loop {
                tokio::select! {
                    Ok(length @ 1..) = client.read(&mut question) => {
                        server.write_all(&question[..length]).await.unwrap();
                    }
                    Ok(length @ 1..) = server.read(&mut answer) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        if client.write_all(&answer[..length]).await.is_err() {
                            return;
                        }
                    }
                    else => return,
                }
            }
        });
    }
}

/// A hanging node does not answer; the server looks for its replacement all the same.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_throttled_again_once_a_primary_that_hangs_was_replaced() {
    let cluster = redis::Cluster::start(&[]);
    let server = server_counting_in(&cluster.url());
    throttles(&server).await;
    let bucket = "mfa:throttle:{default/}:tenant";
    let (primary, witness) = (cluster.primary_of(bucket, 0), cluster.bystander_of(bucket));
    assert_eq!(cluster.nodes[primary].cli(&["EXISTS", bucket]), "1");
    cluster.nodes[primary].pause();
    server.client.get("/v1/users/alice").await.expect(200);
    throttles(&server).await;
    assert_ne!(cluster.primary_of(bucket, witness), primary);
}
