//! Codes by e-mail, from enrolment to answer, through a real mail server.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test code, which measures how long it waits"
)]

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mfa_tests::{Answer, Client, Server, ServerOptions, binary, rounds};
use serde_json::{Value, json};

use crate::mail_server::MailServer;
use crate::{postgres, redis};

const ADDRESS: &str = "eve@example.com";

/// The options of a server that sends through a mail server on this port.
pub(crate) fn mailing(port: u16) -> ServerOptions {
    let url = format!("smtp://127.0.0.1:{port}?tls=none");
    let mut options =
        ServerOptions::new([("MFA_EMAIL_FROM", "Example <mfa@example.com>"), ("MFA_LOG", "trace")]);
    options.environment.push(("MFA_EMAIL_URL".to_owned(), url));
    options
}

/// The code in the subject of a mail.
pub(crate) fn code(mail: &Value) -> String {
    let subject = mail["headers"]["Subject"].as_str().unwrap();
    let code = subject.split(' ').next().unwrap().to_owned();
    assert!(code.len() == 8 && code.bytes().all(|byte| byte.is_ascii_digit()), "{mail}");
    code
}

async fn offer(client: &Client, user: &str) -> Answer {
    let body = json!({ "kind": "email", "label": "Mail", "address": ADDRESS });
    client.post(&format!("/v1/users/{user}/factors"), body).await
}

/// Enrols a user with a confirmed address; returns the factor.
pub(crate) async fn enrol(client: &Client, mails: &MailServer, user: &str) -> String {
    let offered = offer(client, user).await.expect(201);
    let factor = offered.json["factor"]["id"].as_str().unwrap().to_owned();
    let confirm = format!("/v1/users/{user}/factors/{factor}/confirm");
    client.post(&confirm, json!({ "code": code(&mails.mail()) })).await.expect(200);
    factor
}

