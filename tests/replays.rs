//! Used codes: over HTTP they get the same answer as wrong ones, and cost nothing.

#![allow(clippy::unwrap_used, reason = "test code")]

use futures_util::future::join_all;
use mfa_tests::{Answer, Authenticator, Client, Server, ServerOptions, binary};
use serde_json::{Value, json};

use crate::{postgres, redis};

fn server<const N: usize>(settings: [(&str, &str); N]) -> Server {
    Server::with(binary!(), ServerOptions::new(settings))
}

/// The status and body of a rejection, without the request id.
fn refusal(answer: Answer) -> Value {
    let mut body = answer.expect_problem(401, "invalid-code").json;
    body["request_id"] = Value::Null;
    body
}

async fn metric(client: &Client, name: &str) -> Option<String> {
    let metrics = client.get("/metrics").await.text;
    metrics.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

async fn twenty_logins_posted_twice(store: &str) {
    let server = server([("MFA_STORE", store)]);
    let client = &server.client;
    let (token, backup_codes) = client.enrol("alice", "hotp").await;
    let wrong = refusal(client.verify("alice", &token.wrong(1)).await);
    for login in 0..20_u64 {
        let code = match login % 4 {
            3 => backup_codes[usize::try_from(login / 4).unwrap()].clone(),
            _ => token.hotp(1 + login - login / 4),
        };
        let answers = join_all([client.verify("alice", &code), client.verify("alice", &code)]).await;
        let (verified, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((verified.len(), refused.len()), (1, 1), "login {login} on {store}");
        assert_eq!(
            refused.into_iter().map(refusal).collect::<Vec<_>>(),
            std::slice::from_ref(&wrong),
            "{store}"
        );
    }
    assert_eq!(client.get("/v1/users/alice").await.json["locked_until"], Value::Null, "{store}");
    for (kind, count) in [("verified", 20), ("replayed", 20), ("verification_failed", 1), ("locked", 0)] {
        assert_eq!(client.count_events("alice", kind).await, count, "{kind} on {store}");
    }
    for (name, value) in
        [("mfa_replayed_codes_total", "20"), (r#"mfa_verifications_total{result="replayed"}"#, "20")]
    {
        assert_eq!(metric(client, name).await.as_deref(), Some(value), "{name} on {store}");
    }
    // Wrong codes cost the same as before.
    for number in 0..5 {
        refusal(client.verify("alice", &token.wrong(number)).await);
    }
    client.verify("alice", &token.wrong(5)).await.expect_problem(429, "locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_logins_that_are_posted_twice_lock_nobody_on_sqlite() {
    twenty_logins_posted_twice("sqlite:mfa.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_logins_that_are_posted_twice_lock_nobody_in_memory() {
    twenty_logins_posted_twice("memory:").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_logins_that_are_posted_twice_lock_nobody_on_postgres() {
    twenty_logins_posted_twice(&postgres::database().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_logins_that_are_posted_twice_lock_nobody_on_redis() {
    twenty_logins_posted_twice(&redis::url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn used_codes_make_the_trail_no_longer_than_offers_may_and_take_no_offer() {
    let server = server([("MFA_STORE", "memory:"), ("MFA_THROTTLE_CHANGE", "3/1h")]);
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let used = token.hotp(0);
    let answers = join_all((0..40).map(|_| client.verify("alice", &used))).await;
    assert!(answers.iter().all(|answer| answer.problem() == "invalid-code"));
    assert_eq!(client.count_events("alice", "replayed").await, 3);
    assert_eq!(client.count_events("alice", "verification_failed").await, 0);
    assert_eq!(metric(client, "mfa_replayed_codes_total").await.as_deref(), Some("40"));
    let session = client.in_session(&client.verify("alice", &token.hotp(1)).await.expect(200));
    let offer = json!({ "kind": "totp", "label": "Phone" });
    session.post("/v1/users/alice/factors", offer).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_codes_are_throttled_by_user_right_or_wrong_and_nothing_else_is() {
    let server = server([("MFA_STORE", "memory:"), ("MFA_THROTTLE_BACKUP_CODE", "3/1h")]);
    let client = &server.client;
    let (token, codes) = client.enrol("alice", "hotp").await;
    let (_, bobs) = client.enrol("bob", "hotp").await;
    client.verify("alice", &codes[0]).await.expect(200);
    client.verify("alice", &codes[0]).await.expect_problem(401, "invalid-code");
    client.verify("alice", "abcd-efgh-jkmn-pqrs").await.expect_problem(401, "invalid-code");
    for code in [&codes[0], &codes[1], "abcd-efgh-jkmn-pqrs"] {
        let throttled = client.verify("alice", code).await.expect_problem(429, "throttled");
        assert!(throttled.headers.contains_key("retry-after"));
    }
    client.verify("alice", &token.hotp(1)).await.expect(200);
    client.verify("bob", &bobs[0]).await.expect(200);
    assert_eq!(client.get("/v1/users/alice").await.json["backup_codes"]["remaining"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_is_posted_twice_costs_nothing() {
    let server = server([("MFA_STORE", "memory:")]);
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let factor = format!("/v1/users/alice/factors/{}", token.factor);
    for _ in 0..10 {
        // As an application does that takes the enrolment code for a login code.
        refusal(client.verify("alice", &token.hotp(0)).await);
    }
    let pair = json!({ "codes": [token.hotp(7), token.hotp(8)] });
    let resynchronise = format!("{factor}/resynchronise");
    client.post(&resynchronise, pair.clone()).await.expect(200);
    for _ in 0..10 {
        refusal(client.post(&resynchronise, pair.clone()).await);
    }
    assert_eq!(client.count_events("alice", "verification_failed").await, 0);
    assert_eq!(client.count_events("alice", "replayed").await, 20);
    client.verify("alice", &token.hotp(9)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_code_stays_used_when_an_operator_imports_its_secret_again() {
    for store in ["sqlite:mfa.db".to_owned(), "memory:".to_owned(), postgres::database().await, redis::url()]
    {
        let server = server([("MFA_STORE", &store)]);
        let client = &server.client;
        let (phone, _) = client.enrol("alice", "totp").await;
        let code = phone.totp(0);
        client.verify("alice", &code).await.expect(200);
        client.post("/v1/users/alice/reset", json!({ "reason": "lost" })).await.expect(204);
        let import = json!({
            "kind": "totp", "label": "Phone", "secret": phone.secret(), "imported": true, "reason": "found",
        });
        client.post("/v1/users/alice/factors", import).await.expect(201);
        refusal(client.verify("alice", &code).await);
        assert_eq!(client.count_events("alice", "verified").await, 1, "{store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_a_clock_ahead_and_counters_stay_used_when_an_operator_imports_their_secret_again() {
    for store in ["sqlite:mfa.db".to_owned(), "memory:".to_owned(), postgres::database().await, redis::url()]
    {
        let server = server([("MFA_STORE", &store)]);
        let client = &server.client;
        let offer = json!({ "kind": "totp", "label": "Phone" });
        let offered = client.post("/v1/users/alice/factors", offer).await.expect(201);
        let phone = Authenticator::scan(&offered.json);
        let codes: Vec<_> = (0..3).map(|step| phone.totp(6000 + 30 * step)).collect();
        let pair = json!({ "codes": [codes[0], codes[1]] });
        let confirm = format!("/v1/users/alice/factors/{}/confirm", phone.factor);
        client.post(&confirm, pair.clone()).await.expect(200);
        client.verify("alice", &codes[2]).await.expect(200);
        let (token, _) = client.enrol("bob", "hotp").await;
        client.verify("bob", &token.hotp(1)).await.expect(200);

        let mut ids = Vec::new();
        for (user, kind, device) in [("alice", "totp", &phone), ("bob", "hotp", &token)] {
            client.post(&format!("/v1/users/{user}/reset"), json!({ "reason": "lost" })).await.expect(204);
            assert_eq!(client.get(&format!("/v1/users/{user}")).await.json["factors"], json!([]), "{store}");
            let import = json!({
                "kind": kind, "label": "Found", "secret": device.secret(), "imported": true, "reason": "found",
            });
            let imported = client.post(&format!("/v1/users/{user}/factors"), import).await.expect(201);
            ids.push(imported.json["factor"]["id"].as_str().unwrap().to_owned());
        }
        let resynchronise = format!("/v1/users/alice/factors/{}/resynchronise", ids[0]);
        refusal(client.post(&resynchronise, pair).await);
        refusal(client.verify("alice", &codes[2]).await);
        for used in 0..2 {
            refusal(client.verify("bob", &token.hotp(used)).await);
        }
        client.verify("bob", &token.hotp(2)).await.expect(200);
        let known = client.get("/v1/users/bob").await.json["factors"].clone();
        assert_eq!(known.as_array().unwrap().len(), 1, "{store}: {known}");
    }
}
