//! Enrolment of tokens that need help: two codes for a token that is out of step, or an import by an
//! operator.

#![allow(clippy::unwrap_used, reason = "test code")]

use mfa_tests::{Authenticator, Client, Server, binary};
use serde_json::{Value, json};

async fn offer(client: &Client, user: &str, kind: &str) -> Authenticator {
    let offer = json!({ "kind": kind, "label": "Token" });
    Authenticator::scan(&client.post(&format!("/v1/users/{user}/factors"), offer).await.expect(201).json)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_off_is_confirmed_and_resynchronised_by_two_codes() {
    for server in [Server::start(binary!()), Server::in_memory(binary!())] {
        let client = &server.client;
        let phone = offer(client, "alice", "totp").await;
        let factor = format!("/v1/users/alice/factors/{}", phone.factor);
        let (confirm, resynchronise) = (format!("{factor}/confirm"), format!("{factor}/resynchronise"));
        let pair =
            |minutes: i64| json!({ "codes": [phone.totp(60 * minutes - 30), phone.totp(60 * minutes)] });

        // A body with neither or both is rejected and changes nothing.
        client.post(&confirm, json!({})).await.expect_problem(422, "invalid-request");
        let both = json!({ "code": phone.totp(0), "codes": [phone.totp(0), phone.totp(30)] });
        client.post(&confirm, both).await.expect_problem(422, "invalid-request");
        let one = json!({ "codes": [phone.totp(0)] });
        client.post(&confirm, one).await.expect_problem(422, "invalid-request");
        let malformed = json!({ "codes": [phone.totp(0), "abcd-efgh-jkmn-pqrs"] });
        client.post(&confirm, malformed).await.expect_problem(422, "malformed-code");
        assert_eq!(client.count_events("alice", "verification_failed").await, 0);

        let single = json!({ "code": phone.totp(-7 * 60) });
        client.post(&confirm, single).await.expect_problem(401, "invalid-code");
        let pending = client.post(&resynchronise, pair(-20)).await.expect(200).json;
        assert_eq!(pending["state"], "pending");
        let confirmed = client.post(&confirm, pair(-7)).await.expect(200).json;
        assert_eq!(confirmed["factor"]["state"], "active");
        assert_eq!(confirmed["backup_codes"].as_array().unwrap().len(), 10);
        for used in [-7 * 60 - 30, -7 * 60] {
            client.verify("alice", &phone.totp(used)).await.expect_problem(401, "invalid-code");
        }
        client.verify("alice", &phone.totp(-7 * 60 + 30)).await.expect(200);
        client.post(&resynchronise, pair(-7)).await.expect_problem(401, "invalid-code");
        assert_eq!(client.post(&resynchronise, pair(0)).await.expect(200).json["state"], "active");
        client.verify("alice", &phone.totp(-30)).await.expect_problem(401, "invalid-code");

        let token = offer(client, "bob", "hotp").await;
        let confirm = format!("/v1/users/bob/factors/{}/confirm", token.factor);
        let far = json!({ "codes": [token.hotp(1001), token.hotp(1002)] });
        client.post(&confirm, far).await.expect_problem(401, "invalid-code");
        client.post(&confirm, json!({ "codes": [token.hotp(900), token.hotp(901)] })).await.expect(200);
        client.verify("bob", &token.hotp(901)).await.expect_problem(401, "invalid-code");
        client.verify("bob", &token.hotp(902)).await.expect(200);
    }
}

fn import(more: &Value) -> Value {
    let mut body = json!({
        "kind": "hotp", "label": "Fob", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "imported": true, "reason": "Moved from the old system",
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn warnings(answer: &Value) -> Vec<&str> {
    answer["warnings"].as_array().unwrap().iter().map(|warning| warning["code"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_imports_counts_at_once_also_beside_others() {
    for server in [Server::start(binary!()), Server::in_memory(binary!())] {
        let client = &server.client;
        let (_, codes) = client.enrol("alice", "totp").await;
        for user in ["alice", "bob"] {
            let answer =
                client.post(&format!("/v1/users/{user}/factors"), import(&json!({}))).await.expect(201);
            assert_eq!(answer.json["factor"]["state"], "active");
            let token = Authenticator::scan(&answer.json);
            client.verify(user, &token.hotp(0)).await.expect(200);
            client.verify(user, &token.hotp(0)).await.expect_problem(401, "invalid-code");
            let events = client.events(user).await;
            let event = events.iter().find(|event| event["kind"] == "factor_imported").unwrap();
            assert_eq!(event["detail"]["reason"], "Moved from the old system");
        }
        client.verify("alice", &codes[0]).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_read_as_other_systems_write_them_and_what_is_missing_is_named() {
    let server = Server::start(binary!());
    let client = &server.client;
    for (user, secret, encoding, base32, expected) in [
        (
            "hex",
            "3132333435363738393031323334353637383930",
            "hex",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            vec![],
        ),
        ("b32", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "base32", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", vec![]),
        (
            "spare",
            "J3WWIV3PTGJPQV5QAICM",
            "base32",
            "J3WWIV3PTGJPQV5QAICA",
            vec!["secret-spare-bits", "secret-below-minimum"],
        ),
        (
            "padded",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ====",
            "base32",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            vec!["secret-padding"],
        ),
    ] {
        let body = import(&json!({ "secret": secret, "secret_encoding": encoding }));
        let answer = client.post(&format!("/v1/users/{user}/factors"), body).await.expect(201).json;
        assert_eq!((&answer["hotp"]["secret"], warnings(&answer)), (&json!(base32), expected), "{user}");
    }

    let plain = |more: Value| {
        let mut body = json!({ "kind": "hotp", "label": "Fob" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, field) in [
        (import(&json!({ "secret_encoding": "hex" })), "secret"),
        (import(&json!({ "secret_encoding": "base64" })), "secret_encoding"),
        (import(&json!({ "secret": null })), "secret"),
        (import(&json!({ "reason": null })), "reason"),
        (import(&json!({ "reason": " " })), "reason"),
        (import(&json!({ "imported": "yes" })), "imported"),
        (plain(json!({ "secret_encoding": "hex" })), "secret_encoding"),
    ] {
        let answer = client.post("/v1/users/nobody/factors", body.clone()).await;
        let answer = answer.expect_problem(422, "invalid-request");
        assert_eq!(answer.json["errors"][0]["field"], field, "{body}");
    }
    assert!(client.events("nobody").await.is_empty());

    let output = server.command(["api-key", "create", "--tenant", "default", "--scope", "enrol", "--json"]);
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let host = client.with_key(Some(made["key"].as_str().unwrap()));
    for body in [import(&json!({})), plain(json!({ "imported": true, "reason": "x" }))] {
        host.post("/v1/users/nobody/factors", body).await.expect_problem(403, "forbidden");
    }
}