/// Begins a challenge; returns its id.
pub(crate) async fn begin(client: &Client, user: &str, factor: &str) -> String {
    let path = format!("/v1/users/{user}/challenges");
    let begun = client.post(&path, json!({ "factor": factor })).await.expect(201);
    begun.json["challenge"]["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn answer(client: &Client, challenge: &str, code: &str) -> Answer {
    client.post(&format!("/v1/challenges/{challenge}/verify"), json!({ "code": code })).await
}

async fn delivery(client: &Client, challenge: &str) -> String {
    let status = client.get(&format!("/v1/challenges/{challenge}")).await.expect(200);
    status.json["challenge"]["delivery"].as_str().unwrap().to_owned()
}

/// Waits for a delivery state in the status of a challenge.
pub(crate) async fn delivered(client: &Client, challenge: &str, expected: &str) {
    let begin = Instant::now();
    while delivery(client, challenge).await != expected {
        assert!(begin.elapsed() < Duration::from_secs(20), "the delivery state is not {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn assert_nothing_in_the_log(server: &Server, codes: &[&str]) {
    let log = server.log();
    for secret in codes.iter().chain(&[ADDRESS]) {
        assert!(!log.contains(*secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_enrolled_by_a_code_and_logs_in_by_others() {
    let mails = MailServer::start(&json!({}));
    let server = Server::with(binary!(), mailing(mails.port));
    let client = &server.client;
    let offered = offer(client, "eve").await.expect(201);
    assert_eq!(offered.json["factor"]["state"], "pending");
    assert_eq!(offered.json["factor"]["destination"], "e•••@example.com");
    assert_eq!(offered.json["challenge"]["destination"], "e•••@example.com");
    assert_eq!(offered.json["warnings"][0]["code"], "email-only");
    let first = code(&mails.mail());
    let factor = offered.json["factor"]["id"].as_str().unwrap();
    let confirm = format!("/v1/users/eve/factors/{factor}/confirm");
    let confirmed = client.post(&confirm, json!({ "code": first })).await.expect(200);
    assert_eq!(confirmed.json["factor"]["state"], "active");
    assert_eq!(confirmed.json["backup_codes"].as_array().unwrap().len(), 10);

    let begun = client.post("/v1/users/eve/challenges", json!({ "kind": "email" })).await.expect(201);
    let challenge = &begun.json["challenge"];
    assert_eq!((&challenge["kind"], &challenge["state"]), (&json!("email"), &json!("open")));
    assert_eq!(begun.json["user"], "eve");
    let id = challenge["id"].as_str().unwrap();
    let second = code(&mails.mail());
    delivered(client, id, "sent").await;
    let resent = client.post(&format!("/v1/challenges/{id}/resend"), json!({})).await.expect(202);
    assert_eq!(resent.json["challenge"]["id"], id);
    let third = code(&mails.mail());
    answer(client, id, &second).await.expect_problem(401, "invalid-code");
    let verified = answer(client, id, &format!("{} {}", &third[..4], &third[4..])).await.expect(200);
    assert_eq!(
        (&verified.json["user"], &verified.json["kind"], &verified.json["factor"]),
        (&json!("eve"), &json!("email"), &json!(factor))
    );
    answer(client, id, &third).await.expect_problem(410, "challenge-over");
    let over = client.get(&format!("/v1/challenges/{id}")).await.expect(200);
    assert_eq!(over.json["challenge"]["state"], "over");

    let cancelled = begin(client, "eve", factor).await;
    let fourth = code(&mails.mail());
    client.delete(&format!("/v1/challenges/{cancelled}")).await.expect(204);
    answer(client, &cancelled, &fourth).await.expect_problem(410, "challenge-over");
    assert_eq!(mails.more(), 0);
    let user = client.get("/v1/users/eve").await.expect(200);
    assert_eq!(user.json["factors"][0]["destination"], "e•••@example.com");
    assert_eq!(client.count_events("eve", "code_sent").await, 4);
    assert_nothing_in_the_log(&server, &[&first, &second, &third, &fourth]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_sends_nothing() {
    let mails = MailServer::start(&json!({}));
    let server = Server::with(binary!(), mailing(mails.port));
    let client = &server.client;
    let enrol = async |body: Value| client.post("/v1/users/eve/factors", body).await;
    for address in ["eve", "eve@", "zoë@example.com", "eve@exa_mple..com"] {
        let refused = enrol(json!({ "kind": "email", "label": "Mail", "address": address })).await;
        let refused = refused.expect_problem(422, "delivery-refused");
        assert!(refused.json["detail"].is_string() && !refused.text.contains(address), "{}", refused.text);
    }
    for (body, field) in [
        (json!({ "kind": "email", "label": "Mail" }), "address"),
        (json!({ "kind": "email", "label": "Mail", "address": "a b@example.com" }), "address"),
        (json!({ "kind": "email", "label": "Mail", "address": ADDRESS, "digits": 8 }), "digits"),
        (json!({ "kind": "email", "label": "Mail", "address": ADDRESS, "secret": "AAAA" }), "secret"),
        (json!({ "kind": "totp", "label": "Mail", "address": ADDRESS }), "address"),
    ] {
        let refused = enrol(body).await.expect_problem(422, "invalid-request");
        assert_eq!(refused.json["errors"][0]["field"], field, "{}", refused.text);
    }
    let begin = async |body: Value| client.post("/v1/users/eve/challenges", body).await;
    begin(json!({ "kind": "email" })).await.expect_problem(409, "not-enrolled");
    begin(json!({ "kind": "totp" })).await.expect_problem(422, "invalid-request");
    begin(json!({})).await.expect_problem(422, "invalid-request");
    begin(json!({ "kind": "email", "purpose": "recover" })).await.expect_problem(422, "invalid-request");
    let (_, _) = client.enrol("eve", "totp").await;
    begin(json!({ "kind": "email" })).await.expect_problem(404, "not-found");
    answer(client, &"0".repeat(32), "12345678").await.expect_problem(404, "not-found");
    answer(client, "x", "12345678").await.expect_problem(404, "not-found");
    client.get(&format!("/v1/challenges/{}", "0".repeat(32))).await.expect_problem(404, "not-found");
    assert_eq!(mails.more(), 0);

    let strict = mailing(mails.port).and([("MFA_ENROLMENT_EMAIL", "false")]);
    let server = Server::with(binary!(), strict);
    let refused = offer(&server.client, "eve").await.expect_problem(422, "invalid-request");
    assert_eq!(refused.json["errors"][0]["field"], "kind");
}

/// Of 64 posts of one code one is accepted, and of 200 guesses five are evaluated, whichever server gets
/// them.
async fn races(one: &Server, other: &Server, mails: &MailServer, rounds: usize) {
    let clients = [&one.client, &other.client];
    for round in 0..rounds {
        let user = format!("race-{round}");
        let factor = enrol(clients[round % 2], mails, &user).await;
        let id = begin(clients[0], &user, &factor).await;
        let code = code(&mails.mail());
        let answers = join_all((0..64).map(|n| answer(clients[n % 2], &id, &code))).await;
        let verified = answers.iter().filter(|answer| answer.status == 200).count();
        let over = answers.iter().filter(|answer| answer.problem() == "challenge-over").count();
        let other = |answer: &&Answer| answer.status != 200 && answer.problem() != "challenge-over";
        let others: Vec<_> = answers.iter().filter(other).collect();
        assert_eq!((verified, over), (1, 63), "{user}: {others:?}");
        let id = begin(clients[1], &user, &factor).await;
        let right = self::code(&mails.mail());
        let wrong = (0..).map(|n| format!("{n:08}")).filter(|code| *code != right).take(200);
        let wrong: Vec<_> = wrong.collect();
        let answers = wrong.iter().enumerate().map(|(n, code)| answer(clients[n % 2], &id, code));
        let answers = join_all(answers).await;
        let looked_at = answers.iter().filter(|answer| answer.problem() == "invalid-code").count();
        let refused = |answer: &&Answer| matches!(answer.problem(), "locked" | "challenge-over");
        let refused = answers.iter().filter(refused).count();
        assert_eq!((looked_at, refused), (5, 195), "{user}");
        answer(clients[0], &id, &right).await.expect_problem(429, "locked");
    }
}

/// With a long timeout, so that the race is between requests.
fn racing(mails: &MailServer, store: &str) -> ServerOptions {
    let more = [("MFA_LOG", "info"), ("MFA_THROTTLE_RECIPIENT", "1000000/1h")];
    let mut options = mailing(mails.port).patient().and(more);
    options.environment.push(("MFA_STORE".to_owned(), store.to_owned()));
    options
}

async fn races_of_two(store: &str, more: Option<String>, rounds: usize) {
    let mails = MailServer::start(&json!({}));
    let mut options = racing(&mails, store);
    options.environment.extend(more.map(|url| ("MFA_EPHEMERAL".to_owned(), url)));
    let one = Server::with(binary!(), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
    races(&one, &other, &mails, rounds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_and_five_of_200_on_sqlite() {
    let mails = MailServer::start(&json!({}));
    let server = Server::with(binary!(), racing(&mails, "sqlite:mfa.db"));
    races(&server, &server, &mails, rounds(1, 50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_and_five_of_200_on_two_servers_with_postgresql() {
    races_of_two(&postgres::database().await, None, rounds(1, 50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_and_five_of_200_on_two_servers_with_challenges_in_redis() {
    let redis = redis::Server::start(&[]);
    races_of_two(&postgres::database().await, Some(redis.url()), rounds(1, 50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_and_five_of_200_on_two_servers_with_everything_in_redis() {
    let redis = redis::Server::durable();
    races_of_two(&redis.url(), None, rounds(1, 50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mail_server_defers_or_leaves_open_comes_again_with_the_same_code() {
    let mails = MailServer::start(&json!({}));
    let greylisting = MailServer::start(&json!({ "greylist": 1 }));
    let dropping = MailServer::start(&json!({ "drop": 1 }));
    for (server, copies) in [(&greylisting, 1), (&dropping, 2)] {
        let mut before = Server::with(binary!(), mailing(mails.port));
        let factor = enrol(&before.client, &mails, "eve").await;
        before.terminate();
        // The same installation, now sending through another mail server.
        let trouble = Server::in_folder(binary!(), before.data(), before.client.key(), mailing(server.port));
        let id = begin(&trouble.client, "eve", &factor).await;
        let first = code(&server.mail());
        for _ in 1..copies {
            assert_eq!(code(&server.mail()), first, "a duplicate has another code");
        }
        delivered(&trouble.client, &id, "sent").await;
        answer(&trouble.client, &id, &first).await.expect(200);
        assert_eq!(server.more(), 0, "one mail for each try that may have failed");
        assert_nothing_in_the_log(&trouble, &[&first]);
    }
}

/// Whatever the mail server does, calls are answered at once, and a promised code is sent once the mail
/// server works, even if the server was killed in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_promised_outlives_a_mail_server_that_is_down_and_a_kill() {
    let mails = MailServer::start(&json!({}));
    let mut server = Server::with(binary!(), mailing(mails.port));
    let factor = enrol(&server.client, &mails, "eve").await;
    let port = mails.port;
    drop(mails);
    let id = begin(&server.client, "eve", &factor).await;
    assert_eq!(delivery(&server.client, &id).await, "queued");
    if rounds(0, 1) == 0 {
        // By then the first try has failed and the next is due in five seconds; a kill during a try costs the
        // two minutes of its claim.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    server.kill();
    let mails = MailServer::start(&json!({ "port": port }));
    server.restart();
    // Claimed by the killed server, not claimed yet, or waiting for its second try.
    let mail = mails.mail_within(Duration::from_secs(150));
    let code = code(&mail);
    answer(&server.client, &id, &code).await.expect(200);
    assert_eq!(mails.more(), 0);
}

/// The mail server accepts the mail in the end, so giving up earlier would send copies and report a failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_slow_by_half_a_minute_keeps_no_call_waiting_and_gets_one_mail() {
    let mails = MailServer::start(&json!({ "slow": 31 }));
    let server = Server::with(binary!(), mailing(mails.port));
    let client = &server.client;
    let (app, _) = client.enrol("bob", "totp").await;
    let begin = Instant::now();
    let offered = offer(client, "eve").await.expect(201);
    client.verify("bob", &app.totp(0)).await.expect(200);
    assert!(begin.elapsed() < Duration::from_secs(2), "the call waited for the mail server");
    let code = code(&mails.mail_within(Duration::from_mins(1)));
    delivered(client, offered.json["challenge"]["id"].as_str().unwrap(), "sent").await;
    let factor = offered.json["factor"]["id"].as_str().unwrap();
    let confirm = format!("/v1/users/eve/factors/{factor}/confirm");
    client.post(&confirm, json!({ "code": code })).await.expect(200);
    assert_eq!(client.count_events("eve", "code_not_sent").await, 0);
    assert_eq!(mails.more(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_one_error_in_the_log_and_mails_go_once_it_is_right() {
    let taking = |password: &str, port: u16| {
        MailServer::start(&json!({ "user": "app", "password": password, "plain_login": true, "port": port }))
    };
    let mails = taking("another", 0);
    let port = mails.port;
    let mut options = mailing(port);
    let url = format!("smtp://app:hunter2@127.0.0.1:{port}?tls=none");
    options.environment.push(("MFA_EMAIL_URL".to_owned(), url));
    let server = Server::with(binary!(), options);
    let client = &server.client;
    let users = ["eve", "bob", "carol"];
    for user in users {
        offer(client, user).await.expect(201);
    }
    let begin = Instant::now();
    while !client.get("/metrics").await.text.contains("mfa_email_failures_total{step=\"auth\"} 3") {
        assert!(begin.elapsed() < Duration::from_secs(20), "the password was not refused three times");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lines = |text: &str| {
        let log = server.log();
        log.lines().filter(|line| line.contains(text)).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let alarms =
        lines("the mail server accepts no mail: logging in to the mail server: the server replied 535");
    assert!(alarms.len() == 1 && alarms[0].contains("ERROR"), "{alarms:?}");

    drop(mails);
    let mails = taking("hunter2", port);
    for _ in users {
        // After five seconds, or after a minute if the mail server was down by then.
        code(&mails.mail_within(Duration::from_secs(90)));
    }
    let begin = Instant::now();
    while lines("the mail server accepts mail again").len() != 1 {
        assert!(begin.elapsed() < Duration::from_secs(20), "the log does not report the recovery");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!server.log().contains("hunter2"), "the password is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_refused_fails_the_message_and_the_trail_tells() {
    let mails = MailServer::start(&json!({ "rcpt": "550 5.1.1 no such user" }));
    let server = Server::with(binary!(), mailing(mails.port));
    let client = &server.client;
    let offered = offer(client, "eve").await.expect(201);
    let id = offered.json["challenge"]["id"].as_str().unwrap();
    delivered(client, id, "failed").await;
    let events = client.events("eve").await;
    let failed = events.iter().find(|event| event["kind"] == "code_not_sent").unwrap();
    assert_eq!(failed["detail"]["reason"], "refused");
    assert_eq!(failed["factor"], offered.json["factor"]["id"]);
    let metrics = client.get("/metrics").await.text;
    assert!(metrics.contains("mfa_messages_total{result=\"failed\"} 1"), "{metrics}");
    assert!(!server.log().contains(ADDRESS));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mail_server_the_log_says_what_would_have_gone_where() {
    let server = Server::with(binary!(), ServerOptions::new([("MFA_STORE", "memory:")]));
    let offered = offer(&server.client, "eve").await.expect(201);
    let id = offered.json["challenge"]["id"].as_str().unwrap();
    delivered(&server.client, id, "failed").await;
    let log = server.log();
    let line = log.lines().find(|line| line.contains("not sent: email.url")).unwrap();
    assert!(line.contains("e•••@example.com") && line.contains("••••••••"), "{line}");
    assert!(!log.contains(ADDRESS), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_charged_and_none_goes_out_while_nobody_counts() {
    let mails = MailServer::start(&json!({}));
    let options =
        mailing(mails.port).and([("MFA_THROTTLE_MESSAGE", "3/1h"), ("MFA_THROTTLE_RECIPIENT", "6/1h")]);
    let server = Server::with(binary!(), options);
    let client = &server.client;
    let factor = enrol(client, &mails, "eve").await;
    let id = begin(client, "eve", &factor).await;
    client.post(&format!("/v1/challenges/{id}/resend"), json!({})).await.expect(202);
    for path in [format!("/v1/challenges/{id}/resend"), "/v1/users/eve/challenges".to_owned()] {
        let body = if path.ends_with("resend") { json!({}) } else { json!({ "factor": factor }) };
        let refused = client.post(&path, body).await.expect_problem(429, "throttled");
        assert!(refused.headers.contains_key("retry-after"));
    }
    // All spellings of an address share one quota, whoever enrols it.
    for user in ["a", "b", "c"] {
        offer(client, user).await.expect(201);
    }
    let body = json!({ "kind": "email", "label": "Mail", "address": "EVE@Example.com" });
    client.post("/v1/users/d/factors", body).await.expect_problem(429, "throttled");

    let (redis, mails) = (redis::Server::start(&[]), MailServer::start(&json!({})));
    let mut options = mailing(mails.port);
    options.environment.push(("MFA_EPHEMERAL".to_owned(), redis.url()));
    let server = Server::with(binary!(), options);
    let client = &server.client;
    let (app, _) = client.enrol("bob", "totp").await;
    let factor = enrol(client, &mails, "eve").await;
    let id = begin(client, "eve", &factor).await;
    code(&mails.mail());
    redis.kill();
    let post = async |path: &str, body: Value| client.post(path, body).await;
    post("/v1/users/eve/challenges", json!({ "factor": factor })).await.expect_problem(503, "unavailable");
    post(&format!("/v1/challenges/{id}/resend"), json!({})).await.expect_problem(503, "unavailable");
    offer(client, "carol").await.expect_problem(503, "unavailable");
    // A request that would send nothing gets its own error.
    let bad = json!({ "kind": "email", "label": "Mail", "address": "eve@exa_mple.com" });
    post("/v1/users/carol/factors", bad).await.expect_problem(422, "delivery-refused");
    client.verify("bob", &app.totp(0)).await.expect(200);
    assert_eq!(mails.more(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_has_a_few_more_codes_and_can_be_cancelled_twice() {
    let mails = MailServer::start(&json!({}));
    let server = Server::with(binary!(), mailing(mails.port).and([("MFA_CHALLENGE_MAX_RESENDS", "2")]));
    let client = &server.client;
    let factor = enrol(client, &mails, "eve").await;
    let id = begin(client, "eve", &factor).await;
    let mut latest = code(&mails.mail());
    let resend = format!("/v1/challenges/{id}/resend");
    for _ in 0..2 {
        client.post(&resend, json!({})).await.expect(202);
        latest = code(&mails.mail());
    }
    let refused = client.post(&resend, json!({})).await.expect_problem(429, "throttled");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(mails.more(), 0);
    answer(client, &id, &latest[..6]).await.expect_problem(401, "invalid-code");
    answer(client, &id, &latest[..5]).await.expect_problem(422, "malformed-code");
    answer(client, &id, &latest).await.expect(200);

    let cancelled = begin(client, "eve", &factor).await;
    code(&mails.mail());
    for id in [&cancelled, &cancelled, &id] {
        client.delete(&format!("/v1/challenges/{id}")).await.expect(204);
    }
    client.delete(&format!("/v1/challenges/{}", "0".repeat(32))).await.expect_problem(404, "not-found");
    assert_eq!(client.count_events("eve", "verification_failed").await, 1);
}
