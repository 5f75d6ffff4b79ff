//! Challenges that passkeys answer: who sees and ends them, and what is no answer.

use std::time::Duration;

use mfa_tests::{Client, SecurityKey, Server, ServerOptions, binary};
use serde_json::{Value, json};

use super::calls::{
    ORIGIN, another_caller, answer, begin, begin_without_user, challenge, confirm, factor, log_in, offer,
    options, register, relying_party, state, status,
};
use crate::email_codes;
use crate::mail_server::MailServer;

fn server() -> Server {
    Server::with(binary!(), relying_party(ServerOptions::new([("MFA_STORE", "memory:")])))
}

/// The field that a refused request names.
fn field(refused: &Value) -> &str {
    refused["errors"][0]["field"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_shown_until_it_is_answered_or_cancelled() {
    let server = server();
    let client = &server.client;
    let (key, factor) = register(client, "alice").await;
    let of_factor = json!({ "factor": factor });
    let of_factor = client.post("/v1/users/alice/challenges", of_factor).await.expect(201).json;
    assert_eq!(options(&of_factor)["allowCredentials"][0]["id"], key.id());
    for (begun, user) in [
        (begin(client, "alice").await, json!("alice")),
        (of_factor, json!("alice")),
        (begin_without_user(client).await, Value::Null),
    ] {
        let path = challenge(&begun);
        let shown = client.get(&path).await.expect(200).json;
        assert_eq!((&shown["challenge"], &shown["user"]), (&begun["challenge"], &user));
        assert_eq!(
            (&shown["challenge"]["kind"], &shown["challenge"]["state"]),
            (&json!("passkey"), &json!("open"))
        );
        assert_eq!(shown.get("webauthn"), None);
        // There is nothing to send again.
        client.post(&format!("{path}/resend"), json!({})).await.expect_problem(404, "not-found");
        client.delete(&path).await.expect(204);
        client.delete(&path).await.expect(204);
        assert_eq!(state(client, &begun).await, "over");
        answer(client, &begun, &key.get(options(&begun))).await.expect_problem(410, "challenge-over");
    }
    assert_eq!(client.count_events("alice", "verified").await, 0);

    let begun = begin(client, "alice").await;
    let waiting = async { client.get(&format!("{}?wait=20", challenge(&begun))).await.expect(200).json };
    let answering = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        answer(client, &begun, &key.get(options(&begun))).await.expect(200)
    };
    let both = async { tokio::join!(waiting, answering) };
    let (shown, _) = tokio::time::timeout(Duration::from_secs(15), both).await.expect("it does not tell");
    assert_eq!(shown["challenge"]["state"], "over");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_other_kind_is_refused_by_field_and_the_challenge_stays_open() {
    let mails = MailServer::start(&json!({}));
    let server = Server::with(binary!(), relying_party(email_codes::mailing(mails.port)));
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    let mail = email_codes::enrol(client, &mails, "eve").await;
    let sent = email_codes::begin(client, "eve", &mail).await;
    let code = email_codes::code(&mails.mail());
    for begun in [begin(client, "alice").await, begin_without_user(client).await] {
        let asserted = key.get(options(&begun));
        let verify = format!("{}/verify", challenge(&begun));
        let refused =
            client.post(&verify, json!({ "code": code })).await.expect_problem(422, "invalid-request");
        assert_eq!(field(&refused.json), "code");
        let both = json!({ "code": code, "credential": asserted });
        let refused = client.post(&verify, both).await.expect_problem(422, "invalid-request");
        assert_eq!(field(&refused.json), "credential");
        let verify = format!("/v1/challenges/{sent}/verify");
        let refused = client.post(&verify, json!({ "credential": asserted })).await;
        assert_eq!(field(&refused.expect_problem(422, "invalid-request").json), "credential");
        answer(client, &begun, &asserted).await.expect(200);
    }
    email_codes::answer(client, &sent, &code).await.expect(200);
    for user in ["alice", "eve"] {
        assert_eq!(status(client, user).await["attempts_left"], 5, "{user}");
    }
}

/// Nor does a challenge of one ceremony take what the other returned.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_and_an_authentication_do_not_answer_each_other() {
    let server = server();
    let client = &server.client;
    let (key, active) = register(client, "alice").await;
    let session = client.in_session(&log_in(client, "alice", &key).await.expect(200));
    let offered = offer(&session, "alice").await.expect(201).json;
    let mut new = SecurityKey::new(ORIGIN);
    let created = new.create(options(&offered));
    // The options of a registration name the relying party elsewhere.
    let mut asking = options(&offered).clone();
    asking["rpId"] = json!("example.com");
    let asserted = key.get(&asking);
    answer(client, &offered, &asserted).await.expect_problem(404, "not-found");
    let refused = answer(client, &offered, &created).await.expect_problem(422, "invalid-request");
    assert_eq!(field(&refused.json), "credential");
    let refused = confirm(client, "alice", &offered, &asserted).await.expect_problem(422, "invalid-request");
    assert_eq!(field(&refused.json), "credential");
    let path = format!("/v1/users/alice/factors/{}/confirm", factor(&offered));
    client.post(&path, json!({ "code": "123456" })).await.expect_problem(422, "malformed-code");
    let active = json!({ "factor": { "id": active } });
    confirm(client, "alice", &active, &created).await.expect_problem(409, "already-active");
    assert_eq!(state(client, &offered).await, "open");
    confirm(client, "alice", &offered, &created).await.expect(200);

    let begun = begin(client, "alice").await;
    // Signed for the other ceremony.
    let mut asking = options(&begun).clone();
    asking["rp"] = json!({ "id": "example.com" });
    asking["user"] = json!({ "id": key.user_handle });
    let mut stated = key.get(options(&begun));
    stated["response"]["clientDataJSON"] = key.clone().create(&asking)["response"]["clientDataJSON"].clone();
    let refused = answer(client, &begun, &stated).await.expect_problem(401, "invalid-credential");
    assert!(refused.json["detail"].as_str().unwrap().contains("other ceremony"), "{}", refused.text);
}

/// Each names a member of the credential, which makes it unreadable.
fn unreadable(credential: &Value) -> Vec<(Value, &'static str)> {
    let with = |pointer: &str, value: Value| {
        let mut changed = credential.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    vec![
        (json!({}), "credential"),
        (json!("credential"), "credential"),
        (json!(7), "credential"),
        (with("/response", Value::Null), "credential"),
        (with("/response", json!({})), "credential"),
        (with("/response/clientDataJSON", json!(["e30"])), "credential"),
        (with("/type", json!("password")), "credential.type"),
        (with("/id", json!("not base64url")), "credential.id"),
        (with("/rawId", json!("AAAA")), "credential.rawId"),
        (with("/response/clientDataJSON", json!("§")), "credential.response.clientDataJSON"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_cannot_be_read_is_refused_by_field_and_the_challenge_stays_open() {
    let server = server();
    let client = &server.client;
    let offered = offer(client, "alice").await.expect(201).json;
    let mut key = SecurityKey::new(ORIGIN);
    let created = key.create(options(&offered));
    for (credential, name) in unreadable(&created) {
        let refused = confirm(client, "alice", &offered, &credential).await;
        assert_eq!(field(&refused.expect_problem(422, "invalid-request").json), name, "{credential}");
    }
    assert_eq!(state(client, &offered).await, "open");
    confirm(client, "alice", &offered, &created).await.expect(200);

    let begun = begin(client, "alice").await;
    let asserted = key.get(options(&begun));
    let long = json!("A".repeat(88));
    let mut long_handle = asserted.clone();
    long_handle["response"]["userHandle"] = long;
    let more = [(long_handle, "credential.response.userHandle"), (Value::Null, "code")];
    for (credential, name) in unreadable(&asserted).into_iter().chain(more) {
        let refused = answer(client, &begun, &credential).await;
        assert_eq!(field(&refused.expect_problem(422, "invalid-request").json), name, "{credential}");
    }
    assert_eq!(state(client, &begun).await, "open");
    answer(client, &begun, &asserted).await.expect(200);
}

/// Password managers add members, leave some out, and encode bytes in their own way.
#[tokio::test(flavor = "multi_thread")]
async fn what_password_managers_change_is_accepted() {
    let server = server();
    let client = &server.client;
    let offered = offer(client, "alice").await.expect(201).json;
    let mut key = SecurityKey::new(ORIGIN);
    let mut created = key.create(options(&offered));
    created["extensions"] = json!({ "credProps": { "rk": true } });
    created["clientExtensionResults"] = Value::Null;
    created["response"]["transports"] = Value::Null;
    created["response"]["publicKeyAlgorithm"] = json!(-7);
    confirm(client, "alice", &offered, &created).await.expect(200);
    let changes: [fn(&mut Value); 4] = [
        |credential| drop(credential.as_object_mut().unwrap().remove("rawId")),
        |credential| credential["response"]["signature"] = padded(&credential["response"]["signature"]),
        |credential| credential["response"]["more"] = json!([1]),
        |credential| drop(credential.as_object_mut().unwrap().remove("clientExtensionResults")),
    ];
    for change in changes {
        let begun = begin(client, "alice").await;
        let mut asserted = key.get(options(&begun));
        change(&mut asserted);
        answer(client, &begun, &asserted).await.expect(200);
    }
}

/// In base64 instead of base64url, with its padding.
fn padded(base64url: &Value) -> Value {
    let text = base64url.as_str().unwrap().replace('-', "+").replace('_', "/");
    json!(format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_16_kib_is_refused_and_the_challenge_stays_open() {
    let server = server();
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    let begun = begin(client, "alice").await;
    let asserted = key.get(options(&begun));
    let filled = |bytes: usize| {
        let mut filled = asserted.clone();
        filled["filling"] = json!("");
        let rest = bytes - json!({ "credential": filled }).to_string().len();
        filled["filling"] = json!("x".repeat(rest));
        filled
    };
    answer(client, &begun, &filled(16 * 1024 + 1)).await.expect_problem(413, "payload-too-large");
    assert_eq!(state(client, &begun).await, "open");
    answer(client, &begun, &filled(16 * 1024)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_api_key_neither_sees_nor_answers_nor_cancels_a_challenge() {
    // Its keys can be made on the command line.
    let server = Server::with(binary!(), relying_party(ServerOptions::default()));
    let client = &server.client;
    let verifier = another_caller(&server, "verify");
    let enroller = another_caller(&server, "enrol");
    let offered = offer(client, "alice").await.expect(201).json;
    let mut key = SecurityKey::new(ORIGIN);
    let created = key.create(options(&offered));
    confirm(&enroller, "alice", &offered, &created).await.expect_problem(404, "not-found");
    confirm(client, "alice", &offered, &created).await.expect(200);
    for begun in [begin(client, "alice").await, begin_without_user(client).await] {
        let asserted = key.get(options(&begun));
        answer(&verifier, &begun, &asserted).await.expect_problem(404, "not-found");
        verifier.get(&challenge(&begun)).await.expect_problem(404, "not-found");
        verifier.delete(&challenge(&begun)).await.expect_problem(404, "not-found");
        answer(&enroller, &begun, &asserted).await.expect_problem(403, "forbidden");
        answer(client, &begun, &asserted).await.expect(200);
    }
}

/// A client that repeats its calls.
fn repeating(client: &Client, key: &str) -> Client {
    client.with_header("idempotency-key", key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_gets_the_same_options_and_a_verdict_is_never_repeated() {
    let server = server();
    let client = &server.client;
    let first = offer(&repeating(client, "offer"), "alice").await.expect(201);
    let again = offer(&repeating(client, "offer"), "alice").await.expect(201);
    assert_eq!(first.text, again.text);
    let other = offer(&repeating(client, "another"), "alice").await.expect(201);
    assert_ne!(options(&other.json)["challenge"], options(&first.json)["challenge"]);
    assert_eq!(options(&other.json)["user"], options(&first.json)["user"]);
    let mut key = SecurityKey::new(ORIGIN);
    let created = key.create(options(&again.json));
    let confirming = repeating(client, "confirm");
    let confirmed = confirm(&confirming, "alice", &first.json, &created).await.expect(200);
    assert_eq!(confirm(&confirming, "alice", &first.json, &created).await.expect(200).text, confirmed.text);
    assert_eq!(client.count_events("alice", "factor_activated").await, 1);

    for user in ["alice", "nobody"] {
        let begun = begin(&repeating(client, "begin"), user).await;
        assert_eq!(begin(&repeating(client, "begin"), user).await, begun, "{user}");
    }
    let begun = begin(client, "alice").await;
    let asserted = key.get(options(&begun));
    let refused = answer(&repeating(client, "verify"), &begun, &asserted).await;
    assert_eq!(field(&refused.expect_problem(422, "invalid-request").json), "Idempotency-Key");
    answer(client, &begun, &asserted).await.expect(200);
}
