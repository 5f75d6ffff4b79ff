//! The life of passkeys: what browsers are told after each change, what ends with the user, and what no log holds.

use data_encoding::BASE64URL_NOPAD;
use mfa_tests::{Client, SecurityKey, Server, ServerOptions, binary};
use serde_json::{Value, json};

use super::calls::{
    ORIGIN, answer, begin, confirm, log_in, log_in_without_user, offer, options, register, relying_party,
    status,
};

fn server() -> Server {
    Server::with(binary!(), relying_party(ServerOptions::new([("MFA_STORE", "memory:")])))
}

/// Registers a passkey with these names; returns it and the answer.
async fn named(client: &Client, names: Value) -> (SecurityKey, Value) {
    let mut body = json!({ "kind": "passkey" });
    body.as_object_mut().unwrap().extend(names.as_object().unwrap().clone());
    let offered = client.post("/v1/users/alice/factors", body).await.expect(201).json;
    let mut key = SecurityKey::new(ORIGIN);
    let created = key.create(options(&offered));
    (key, confirm(client, "alice", &offered, &created).await.expect(200).json)
}

fn told(key: &SecurityKey, name: &str, display_name: &str, accepted: &[String]) -> Value {
    json!({
        "rp_id": "example.com",
        "user_id": key.user_handle,
        "name": name,
        "display_name": display_name,
        "accepted_credential_ids": accepted,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_the_accepted_passkeys_and_the_names_after_each_change() {
    let server = server();
    let client = &server.client;
    let passkeys = async || status(client, "alice").await["passkeys"].take();
    assert_eq!(passkeys().await, Value::Null);
    let names = json!({ "account_name": "alice@example.com", "display_name": "Alice Liddell" });
    let (first, confirmed) = named(client, names).await;
    let expected = told(&first, "alice@example.com", "Alice Liddell", &[first.id()]);
    assert_eq!((&confirmed["passkeys"], &passkeys().await), (&expected, &expected));

    let session = client.in_session(&log_in(client, "alice", &first).await.expect(200));
    let names = json!({ "account_name": "alice@example.com", "display_name": "Alice Liddell" });
    let (second, confirmed) = named(&session, names).await;
    assert_eq!(second.user_handle, first.user_handle);
    let both = told(&first, "alice@example.com", "Alice Liddell", &[first.id(), second.id()]);
    assert_eq!((&confirmed["passkeys"], &passkeys().await), (&both, &both));
    // A refused one changes nothing.
    let offered = offer(client, "bob").await.expect(201).json;
    let stolen = second.clone().create(options(&offered));
    confirm(client, "bob", &offered, &stolen).await.expect_problem(409, "handle-taken");
    assert_eq!(passkeys().await, both);

    let renamed = json!({ "account_name": "liddell@example.com", "display_name": "Alice L." });
    let (third, confirmed) = named(&session, renamed).await;
    let all = [first.id(), second.id(), third.id()];
    let expected = told(&first, "liddell@example.com", "Alice L.", &all);
    assert_eq!((&confirmed["passkeys"], &passkeys().await), (&expected, &expected));

    let factors = status(client, "alice").await["factors"].take();
    let path = format!("/v1/users/alice/factors/{}", factors[1]["id"].as_str().unwrap());
    client.delete(&path).await.expect(204);
    let left = told(&first, "liddell@example.com", "Alice L.", &[first.id(), third.id()]);
    assert_eq!(passkeys().await, left);
    client.post("/v1/users/alice/reset", json!({ "reason": "lost" })).await.expect(204);
    assert_eq!(passkeys().await, told(&first, "liddell@example.com", "Alice L.", &[]));
    client.delete("/v1/users/alice").await.expect(204);
    assert_eq!(passkeys().await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_names_the_user_id_is_shown() {
    let server = server();
    let client = &server.client;
    let (key, confirmed) = named(client, json!({})).await;
    assert_eq!(confirmed["passkeys"], told(&key, "alice", "alice", &[key.id()]));
    let handle = BASE64URL_NOPAD.decode(key.user_handle.unwrap().as_bytes()).unwrap();
    assert_eq!(handle.len(), 32);
    assert!(
        !handle.windows(5).any(|window| window == b"alice"),
        "an authenticator would show who its user is"
    );
}

/// Otherwise browsers would be told to rename the passkeys that the user has.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_were_given_once_are_kept() {
    let server = server();
    let client = &server.client;
    let names = json!({ "account_name": "alice@example.com", "display_name": "Alice Liddell" });
    let (first, _) = named(client, names).await;
    let session = client.in_session(&log_in(client, "alice", &first).await.expect(200));
    let (second, confirmed) = named(&session, json!({ "label": "Second" })).await;
    let ids = [first.id(), second.id()];
    assert_eq!(confirmed["passkeys"], told(&first, "alice@example.com", "Alice Liddell", &ids));
}

#[tokio::test(flavor = "multi_thread")]
async fn passkeys_end_with_their_user_and_whoever_has_the_id_later_is_another() {
    let server = server();
    let client = &server.client;
    let (old, _) = register(client, "alice").await;
    let begun = begin(client, "alice").await;
    client.delete("/v1/users/alice").await.expect(204);
    answer(client, &begun, &old.get(options(&begun))).await.expect_problem(401, "invalid-credential");
    log_in_without_user(client, &old).await.expect_problem(401, "unknown-credential");

    let (new, _) = register(client, "alice").await;
    assert_ne!(new.user_handle, old.user_handle);
    let imposter = old.changed(|old| old.user_handle.clone_from(&new.user_handle));
    for old in [&old, &imposter] {
        log_in(client, "alice", old).await.expect_problem(401, "invalid-credential");
        log_in_without_user(client, old).await.expect_problem(401, "unknown-credential");
    }
    let allowed = options(&begin(client, "alice").await)["allowCredentials"].clone();
    assert_eq!((&allowed[0]["id"], &allowed[1]), (&json!(new.id()), &Value::Null));
    log_in_without_user(client, &new).await.expect(200);
    assert_eq!(client.count_events("alice", "verified").await, 1);
    // The credential is free: its authenticator may register it again.
    let offered = offer(client, "bob").await.expect(201).json;
    confirm(client, "bob", &offered, &old.clone().create(options(&offered))).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_was_open_when_the_user_was_erased_or_reset_confirms_nothing() {
    let server = server();
    let client = &server.client;
    for (user, reset) in [("alice", true), ("bob", false)] {
        let offered = offer(client, user).await.expect(201).json;
        let created = SecurityKey::new(ORIGIN).create(options(&offered));
        if reset {
            client.post(&format!("/v1/users/{user}/reset"), json!({ "reason": "lost" })).await.expect(204);
        } else {
            client.delete(&format!("/v1/users/{user}")).await.expect(204);
        }
        confirm(client, user, &offered, &created).await.expect_problem(404, "not-found");
        assert_eq!(status(client, user).await["enrolled"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_replaced_by_another() {
    let server = server();
    let client = &server.client;
    let (old, replaced) = register(client, "alice").await;
    let session = client.in_session(&log_in(client, "alice", &old).await.expect(200));
    let (new, confirmed) = named(&session, json!({ "label": "New", "replaces": replaced })).await;
    assert_eq!(confirmed["passkeys"]["accepted_credential_ids"], json!([new.id()]));
    assert_eq!(confirmed["factor"]["label"], "New");
    log_in(client, "alice", &old).await.expect_problem(401, "invalid-credential");
    log_in(client, "alice", &new).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_and_no_event_holds_a_challenge_or_what_was_signed() {
    for format in ["text", "json"] {
        let options_of = ServerOptions::new([("MFA_LOG", "trace"), ("MFA_LOG_FORMAT", format)]);
        let server = Server::with(binary!(), relying_party(options_of));
        let client = &server.client;
        let (mut key, mut asked, mut returned) = (SecurityKey::new(ORIGIN), Vec::new(), Vec::new());
        for (origin, expected) in [("https://example.com", 401), (ORIGIN, 200)] {
            let offered = offer(client, "alice").await.expect(201).json;
            origin.clone_into(&mut key.origin);
            let credential = key.create(options(&offered));
            confirm(client, "alice", &offered, &credential).await.expect(expected);
            asked.push(options(&offered)["challenge"].clone());
            returned.push(credential);
        }
        for (key, expected) in [(&key.forged(), 401), (&key, 200)] {
            let begun = begin(client, "alice").await;
            let credential = key.get(options(&begun));
            answer(client, &begun, &credential).await.expect(expected);
            answer(client, &begun, &credential).await.expect(410);
            let mut malformed = credential.clone();
            malformed["type"] = malformed["response"]["signature"].clone();
            answer(client, &begun, &malformed).await.expect(422);
            asked.push(options(&begun)["challenge"].clone());
            returned.push(credential);
        }
        let log = server.log();
        assert!(log.contains("TRACE"), "the log is not at trace: {log}");
        let events = client.get("/v1/events?limit=1000").await.expect(200).text;
        let members = ["clientDataJSON", "attestationObject", "authenticatorData", "signature"];
        let signed = returned.iter().flat_map(|credential| members.map(|name| &credential["response"][name]));
        let secret: Vec<_> = asked.iter().chain(signed).filter_map(Value::as_str).collect();
        assert_eq!(secret.len(), 4 + 2 * 2 + 2 * 3);
        for text in secret {
            assert!(!log.contains(text), "the log holds {text}");
            assert!(!events.contains(text), "the trail holds {text}");
        }
    }
}
