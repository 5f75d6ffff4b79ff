//! Idempotency: a call whose answer was lost gets the same answer when repeated with its `Idempotency-Key`.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;

use futures_util::future::join_all;
use mfa_tests::{Authenticator, Client, Server, ServerOptions, binary};
use serde_json::{Value, json};

use crate::{postgres, redis};

/// A server on this store with cheap hashes, and with time limits that a busy machine meets.
fn server_on(store: Option<&str>) -> Server {
    let mut options = ServerOptions::new([("MFA_ARGON2_MEMORY_KIB", "1024"), ("MFA_REQUEST_TIMEOUT", "1m")]);
    options.environment.extend(store.map(|store| ("MFA_STORE".to_owned(), store.to_owned())));
    Server::with(binary!(), options)
}

fn in_memory() -> Server {
    server_on(Some("memory:"))
}

/// The client with a key for one call and its repetitions.
fn keyed(client: &Client, key: &str) -> Client {
    client.with_header("idempotency-key", key)
}

/// Offers a first TOTP factor; returns the authenticator and the path to confirm it.
async fn offered(client: &Client, user: &str) -> (Authenticator, String) {
    let offer = json!({ "kind": "hotp", "label": "Token" });
    let enrolment = client.post(&format!("/v1/users/{user}/factors"), offer).await.expect(201).json;
    let token = Authenticator::scan(&enrolment);
    let confirm = format!("/v1/users/{user}/factors/{}/confirm", token.factor);
    (token, confirm)
}

