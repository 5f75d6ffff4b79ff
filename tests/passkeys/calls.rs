//! The calls that a backend makes for passkeys.

use mfa_tests::{Answer, Client, SecurityKey, Server, ServerOptions};
use serde_json::{Value, json};

/// The only page of the relying party.
pub(crate) const ORIGIN: &str = "https://login.example.com";

/// Adds the relying party `example.com`, with [`ORIGIN`] as its only origin.
pub(crate) fn relying_party(options: ServerOptions) -> ServerOptions {
    let origins = format!("[\"{ORIGIN}\"]");
    options.and([("MFA_WEBAUTHN_RP_ID", "example.com"), ("MFA_WEBAUTHN_ORIGINS", origins.as_str())])
}

/// Offers a passkey.
pub(crate) async fn offer(client: &Client, user: &str) -> Answer {
    client.post(&format!("/v1/users/{user}/factors"), json!({ "kind": "passkey" })).await
}

/// Confirms the passkey of an answered offer.
pub(crate) async fn confirm(client: &Client, user: &str, offered: &Value, credential: &Value) -> Answer {
    let path = format!("/v1/users/{user}/factors/{}/confirm", factor(offered));
    client.post(&path, json!({ "credential": credential })).await
}

/// Registers a new passkey; returns it and its factor.
pub(crate) async fn register(client: &Client, user: &str) -> (SecurityKey, String) {
    let mut key = SecurityKey::new(ORIGIN);
    let factor = register_as(client, user, &mut key).await;
    (key, factor)
}

/// Registers this passkey; returns its factor.
pub(crate) async fn register_as(client: &Client, user: &str, key: &mut SecurityKey) -> String {
    let offered = offer(client, user).await.expect(201).json;
    confirm(client, user, &offered, &key.create(options(&offered))).await.expect(200);
    factor(&offered).to_owned()
}

/// Begins a challenge for any passkey of a user.
pub(crate) async fn begin(client: &Client, user: &str) -> Value {
    let path = format!("/v1/users/{user}/challenges");
    client.post(&path, json!({ "kind": "passkey" })).await.expect(201).json
}

/// Begins a challenge without a user.
pub(crate) async fn begin_without_user(client: &Client) -> Value {
    client.post("/v1/challenges", json!({ "kind": "passkey" })).await.expect(201).json
}

/// Answers a challenge that was begun.
pub(crate) async fn answer(client: &Client, begun: &Value, credential: &Value) -> Answer {
    client.post(&format!("{}/verify", challenge(begun)), json!({ "credential": credential })).await
}

/// Logs a user in with this passkey.
pub(crate) async fn log_in(client: &Client, user: &str, key: &SecurityKey) -> Answer {
    let begun = begin(client, user).await;
    answer(client, &begun, &key.get(options(&begun))).await
}

/// Logs in whom this passkey names.
pub(crate) async fn log_in_without_user(client: &Client, key: &SecurityKey) -> Answer {
    let begun = begin_without_user(client).await;
    answer(client, &begun, &key.get(options(&begun))).await
}

/// The status of a user.
pub(crate) async fn status(client: &Client, user: &str) -> Value {
    client.get(&format!("/v1/users/{user}")).await.expect(200).json
}

/// The state of a challenge that was begun.
pub(crate) async fn state(client: &Client, begun: &Value) -> String {
    let status = client.get(&challenge(begun)).await.expect(200);
    status.json["challenge"]["state"].as_str().unwrap().to_owned()
}

/// The options for the browser.
pub(crate) fn options(begun: &Value) -> &Value {
    &begun["webauthn"]["publicKey"]
}

/// The factor of an answered offer.
pub(crate) fn factor(offered: &Value) -> &str {
    offered["factor"]["id"].as_str().unwrap()
}

/// The path of a challenge that was begun.
pub(crate) fn challenge(begun: &Value) -> String {
    format!("/v1/challenges/{}", begun["challenge"]["id"].as_str().unwrap())
}

/// A problem without what differs in each answer.
pub(crate) fn bytes_of(problem: &Answer) -> String {
    problem.text.replace(problem.json["request_id"].as_str().unwrap(), "")
}

/// A client with another key of the same tenant.
pub(crate) fn another_caller(server: &Server, scope: &str) -> Client {
    let output = server.command(["api-key", "create", "--tenant", "default", "--scope", scope, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    server.client.with_key(made["key"].as_str())
}
