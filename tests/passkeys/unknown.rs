//! Nobody learns from a challenge or its answer who has a passkey.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use mfa_tests::{Client, SecurityKey, Server, ServerOptions, binary};
use serde_json::{Value, json};

use super::calls::{
    answer, begin, begin_without_user, bytes_of, confirm, log_in, log_in_without_user, offer, options,
    register, relying_party, state, status,
};
use crate::postgres;

fn server() -> Server {
    Server::with(binary!(), relying_party(ServerOptions::new([("MFA_STORE", "memory:")])))
}

async fn allowed(client: &Client, user: &str) -> Value {
    options(&begin(client, user).await)["allowCredentials"].clone()
}

/// What an answer shows apart from its values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        // One or more.
        Value::Array(elements) => json!([elements.first().map(shape)]),
        Value::String(_) => json!("text"),
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_in_no_account_is_told_so_only_where_no_user_was_named() {
    let server = server();
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    let stranger = key.another();
    log_in_without_user(client, &stranger).await.expect_problem(401, "unknown-credential");
    let as_alice = stranger.changed(|stranger| stranger.user_handle.clone_from(&key.user_handle));
    log_in_without_user(client, &as_alice).await.expect_problem(401, "unknown-credential");
    log_in(client, "alice", &as_alice).await.expect_problem(401, "invalid-credential");
    log_in(client, "nobody", &stranger).await.expect_problem(401, "invalid-credential");
    // One that is in an account is not, whatever is wrong with it.
    for wrong in [key.forged(), key.changed(|key| key.flags = 0), key.changed(|key| key.user_handle = None)] {
        log_in_without_user(client, &wrong).await.expect_problem(401, "invalid-credential");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_users_and_foreign_and_invented_credentials_get_the_same_answer() {
    let server = server();
    let client = &server.client;
    let (alices, _) = register(client, "alice").await;
    let (bobs, _) = register(client, "bob").await;
    client.enrol("carol", "totp").await;
    let invented = |begun: &Value| {
        let id = options(begun)["allowCredentials"][0]["id"].as_str().unwrap();
        let id = BASE64URL_NOPAD.decode(id.as_bytes()).unwrap();
        bobs.another().changed(|key| key.id = id)
    };
    let mut answers = BTreeSet::new();
    for user in ["alice", "bob", "carol", "nobody"] {
        let foreign = if user == "bob" { &alices } else { &bobs };
        let begun = begin(client, user).await;
        // To bob and alice, their own ids are offered: those are then forgeries.
        for key in
            [foreign, &foreign.changed(|key| key.user_handle = None), &foreign.another(), &invented(&begun)]
        {
            let begun = begin(client, user).await;
            let refused = answer(client, &begun, &key.get(options(&begun))).await;
            let refused = refused.expect_problem(401, "invalid-credential");
            assert_eq!(state(client, &begun).await, "over", "{user}");
            answers.insert((refused.headers.len(), bytes_of(&refused)));
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");

    // So it is with what says why.
    let mut answers = BTreeSet::new();
    for (user, key) in [("alice", &alices), ("bob", &alices), ("carol", &alices), ("nobody", &alices)] {
        let elsewhere = key.changed(|key| key.origin = "https://example.com".to_owned());
        answers.insert(bytes_of(&log_in(client, user, &elsewhere).await.expect(401)));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(status(client, "nobody").await["attempts_left"], 5);
    assert!(client.events("nobody").await.is_empty());
    log_in(client, "alice", &alices).await.expect(200);
}

/// A passkey of a stranger with the first id that options for a user ask for.
async fn holder(client: &Client, key: &SecurityKey, user: &str) -> SecurityKey {
    let id = allowed(client, user).await[0]["id"].as_str().unwrap().to_owned();
    key.another().changed(|key| key.id = BASE64URL_NOPAD.decode(id.as_bytes()).unwrap())
}

/// Not even whoever submits the ids of options in another place: they are answered as ids of somebody.
#[tokio::test(flavor = "multi_thread")]
async fn an_invented_credential_is_answered_like_one_in_an_account_where_no_user_is_named() {
    let server = server();
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    client.enrol("carol", "totp").await;
    let (mut answers, mut headers) = (BTreeSet::new(), BTreeSet::new());
    for user in ["alice", "carol", "nobody", "somebody"] {
        let holder = holder(client, &key, user).await;
        for holder in [&holder, &holder.changed(|holder| holder.user_handle.clone_from(&key.user_handle))] {
            let refused = log_in_without_user(client, holder).await;
            headers.insert(refused.headers.len());
            answers.insert(bytes_of(&refused.expect_problem(401, "invalid-credential")));
        }
    }
    assert_eq!((answers.len(), headers.len()), (1, 1), "{answers:?}");
    let stranger = key.another();
    log_in_without_user(client, &stranger).await.expect_problem(401, "unknown-credential");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invented_credential_cannot_be_registered_like_one_in_an_account() {
    let server = server();
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    let mut answers = BTreeSet::new();
    for user in ["alice", "nobody"] {
        let mut holder = holder(client, &key, user).await;
        let offered = offer(client, "mallory").await.expect(201).json;
        let created = holder.create(options(&offered));
        let refused = confirm(client, "mallory", &offered, &created).await;
        answers.insert(bytes_of(&refused.expect_problem(409, "handle-taken")));
        confirm(client, "mallory", &offered, &created).await.expect_problem(410, "challenge-over");
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(status(client, "mallory").await["enrolled"], false);
    register(client, "mallory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_for_a_user_without_a_passkey_look_like_those_for_one_with_a_passkey() {
    let server = server();
    let client = &server.client;
    register(client, "alice").await;
    client.enrol("carol", "totp").await;
    let real = shape(&begin(client, "alice").await);
    assert!(real["webauthn"]["publicKey"]["allowCredentials"][0]["transports"].is_array(), "{real}");
    let mut ids = BTreeSet::new();
    for number in 0..40 {
        let user = format!("user-{number}");
        let begun = begin(client, if number == 0 { "carol" } else { user.as_str() }).await;
        assert_eq!(shape(&begun), real, "{user}");
        for credential in options(&begun)["allowCredentials"].as_array().unwrap() {
            let id = BASE64URL_NOPAD.decode(credential["id"].as_str().unwrap().as_bytes()).unwrap();
            assert!((16..=64).contains(&id.len()), "{credential}");
            assert!(ids.insert(id), "two users have one credential");
        }
    }
    assert_eq!(begin(client, "nobody").await["challenge"]["kind"], "passkey");
    // A browser takes an empty list for any credential, of any user.
    let anybody = begin_without_user(client).await;
    assert_eq!(options(&anybody).get("allowCredentials"), None);
    assert_eq!(anybody.get("user"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_credentials_stay_the_same_on_every_server_and_with_every_key() {
    let url = postgres::database().await;
    let options = relying_party(ServerOptions::new([("MFA_STORE", url.as_str())]));
    let mut one = Server::with(binary!(), options.clone());
    let other = Server::in_folder(binary!(), one.data(), one.client.key(), options);
    one.client.enrol("carol", "totp").await;
    let users = ["carol", "nobody", "somebody"];
    let mut before = Vec::new();
    for user in users {
        let credentials = allowed(&one.client, user).await;
        for client in [&one.client, &other.client] {
            assert_eq!(allowed(client, user).await, credentials, "{user}");
        }
        before.push(credentials);
    }
    assert_ne!(before[1], before[2]);

    let keys = one.command(["keys", "list", "--json"]);
    let keys: Value = serde_json::from_slice(&keys.stdout).unwrap();
    let old = keys[0]["id"].as_str().unwrap();
    for output in [
        one.command(["keys", "add"]),
        one.command(["keys", "re-encrypt"]),
        one.command(["keys", "remove", old]),
    ] {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    one.terminate();
    one.restart();
    for (user, credentials) in users.into_iter().zip(before) {
        for client in [&one.client, &other.client] {
            assert_eq!(allowed(client, user).await, credentials, "{user}");
        }
    }
}

/// Those of another installation are others: nobody can compute them.
#[tokio::test(flavor = "multi_thread")]
async fn invented_credentials_come_from_a_secret_of_the_installation() {
    let [one, other] = [server(), server()];
    assert_ne!(allowed(&one.client, "nobody").await, allowed(&other.client, "nobody").await);
}

/// What was offered before a user had a passkey is not accepted afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_that_is_registered_meanwhile_answers_and_a_removed_one_does_not() {
    let server = server();
    let client = &server.client;
    let before = begin(client, "alice").await;
    let (key, factor) = register(client, "alice").await;
    // It belongs to the user whom the challenge names.
    answer(client, &before, &key.get(options(&before))).await.expect(200);
    let begun = begin(client, "alice").await;
    client.delete(&format!("/v1/users/alice/factors/{factor}")).await.expect(204);
    answer(client, &begun, &key.get(options(&begun))).await.expect_problem(401, "invalid-credential");
    log_in_without_user(client, &key).await.expect_problem(401, "unknown-credential");
}