fn codes(answer: &Value) -> Vec<String> {
    let codes = answer["backup_codes"].as_array().unwrap();
    codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_confirm_and_to_backup_codes_is_given_again() {
    let server = server_on(None);
    let client = &server.client;
    let (token, confirm) = offered(client, "alice").await;
    let code = json!({ "code": token.hotp(0) });
    let first = keyed(client, "confirm-1").post(&confirm, code.clone()).await.expect(200);
    let again = keyed(client, "confirm-1").post(&confirm, code.clone()).await.expect(200);
    assert_eq!(first.text, again.text);
    assert_eq!(first.headers["content-type"], again.headers["content-type"]);
    // Without the key it is a different call, which returns no backup codes.
    assert!(client.post(&confirm, code).await.json["backup_codes"].is_null());
    let verified = client.verify("alice", &token.hotp(1)).await.expect(200);

    let (session, path) = (client.in_session(&verified), "/v1/users/alice/backup-codes");
    let issue = async |key| keyed(&session, key).send("POST", path, None).await.expect(201);
    let (first, again) = (issue("codes-1").await, issue("codes-1").await);
    assert_eq!(first.text, again.text);
    client.verify("alice", &codes(&again.json)[0]).await.expect(200);
    let other = issue("codes-2").await;
    assert_ne!(other.text, first.text);
    client.verify("alice", &codes(&first.json)[1]).await.expect_problem(401, "invalid-code");
    client.verify("alice", &codes(&other.json)[1]).await.expect(200);

    assert_eq!(client.count_events("alice", "factor_activated").await, 1);
    assert_eq!(client.count_events("alice", "backup_codes_issued").await, 3);

    // The answers are stored, and not in the clear.
    let kept: Vec<u8> = ["mfa.db", "mfa.db-wal"]
        .into_iter()
        .flat_map(|name| fs::read(server.data().join(name)).unwrap_or_default())
        .collect();
    let holds = |text: &str| kept.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("factor_activated"));
    for code in codes(&other.json).iter().chain(&codes(&first.json)) {
        assert!(!holds(code) && !holds(&code.replace('-', "")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_is_given_again_with_the_same_qr_code() {
    let server = in_memory();
    let client = &server.client;
    for form in ["none", "svg", "png", "text"] {
        let path = format!("/v1/users/{form}/factors");
        let offer = json!({ "kind": "totp", "label": "Phone", "qr": form });
        let first = keyed(client, "offer").post(&path, offer.clone()).await.expect(201);
        let again = keyed(client, "offer").post(&path, offer).await.expect(201);
        assert_eq!(first.text, again.text);
        assert_eq!(again.json["totp"][format!("qr_{form}")].is_string(), form != "none");
        // With another form, the body differs.
        let other = json!({ "kind": "totp", "label": "Phone" });
        keyed(client, "offer").post(&path, other).await.expect_problem(422, "invalid-request");
        assert_eq!(client.count_events(form, "enrolment_started").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_verification_and_new_backup_codes_are_the_way_out() {
    let server = in_memory();
    let client = &server.client;
    let (token, confirm) = offered(client, "alice").await;
    let code = json!({ "code": token.hotp(0) });
    let _lost = client.post(&confirm, code.clone()).await.expect(200);
    // The host application does not know the result, and asks.
    assert!(client.post(&confirm, code).await.status.is_client_error());
    let status = client.get("/v1/users/alice").await.expect(200).json;
    assert_eq!((&status["enrolled"], &status["factors"][0]["state"]), (&json!(true), &json!("active")));
    let path = "/v1/users/alice/backup-codes";
    client.send("POST", path, None).await.expect_problem(403, "proof-required");
    let session = client.in_session(&client.verify("alice", &token.hotp(1)).await.expect(200));
    let _lost = session.send("POST", path, None).await.expect(201);
    let issued = session.send("POST", path, None).await.expect(201);
    client.verify("alice", &codes(&issued.json)[0]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_made_once_and_answered_as_before() {
    let server = server_on(None);
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let proof = client.verify("alice", &token.hotp(1)).await.expect(200).json["assertion"].take();
    let user = "/v1/users/alice";
    let factor = format!("{user}/factors/{}", token.factor);
    let reason = || Some(json!({ "reason": "test" }).to_string());
    let two = Some(json!({ "codes": [token.hotp(4), token.hotp(5)] }).to_string());
    let label = |label: &str| Some(json!({ "label": label }).to_string());
    let calls = [
        (
            "alice",
            "POST",
            format!("{user}/factors"),
            Some(json!({ "kind": "totp", "label": "New", "proof": proof }).to_string()),
            201,
        ),
        ("alice", "POST", format!("{factor}/resynchronise"), two, 200),
        ("alice", "PATCH", factor.clone(), label("First"), 200),
        ("alice", "POST", format!("{user}/unlock"), reason(), 204),
        ("alice", "DELETE", factor.clone(), None, 204),
        ("alice", "POST", format!("{user}/reset"), reason(), 204),
        ("carol", "DELETE", "/v1/users/carol".to_owned(), None, 204),
    ];
    // Changes for the unlock and the erasure to undo.
    client.verify("alice", &token.wrong(0)).await.expect_problem(401, "invalid-code");
    client.enrol("carol", "hotp").await;
    for (user, method, path, body, status) in calls {
        let client = keyed(client, "the-same-key-for-all");
        let first = client.send(method, &path, body.clone()).await.expect(status);
        let events = client.events(user).await.len();
        let again = client.send(method, &path, body.clone()).await.expect(status);
        assert_eq!(first.text, again.text, "{method} {path}");
        assert_eq!(client.events(user).await.len(), events, "{method} {path}");
        let other = Some(body.map_or_else(|| "{}".to_owned(), |body| format!(" {body}")));
        client.send(method, &path, other).await.expect_problem(422, "invalid-request");
        assert_eq!(client.events(user).await.len(), events, "{method} {path}");
    }

    // A repeated call returns its first answer without renaming the factor again, even after another name was
    // set.
    let (token, _) = client.enrol("bob", "hotp").await;
    let factor = format!("/v1/users/bob/factors/{}", token.factor);
    let rename = async |client: &Client, name| client.send("PATCH", &factor, label(name)).await.expect(200);
    let first = rename(&keyed(client, "a"), "A").await;
    rename(&keyed(client, "b"), "B").await;
    assert_eq!(rename(&keyed(client, "a"), "A").await.text, first.text);
    let status = client.get("/v1/users/bob").await.expect(200).json;
    assert_eq!(status["factors"][0]["label"], "B");
    // The same key of another caller is a different key.
    let output = server.command(["api-key", "create", "--tenant", "default", "--scope", "enrol", "--json"]);
    let key: Value = serde_json::from_slice(&output.stdout).unwrap();
    let other = client.with_key(key["key"].as_str());
    rename(&keyed(&other, "a"), "A").await;
    assert_eq!(client.get("/v1/users/bob").await.expect(200).json["factors"][0]["label"], "A");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_with_another_body_changes_nothing() {
    let server = in_memory();
    let client = &server.client;
    let (token, confirm) = offered(client, "alice").await;
    let code = |counter| json!({ "code": token.hotp(counter) });
    let first = keyed(client, "k").post(&confirm, code(0)).await.expect(200);
    let refused = keyed(client, "k").post(&confirm, code(1)).await.expect_problem(422, "invalid-request");
    assert_eq!(refused.json["errors"][0]["field"], "Idempotency-Key");
    assert!(!refused.text.contains(&token.hotp(1)));
    assert_eq!(keyed(client, "k").post(&confirm, code(0)).await.expect(200).text, first.text);
    client.verify("alice", &token.hotp(1)).await.expect(200);
    // A rejection is not stored: the corrected call may use the same key.
    let (token, confirm) = offered(client, "bob").await;
    let wrong = json!({ "code": token.wrong(0) });
    keyed(client, "k").post(&confirm, wrong).await.expect_problem(401, "invalid-code");
    keyed(client, "k").post(&confirm, json!({ "code": token.hotp(0) })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_given_again_once_its_factor_counts_or_the_user_is_reset_or_erased() {
    let server = in_memory();
    let client = &server.client;
    let offer = json!({ "kind": "hotp", "label": "Token" });
    let factors = "/v1/users/alice/factors";
    let begin = async || keyed(client, "begin").post(factors, offer.clone()).await;
    let first = begin().await.expect(201);
    assert_eq!(begin().await.expect(201).text, first.text);
    assert_eq!(client.get("/v1/users/alice").await.json["factors"].as_array().unwrap().len(), 1);
    let token = Authenticator::scan(&first.json);
    let confirm = format!("{factors}/{}/confirm", token.factor);
    keyed(client, "confirm").post(&confirm, json!({ "code": token.hotp(0) })).await.expect(200);
    begin().await.expect_problem(403, "proof-required");

    let session = client.in_session(&client.verify("alice", &token.hotp(1)).await.expect(200));
    let issue = async || keyed(&session, "codes").send("POST", "/v1/users/alice/backup-codes", None).await;
    issue().await.expect(201);
    client.post("/v1/users/alice/reset", json!({ "reason": "test" })).await.expect(204);
    issue().await.expect_problem(409, "not-enrolled");
    assert_ne!(begin().await.expect(201).text, first.text);
    client.delete("/v1/users/alice").await.expect(204);
    assert_ne!(begin().await.expect(201).text, first.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_not_told_of_a_user_who_has_nothing_else() {
    let server = server_on(None);
    let client = &server.client;
    let factors = "/v1/users/alice/factors";
    let offer = json!({ "kind": "hotp", "label": "Token" });
    let begin = async || keyed(client, "begin").post(factors, offer.clone()).await.expect(201);
    let first = begin().await;
    let token = Authenticator::scan(&first.json);
    client.delete(&format!("{factors}/{}", token.factor)).await.expect(204);
    assert_ne!(begin().await.text, first.text, "the factor is gone");
    client.delete("/v1/users/alice").await.expect(204);

    let (token, _) = client.enrol("alice", "hotp").await;
    let rename = async || {
        let body = json!({ "label": "Ann's phone" }).to_string();
        keyed(client, "rename").send("PATCH", &format!("{factors}/{}", token.factor), Some(body)).await
    };
    rename().await.expect(200);
    client.post("/v1/users/alice/reset", json!({ "reason": "test" })).await.expect(204);
    rename().await.expect(200);
    client.delete("/v1/users/alice").await.expect(204);
    rename().await.expect_problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_changed_nothing_changes_nothing_later() {
    for store in [None, Some(postgres::database().await), Some(redis::url())] {
        let server = server_on(store.as_deref());
        let client = &server.client;
        let user = format!("alice-{}", std::process::id());
        let path = format!("/v1/users/{user}");
        let erase = async || keyed(client, "erase").delete(&path).await.expect(204);
        erase().await;
        let (token, _) = client.enrol(&user, "hotp").await;
        erase().await;
        client.verify(&user, &token.hotp(1)).await.expect(200);

        let unlock = async |reason| {
            let body = json!({ "reason": reason });
            keyed(client, "unlock").post(&format!("{path}/unlock"), body).await
        };
        unlock("a").await.expect(204);
        unlock("b").await.expect_problem(422, "invalid-request");
        client.verify(&user, &token.wrong(2)).await.expect_problem(401, "invalid-code");
        unlock("a").await.expect(204);
        assert_eq!(client.count_events(&user, "unlocked").await, 0);

        let label = client.get(&path).await.json["factors"][0]["label"].clone();
        let rename = async |client: &Client, label: &Value| {
            let body = json!({ "label": label }).to_string();
            client.send("PATCH", &format!("{path}/factors/{}", token.factor), Some(body)).await.expect(200)
        };
        rename(&keyed(client, "rename"), &label).await;
        rename(client, &json!("Other")).await;
        rename(&keyed(client, "rename"), &label).await;
        assert_eq!(client.get(&path).await.json["factors"][0]["label"], "Other");

        // The trail stays intact for users without any other data.
        let nobody = format!("{user}-nobody");
        keyed(client, "erase").delete(&format!("/v1/users/{nobody}")).await.expect(204);
        let verified = server.command(["audit", "verify"]);
        assert!(verified.status.success(), "{verified:?}");
        let shown = server.command(["user", "show", &nobody, "--tenant", "default"]);
        assert_eq!(shown.status.code(), Some(1), "{shown:?}");
        let listed = server.command(["user", "list", "--tenant", "default"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(&user) && !listed.contains(&nobody), "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_one_user_take_a_few_kilobytes() {
    let server = server_on(None);
    let client = &server.client;
    let (long, path) = ("n".repeat(200), "/v1/users/alice/factors");
    let offer = json!({ "kind": "totp", "label": "Phone", "issuer": long, "account_name": long });
    let begin = async |n| keyed(client, &format!("begin-{n}")).post(path, offer.clone()).await.expect(201);
    let offers = [begin(1).await, begin(2).await, begin(3).await];
    for (n, first) in (1..).zip(&offers) {
        assert_eq!(begin(n).await.text, first.text);
    }
    let url = format!("sqlite://{}?mode=ro", server.data().join("mfa.db").display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    let length: i64 =
        sqlx::query_scalar("SELECT max(length(answers)) FROM accounts").fetch_one(&database).await.unwrap();
    let given: usize = offers.iter().map(|offer| offer.text.len()).sum();
    assert!((1..8000).contains(&length) && given > 40_000, "{length} of {given} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_told_when_the_key_that_sealed_it_is_gone() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let factor = format!("/v1/users/alice/factors/{}", token.factor);
    let rename = async || {
        let body = json!({ "label": "Other" }).to_string();
        keyed(client, "rename").send("PATCH", &factor, Some(body)).await.expect(200).text
    };
    let first = rename().await;
    let run = |line: &str| {
        let output = match line.split(' ').collect::<Vec<_>>()[..] {
            [a, b] => server.command([a, b, "--json"]),
            [a, b, c] => server.command([a, b, c, "--json"]),
            _ => unreachable!(),
        };
        assert!(output.status.success(), "{line}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let keys = run("keys list");
    let old = keys[0]["id"].as_str().unwrap().to_owned();
    run("keys add");
    run("keys re-encrypt");
    run(&format!("keys remove {old}"));
    assert_eq!(rename().await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_calls_at_the_same_time_one_is_made() {
    at_the_same_time(server_on(None)).await;
    at_the_same_time(in_memory()).await;
    at_the_same_time(server_on(Some(&postgres::database().await))).await;
    at_the_same_time(server_on(Some(&redis::url()))).await;
}

async fn at_the_same_time(server: Server) {
    let client = &server.client;
    let (token, confirm) = offered(client, "alice").await;
    let code = json!({ "code": token.hotp(0) });
    let confirmed = join_all((0..2).map(|_| {
        let client = keyed(client, "confirm");
        let (confirm, code) = (confirm.clone(), code.clone());
        async move { client.post(&confirm, code).await }
    }));
    one_answer(confirmed.await, 200, &keyed(client, "confirm").post(&confirm, code.clone()).await.text);
    let session = client.in_session(&client.verify("alice", &token.hotp(1)).await.expect(200));

    let path = "/v1/users/alice/backup-codes";
    for round in 1..=5 {
        let client = keyed(&session, &format!("codes-{round}"));
        let issued = join_all((0..4).map(|_| client.send("POST", path, None))).await;
        let again = client.send("POST", path, None).await.expect(201);
        one_answer(issued, 201, &again.text);
        let issued = client.count_events("alice", "backup_codes_issued").await;
        assert_eq!(issued, round + 1, "calls were made twice");
    }
}

/// All get the answer of a later repetition, or are told to retry.
fn one_answer(answers: Vec<mfa_tests::Answer>, status: u16, text: &str) {
    let mut good = 0;
    for answer in answers {
        if answer.status.as_u16() == status {
            assert_eq!(answer.text, text);
            good += 1;
        } else {
            let busy = answer.expect_problem(503, "busy");
            assert!(busy.headers.contains_key("retry-after"));
        }
    }
    assert!(good >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_none_are_refused_and_a_verdict_takes_none() {
    let server = in_memory();
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let session = client.in_session(&client.verify("alice", &token.hotp(1)).await.expect(200));
    let path = "/v1/users/alice/backup-codes";
    let longest = "k".repeat(64);
    for key in ["", "two words", &"k".repeat(65)] {
        let refused = keyed(&session, key).send("POST", path, None).await;
        let refused = refused.expect_problem(422, "invalid-request");
        assert_eq!(refused.json["errors"][0]["field"], "Idempotency-Key");
    }
    let twice = keyed(&keyed(&session, "a"), "a");
    twice.send("POST", path, None).await.expect_problem(422, "invalid-request");
    assert_eq!(client.count_events("alice", "backup_codes_issued").await, 1);
    for key in ["!", "~", &longest] {
        keyed(&session, key).send("POST", path, None).await.expect(201);
    }

    let verify = "/v1/users/alice/verify";
    let code = json!({ "code": token.hotp(2) });
    let refused = keyed(client, "v").post(verify, code.clone()).await.expect_problem(422, "invalid-request");
    assert_eq!(refused.json["errors"][0]["field"], "Idempotency-Key");
    client.post(verify, code.clone()).await.expect(200);
    keyed(client, "v").post(verify, code.clone()).await.expect_problem(422, "invalid-request");
    client.post(verify, code).await.expect_problem(401, "invalid-code");
    // A call that changes nothing ignores the header.
    keyed(client, "two words").get("/v1/users/alice").await.expect(200);
}
