//! Defects that reviews of this program found.

use serde_json::json;
use sqlx::Connection;

use super::*;

/// While another process holds the database's write lock for longer than a request may take.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_with_503_was_not_accepted() {
    let server = Server::with(binary!(), swift([("MFA_REQUEST_TIMEOUT", "300ms")]));
    let client = &server.client;
    let (token, codes) = client.enrol("alice", "hotp").await;
    let session = client.in_session(&client.verify("alice", &token.hotp(1)).await.expect(200));
    let url = format!("sqlite:{}", server.data().join("mfa.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    client.verify("alice", &token.hotp(2)).await.expect_problem(503, "unavailable");
    reissue(&session, "alice").await.expect_problem(503, "unavailable");
    sqlx::query("COMMIT").execute(&mut connection).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.count_events("alice", "verified").await, 1);
    client.verify("alice", &token.hotp(2)).await.expect(200);
    client.verify("alice", &codes[0]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_objects() {
    let server = Server::with(binary!(), swift([]));
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let calls = [
        ("verify", json!([token.hotp(1), null])),
        ("unlock", json!(["reason"])),
        ("factors", json!(["totp", "x", null, null, null, null, null, null, null, null])),
        ("reset", json!(["reason"])),
    ];
    for (call, body) in calls {
        client.post(&format!("/v1/users/alice/{call}"), body).await.expect_problem(422, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_hold_no_direction_marks() {
    let server = Server::with(binary!(), swift([]));
    for mark in ["\u{61c}", "\u{202e}", "\u{2066}"] {
        for field in ["label", "issuer", "account_name"] {
            let mut body = json!({ "kind": "totp", "label": "x" });
            body[field] = json!(format!("a{mark}b"));
            let answer = server.client.post("/v1/users/alice/factors", body).await;
            answer.expect_problem(422, "invalid-request");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dots_are_no_user() {
    let server = Server::with(binary!(), swift([]));
    for user in ["/v1/users/.", "/v1/users/..", "/v1/users/%2e%2e"] {
        let answer = raw(&server, format!("{}\r\n", head(&server, "GET", user)).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 422"), "{user}: {answer}");
    }
}

/// Sixteen users enrol at the same time, at a server with default settings.
#[tokio::test(flavor = "multi_thread")]
async fn a_class_enrols_together() {
    let server = Server::in_memory(binary!());
    let client = &server.client;
    let users: Vec<_> = (0..16).map(|number| format!("user-{number}")).collect();
    let mut tokens = Vec::new();
    for user in &users {
        tokens.push(offer(client, user, json!({ "kind": "hotp" })).await.1);
    }
    let codes: Vec<_> = tokens.iter().map(|token| token.hotp(0)).collect();
    let confirms = (0..16).map(|n| confirm(client, &users[n], &tokens[n].factor, &codes[n]));
    let answers = futures_util::future::join_all(confirms).await;
    assert_eq!(verified(&answers), 16);
}
