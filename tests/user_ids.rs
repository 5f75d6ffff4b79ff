//! User ids as identity providers create them, from the path of a request to the last byte of an export.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;

use data_encoding::BASE64URL_NOPAD;
use mfa_tests::{Client, Server, ServerOptions, binary};
use serde_json::{Value, json};

use crate::museum::{head, raw, stores, swift};
use crate::nginx::Nginx;

/// Ids that differ only in ways that some program on the way might ignore.
const IDS: [&str; 30] = [
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "o'brien@example.com",
    "CORP\\ann",
    "CORP/ann",
    "cn=a b,ou=people",
    "ann#EXT#@x.onmicrosoft.com",
    "dXNlcjox==",
    "a/b",
    "a//b",
    "a/../b",
    ".",
    "..",
    "...",
    "~",
    "a b",
    "a+b",
    "a%20b",
    "a%2Fb",
    "%2e%2e",
    "a;b=c?d&e",
    "{a}",
    "}a{",
    "a}:user",
    "*",
    "\"' OR 1=1 --",
    "<a>`^",
    "Älice",
    "älice",
    "アリス",
    "أليس",
];

/// The path segment that names a user.
fn segment(id: &str) -> String {
    if id.contains(['/', '\\', '<', '>', '`', '"']) || id.starts_with('~') || [".", ".."].contains(&id) {
        return format!("~{}", BASE64URL_NOPAD.encode(id.as_bytes()));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    id.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn longest() -> [String; 2] {
    ["\u{1F511}".repeat(63) + "abc", "/".repeat(255)]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_is_a_user_of_its_own_in_every_store_trail_and_export() {
    for store in stores().await {
        let server = Server::with(binary!(), swift([("MFA_STORE", &store)]));
        let client = &server.client;
        let longest = longest();
        let ids: Vec<&str> = IDS.into_iter().chain(longest.iter().map(String::as_str)).collect();
        for id in &ids {
            let user = segment(id);
            let before = client.get(&format!("/v1/users/{user}")).await.expect(200).json;
            assert_eq!((&before["user"], &before["enrolled"]), (&json!(id), &json!(false)), "{store} {id}");
            let (token, _) = client.enrol(&user, "hotp").await;
            client.verify(&user, &token.hotp(1)).await.expect(200);
            let encoded = format!("~{}", BASE64URL_NOPAD.encode(id.as_bytes()));
            client.verify(&encoded, &token.hotp(1)).await.expect_problem(401, "invalid-code");
        }
        for id in &ids {
            let events = client.events(&segment(id)).await;
            assert_eq!(events.len(), 5, "{store} {id}");
            assert!(events.iter().all(|event| event["user"] == *id), "{store} {id}");
        }
        if store == "memory:" {
            continue;
        }
        // Commands read ids in one way, whatever the store.
        if store.starts_with("sqlite:") {
            shown_by_commands(&server, &ids);
        }
        exported_and_sealed(&server, ids.len());
    }
}

fn shown_by_commands(server: &Server, ids: &[&str]) {
    for id in ids.iter().filter(|id| !id.starts_with('-')) {
        let shown = server.command(["user", "show", id, "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!((&shown["user"], &shown["enrolled"]), (&json!(id), &json!(true)), "{id}");
        let shown = server.command(["user", "show", id]).stdout;
        assert!(shown.iter().all(|byte| *byte == b'\n' || (b' '..=b'~').contains(byte)), "{id}");
    }
    let refused = server.command(["user", "show", "a\n"]);
    assert_eq!(refused.status.code(), Some(2));
}

fn exported_and_sealed(server: &Server, users: usize) {
    let path = |name: &str| server.data().join(name).to_str().unwrap().to_owned();
    let (export, checkpoint) = (path("export.jsonl"), path("checkpoint"));
    let run = |arguments: [&str; 4]| {
        let output = server.command(arguments);
        assert!(output.status.success(), "{arguments:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(["audit", "export", "--out", &export]);
    // And the event of the key that signs assertions, in the account of the installation.
    let (accounts, events) = (users + 1, users * 5 + 1);
    assert_eq!(fs::read_to_string(&export).unwrap().lines().count(), events);
    let held = format!("{accounts} accounts and {events} events");
    assert!(run(["audit", "verify", "--export", &export]).starts_with(&held));
    run(["audit", "checkpoint", "--out", &checkpoint]);
    assert!(run(["audit", "verify", "--checkpoint", &checkpoint]).starts_with(&held));
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_else_is_no_user_and_changes_nothing() {
    let server = Server::start(binary!());
    let client = &server.client;
    for user in [
        "~",
        "~YS9i=",
        "~YS9i%3D",
        "~a/b",
        "~alice",
        "~_w",
        "~IGE",
        "a%2Fb",
        "a%2fb",
        "a%5Cb",
        "%2E",
        "%2E%2E",
        "%2E%2e",
        "%20a",
        "a%20",
        "%C2%A0",
        "a%00",
        "a%0A",
        "a%7F",
        "a%E2%80%8B",
        "a%E2%80%AE",
        "%EF%BB%BFa",
        "a%EE%80%80",
        "a%CD%B8",
        "A%CC%88",
        "%FF",
        "%C3",
        "%ED%A0%80",
        &"a".repeat(256),
        &"%C3%A4".repeat(128),
    ] {
        // As raw bytes, since clients resolve dots.
        for (method, path) in [("GET", ""), ("POST", "/verify"), ("POST", "/factors"), ("DELETE", "")] {
            let request =
                head(&server, method, &format!("/v1/users/{user}{path}")) + "Content-Length: 0\r\n\r\n";
            let answer = raw(&server, request.as_bytes());
            let status = if user == "~a/b" { ["404", "405"] } else { ["422", "422"] };
            assert!(
                status.iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status}"))),
                "{user} {answer}"
            );
        }
    }
    assert_eq!(client.get("/v1/events").await.expect(200).json["events"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_case_is_folded_one_user_has_one_account_and_the_first_key_of_the_tenant_fixes_that() {
    for store in stores().await {
        let mut server = Server::with(binary!(), swift([("MFA_STORE", &store), ("MFA_USERS_CASE", "fold")]));
        folds(&server.client).await;
        if store == "memory:" {
            continue;
        }
        server.terminate();
        let options = swift([("MFA_STORE", &store)]);
        let exact = Server::in_folder(binary!(), server.data(), server.client.key(), options);
        stays_folded(&exact).await;
    }
}

async fn folds(client: &Client) {
    let (token, _) = client.enrol("Alice%40Example.com", "hotp").await;
    let status = client.get("/v1/users/aLICE%40example.COM").await.expect(200).json;
    assert_eq!((&status["user"], &status["enrolled"]), (&json!("alice@example.com"), &json!(true)));
    client.verify("ALICE%40EXAMPLE.COM", &token.hotp(1)).await.expect(200);
    client.verify("alice%40example.com", &token.hotp(1)).await.expect_problem(401, "invalid-code");
    let encoded = format!("~{}", BASE64URL_NOPAD.encode(b"Alice@Example.com"));
    client.verify(&encoded, &token.hotp(2)).await.expect(200);
    let events = client.events("alice%40Example.com").await;
    assert!(
        events.len() > 5 && events.iter().all(|event| event["user"] == "alice@example.com"),
        "{events:?}"
    );
    // Another spelling gives a guesser no more attempts.
    for (number, user) in ["Alice", "aLice", "alIce", "aliCe", "alicE"].into_iter().enumerate() {
        let wrong = client.verify(&format!("{user}%40example.com"), &token.wrong(number)).await;
        wrong.expect_problem(401, "invalid-code");
    }
    client.verify("ALICE%40example.com", &token.hotp(3)).await.expect_problem(429, "locked");
    // Letters that differ by more than case stay different.
    client.enrol("%C3%84nne", "hotp").await;
    assert_eq!(client.get("/v1/users/%C3%A4nne").await.expect(200).json["enrolled"], false);
    assert_eq!(client.get("/v1/users/%C3%84NNE").await.expect(200).json["enrolled"], true);
    // An id that would fold to an invalid id is rejected.
    client.get("/v1/users/H%CC%B1").await.expect_problem(422, "invalid-request");
}

/// Server and commands are configured to compare exactly, but the tenant `default` had its first key before.
async fn stays_folded(server: &Server) {
    let make = |tenant: &str| {
        let output = server.command(["api-key", "create", "--tenant", tenant, "--scope", "verify", "--json"]);
        let key: Value = serde_json::from_slice(&output.stdout).unwrap();
        let key = key["key"].as_str().unwrap().to_owned();
        (server.client.with_key(Some(&key)), String::from_utf8(output.stderr).unwrap())
    };
    let (client, told) = make("default");
    assert!(told.contains("users.case = \"exact\" does not apply to tenant default"), "{told}");
    for client in [&client, &server.client] {
        let status = client.get("/v1/users/ALICE%40Example.com").await.expect(200).json;
        assert_eq!((&status["user"], &status["enrolled"]), (&json!("alice@example.com"), &json!(true)));
    }
    let shown = server.command(["user", "show", "ALICE@Example.com", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["user"], &shown["enrolled"]), (&json!("alice@example.com"), &json!(true)));
    let exported = server.command(["audit", "export", "--tenant", "default", "--user", "ALICE@Example.com"]);
    let exported = String::from_utf8(exported.stdout).unwrap().lines().count();
    assert_eq!(exported, server.client.events("alice%40example.com").await.len());
    let (client, told) = make("other");
    assert!(!told.contains("users.case"), "{told}");
    let status = client.get("/v1/users/ALICE%40Example.com").await.expect(200).json;
    assert_eq!((&status["user"], &status["enrolled"]), (&json!("ALICE@Example.com"), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_normalizes_paths_every_id_stays_the_user_that_it_is() {
    let quota = ("MFA_THROTTLE_CHANGE", "100/1h");
    let server = Server::with(binary!(), ServerOptions { ..swift([quota]) });
    let proxy = Nginx::before(&server.url).await;
    let (direct, proxied) = (&server.client, server.client.at(&proxy.url));
    for id in IDS {
        let user = segment(id);
        let (token, _) = proxied.enrol(&user, "hotp").await;
        proxied.verify(&user, &token.hotp(1)).await.expect(200);
        direct.verify(&user, &token.hotp(1)).await.expect_problem(401, "invalid-code");
        direct.verify(&user, &token.hotp(2)).await.expect(200);
        let status = proxied.get(&format!("/v1/users/{user}")).await.expect(200).json;
        assert_eq!(status["user"], id);
        assert_eq!(proxied.events(&user).await.len(), 6, "{id}");
    }
    let users = direct.get("/v1/events?limit=1000").await.json;
    let users: std::collections::BTreeSet<_> =
        users["events"].as_array().unwrap().iter().map(|event| event["user"].as_str().unwrap()).collect();
    assert!(users.into_iter().eq(std::collections::BTreeSet::from(IDS)));
}
