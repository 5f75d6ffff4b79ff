//! Flow and alternate paths.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::json;
use sqlx::Connection;

use super::guessing::ends_within_seconds;
use super::*;

/// Calls that every key may make.
const OF_ANY_SCOPE: [(&str, &str); 1] = [("GET", "/v1/users/{user}")];

/// Every call of the OpenAPI document with every weaker credential.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_42452_cve_2026_32730_cve_2026_32246_a_weaker_credential_opens_nothing() {
    let server = Server::with(binary!(), swift([]));
    let client = &server.client;
    let (token, _) = client.enrol("alice", "hotp").await;
    let before = client.events("alice").await;
    let document = client.get("/openapi.json").await.expect(200).json;
    let keys =
        ["verify", "enrol", "admin", "audit"].map(|scope| (scope, create_key(&server, "default", scope)));
    let mut opened = BTreeSet::new();
    for (path, methods) in
        document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v1"))
    {
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_ascii_uppercase();
            let concrete = path.replace("{user}", "alice").replace("{id}", &token.factor);
            let needed = texts(&operation["security"][0]["api_key"]);
            let any = OF_ANY_SCOPE.contains(&(method.as_str(), path));
            for (scope, key) in &keys {
                let theirs = client.with_key(Some(key));
                if any || needed.iter().any(|needed| needed == scope) {
                    opened.insert((method.clone(), path.clone()));
                } else {
                    // Rejected before the body is read.
                    for body in [None, Some("{".to_owned())] {
                        theirs.send(&method, &concrete, body).await.expect_problem(403, "forbidden");
                    }
                }
            }
            for path in [
                concrete.to_uppercase(),
                format!("/{concrete}"),
                format!("{concrete}/"),
                format!("/x/..{concrete}"),
            ] {
                let answer = client.with_key(None).send(&method, &path, None).await;
                assert!([401, 404].contains(&answer.status.as_u16()), "{method} {path}: {}", answer.text);
            }
        }
    }
    assert!(opened.len() >= 13, "{opened:?}");
    assert_eq!(client.events("alice").await, before, "something was changed");
    // A caller with a user's own code instead of a key is unauthorised.
    for key in [token.hotp(1), format!("mfa_{}", token.factor), String::new()] {
        client.with_key(Some(&key)).get("/v1/users/alice").await.expect_problem(401, "unauthorized");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_47790_cve_2026_14536_what_is_broken_never_says_yes() {
    // With an invalid or unknown rule, the server does not start.
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("MFA_LOCKOUT_FAILURES", "0"),
        ("MFA_LOCKOUT_FAILURES", "-1"),
        ("MFA_LOCKOUT_FAILURES", "five"),
        ("MFA_LOCKOUT_FAILURES", "99999999999"),
        ("MFA_LOCKOUT_FIRST_LOCK", "0s"),
        ("MFA_LOCKOUT_DISABLE_AFTER", "1"),
        ("MFA_LOCKOUT_FAILURE", "5"),
        ("MFA_VERIFICATION_PAST_STEPS", "11"),
        ("MFA_VERIFICATION_PROFILE", "lax"),
        ("MFA_BACKUP_CODES_SET_SIZE", "0"),
        ("MFA_STORE", "none"),
        ("MFA_KEY_RING", "none"),
    ] {
        let mut command = Command::new(binary!());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()).env(name, value);
        assert!(!ends_within_seconds(command).await, "the server ran with {name}={value}");
    }

    let mut server = Server::with(binary!(), swift([]));
    let (token, codes) = server.client.enrol("alice", "hotp").await;
    server.client.enrol("bob", "hotp").await;
    let calls = [token.hotp(1), token.wrong(1), codes[0].clone(), nobodys_backup_code(1)];
    // Unreadable rows, missing rows, and at last a missing table of keys.
    for statement in [
        "UPDATE accounts SET factors = json_set(factors, '$[0].data', json('{}')) WHERE user = 'alice'",
        r#"UPDATE accounts SET factors =
           json_set(factors, '$[0].data', json('{"v":1,"counter":1}'), '$[0].secret', 'AA==') WHERE user = 'alice'"#,
        "UPDATE backup_code_sets SET scheme = 'plain'",
        "UPDATE accounts SET recent_failures = '[-1]' WHERE user = 'alice'",
        "ALTER TABLE accounts RENAME TO elsewhere",
    ] {
        sql(&server, statement).await;
        for (number, code) in calls.iter().enumerate() {
            if statement.contains("scheme") && number < 2 {
                continue;
            }
            if statement.contains("secret") && number >= 2 {
                continue;
            }
            let answer = server.client.verify("alice", code).await.expect_problem(503, "unavailable");
            assert!(answer.headers.contains_key("retry-after"), "{statement}");
        }
    }
    server.client.get("/v1/users/alice").await.expect_problem(503, "unavailable");
    server.client.with_key(Some("x")).get("/v1/users/alice").await.expect_problem(401, "unauthorized");
    sql(&server, "DROP TABLE api_keys").await;
    server.client.get("/v1/users/alice").await.expect_problem(503, "unavailable");
    server.kill();

    // With a wrong or missing key ring, the server does not start.
    let server = Server::with(binary!(), swift([]));
    server.client.enrol("alice", "hotp").await;
    let other = Server::with(binary!(), swift([]));
    let ring = server.data().join("keyring.toml");
    for fresh in [None, Some(other.data().join("keyring.toml"))] {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path()) {
            if file != ring {
                std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
            }
        }
        if let Some(fresh) = fresh {
            std::fs::copy(fresh, copy.path().join("keyring.toml")).unwrap();
        }
        let mut command = Command::new(binary!());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(copy.path());
        assert!(!ends_within_seconds(command).await, "the server ran without its keys");
    }
}

async fn sql(server: &Server, statement: &'static str) {
    let url = format!("sqlite:{}", server.data().join("mfa.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A new factor proves only itself: it does not replace the proof by an existing one.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_3597_a_new_factor_is_no_step_up() {
    on_every_store(async |server| {
        let client = &server.client;
        client.enrol("alice", "hotp").await;
        let another = json!({ "kind": "hotp", "label": "Another" });
        client.post("/v1/users/alice/factors", another).await.expect_problem(403, "proof-required");
        reissue(client, "alice").await.expect_problem(403, "proof-required");
        let status = client.get("/v1/users/alice").await.json;
        let factor = format!("/v1/users/alice/factors/{}", status["factors"][0]["id"].as_str().unwrap());
        if server.data().join("mfa.db").exists() {
            let theirs = client.with_key(Some(&create_key(server, "default", "enrol")));
            theirs.delete(&factor).await.expect_problem(403, "proof-required");
        }
        let events = client.events("alice").await;
        assert!(events.iter().all(|event| event["kind"] != "verified"), "{events:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2018_8340_another_users_code() {
    on_every_store(async |server| {
        let client = &server.client;
        let (alices, _) = client.enrol("alice", "hotp").await;
        let (bobs, bobs_codes) = client.enrol("bob", "hotp").await;
        client.verify("alice", &bobs.hotp(1)).await.expect_problem(401, "invalid-code");
        client.verify("alice", &bobs_codes[0]).await.expect_problem(401, "invalid-code");
        let named = json!({ "code": bobs.hotp(1), "factor": bobs.factor });
        client.post("/v1/users/alice/verify", named).await.expect_problem(404, "not-found");
        // It counts neither for nor against Bob.
        client.verify("bob", &bobs.hotp(1)).await.expect(200);
        client.verify("bob", &bobs_codes[0]).await.expect(200);
        assert_eq!(evaluated(client, "bob").await, 0);
        client.verify("alice", &alices.hotp(1)).await.expect(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_4846_cve_2024_41958_another_user_in_the_middle_of_a_flow() {
    on_every_store(async |server| {
        let client = &server.client;
        let (_, alices) = offer(client, "alice", json!({})).await;
        let (_, bobs) = offer(client, "bob", json!({})).await;
        confirm(client, "bob", &alices.factor, &alices.totp(0)).await.expect_problem(404, "not-found");
        confirm(client, "alice", &bobs.factor, &bobs.totp(0)).await.expect_problem(404, "not-found");
        confirm(client, "alice", &alices.factor, &bobs.totp(0)).await.expect_problem(401, "invalid-code");
        let done = confirm(client, "alice", &alices.factor, &alices.totp(0)).await.expect(200);
        assert_eq!(done.json["factor"]["id"], *alices.factor);
        assert_eq!(client.get("/v1/users/bob").await.json["enrolled"], false);
        client.verify("bob", &alices.totp(30)).await.expect_problem(409, "not-enrolled");
    })
    .await;
}
