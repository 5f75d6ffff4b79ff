//! Enrolment, and who can see a secret.

use std::collections::BTreeSet;

use data_encoding::BASE32_NOPAD;
use serde_json::json;

use super::*;

/// `GET` changes nothing, and no call shows or renews the secret of an active factor.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_62669_cve_2026_62671_reading_changes_nothing() {
    on_every_store(async |server| {
        let client = &server.client;
        let (token, _) = client.enrol("alice", "hotp").await;
        let proof = asserted(client, "alice", &token.hotp(1)).await;
        let state = async || (client.get("/v1/users/alice").await.text, client.events("alice").await);
        let before = state().await;
        let document = client.get("/openapi.json").await.expect(200).json;
        let with_proof = format!("?proof={proof}&nonce={SESSION}");
        let all = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PROPFIND"];
        // A method that no handler takes reaches no store, so these are tried with SQLite alone.
        let is_sqlite = server.data().join("mfa.db").exists();
        let methods = if is_sqlite { &all[..] } else { &all[..1] };
        for path in document["paths"].as_object().unwrap().keys() {
            let path = path.replace("{user}", "alice").replace("{id}", &token.factor);
            for method in methods {
                for query in ["", "?regenerate=1", "?_method=DELETE", "?code=123456", &with_proof] {
                    client.send(method, &format!("{path}{query}"), None).await;
                }
            }
        }
        let body = json!({ "kind": "hotp", "label": "x", "replaces": token.factor });
        client.post("/v1/users/alice/factors", body).await.expect_problem(403, "proof-required");
        assert_eq!(state().await, before);
        client.verify("alice", &token.hotp(2)).await.expect(200);
    })
    .await;
}

/// With an active factor, a new one takes an assertion about its owner, in the session that asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2019_15617_cve_2021_3632_a_new_factor_with_a_proof_that_is_none() {
    at_any_time(async |server, clock| {
        let client = &server.client;
        let (token, _) = client.enrol("alice", "hotp").await;
        let (bobs, _) = client.enrol("bob", "hotp").await;
        let first = asserted(client, "alice", &token.hotp(1)).await;
        let bobs = asserted(client, "bob", &bobs.hotp(1)).await;
        let with = |proof: &str| json!({ "kind": "hotp", "proof": proof, "nonce": SESSION });
        let state = async || (client.get("/v1/users/alice").await.text, client.events("alice").await);
        let before = state().await;
        for wrong in wrong_proofs(&first, &bobs) {
            try_to_offer(client, "alice", &wrong).await.expect_problem(403, "proof-required");
        }
        assert_eq!(state().await, before);
        let (_, second) = offer(client, "alice", with(&first)).await;
        confirm(client, "alice", &second.factor, &second.hotp(0)).await.expect(200);

        // A factor that was removed proves nothing any more.
        let by_second = asserted(client, "alice", &second.hotp(1)).await;
        client.delete(&format!("/v1/users/alice/factors/{}", second.factor)).await.expect(204);
        try_to_offer(client, "alice", &with(&by_second)).await.expect_problem(403, "proof-required");
        offer(client, "alice", with(&first)).await;
        // Nor does what is five minutes old.
        clock.set(5 * 60 + 5);
        try_to_offer(client, "alice", &with(&first)).await.expect_problem(403, "proof-required");
        let fresh = asserted(client, "alice", &token.hotp(2)).await;
        offer(client, "alice", with(&fresh)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_26593_cve_2026_59712_nothing_shows_a_secret_after_activation() {
    let server = Server::with(binary!(), swift([]));
    let client = &server.client;
    let (enrolment, token) =
        offer(client, "alice", json!({ "kind": "hotp", "label": "Phone of Alice" })).await;
    let secret = enrolment["hotp"]["secret"].as_str().unwrap().to_lowercase();
    let confirmed = confirm(client, "alice", &token.factor, &token.hotp(0)).await.expect(200);
    let verified = client.verify("alice", &token.hotp(1)).await.expect(200);
    let factor = format!("/v1/users/alice/factors/{}", token.factor);
    let renamed = client.send("PATCH", &factor, Some(json!({ "label": "Other phone" }).to_string())).await;
    let mut texts = vec![confirmed.text, verified.text, renamed.expect(200).text];
    let resynchronised = resynchronise(client, "alice", &token.factor, [token.hotp(9), token.hotp(10)]).await;
    texts.push(resynchronised.expect(200).text);
    for path in ["/v1/users/alice", "/v1/users/alice/events", "/v1/events", "/metrics"] {
        texts.push(client.get(path).await.expect(200).text);
    }
    for command in [
        ["user", "show", "alice", "--json", "--tenant", "default"],
        ["user", "events", "alice", "--json", "--tenant", "default"],
    ] {
        let output = server.command(command);
        assert!(output.status.success());
        texts.push(String::from_utf8(output.stdout).unwrap());
    }
    texts.push(server.log());
    for text in &texts {
        assert!(!text.to_lowercase().contains(&secret), "{text}");
    }
    for text in &texts[5..7] {
        assert!(!text.to_lowercase().contains("phone"), "an event holds a label: {text}");
    }
}

/// At log level `trace`. Another test covers the whole life of a user; this one covers rejected calls.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2022_44587_the_log_at_its_most_talkative() {
    let server = Server::with(binary!(), swift([("MFA_LOG", "trace"), ("MFA_LOG_FORMAT", "json")]));
    let client = &server.client;
    let (token, codes) = client.enrol("alice", "hotp").await;
    let (right, wrong) = ("71935284".to_owned(), "ZYXW-ZYXW-ZYXW-ZYXW".to_owned());
    let url = format!("/v1/users/alice/verify?code={right}");
    client.post(&url, json!({ "code": right })).await.expect_problem(422, "malformed-code");
    client.post("/v1/users/alice/verify", json!({ "code": right, "factor": right })).await.expect(404);
    client.verify("alice", &wrong).await.expect(401);
    client.verify("alice", &codes[0]).await.expect(200);
    client.verify("alice", &codes[0]).await.expect(401);
    client.send("POST", "/v1/users/alice/verify", Some(format!(r#"{{"code":{right}}}"#))).await.expect(422);
    client.post(&format!("/v1/users/{right}{right}/verify"), json!({ "code": right })).await.expect(409);
    let imported = "MZXW6YTBOJTG633CMFZGM33PMJQXEZTP";
    let bad = json!({ "kind": "totp", "label": "x", "secret": format!("{imported}!") });
    client.post("/v1/users/alice/factors", bad).await.expect_problem(422, "invalid-request");
    let head = head(&server, "POST", "/v1/users/alice/verify");
    raw(&server, format!("{head}Content-Type: text/plain\r\nContent-Length: 8\r\n\r\n{right}").as_bytes());
    raw(&server, format!("{head}Content-Length: x{right}\r\n\r\n").as_bytes());
    let log = server.log().to_lowercase();
    assert!(log.contains(r#""level":"trace""#), "the log at trace has only {} bytes", log.len());
    let secrets = [&right, &wrong, &codes[0], &token.hotp(0), imported, client.key()];
    for secret in secrets.map(str::to_lowercase) {
        let shown =
            log.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).any(|word| word == secret);
        assert!(!shown, "the log holds {secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_2706_cve_2024_9820_no_answer_holds_the_code() {
    on_every_store(async |server| {
        let client = &server.client;
        let (enrolment, token) = offer(client, "alice", json!({ "kind": "hotp" })).await;
        let mut answers = vec![confirm(client, "alice", &token.factor, &token.wrong(1)).await];
        answers.push(confirm(client, "alice", &token.factor, &token.hotp(0)).await);
        answers.push(client.verify("alice", &token.wrong(2)).await);
        answers.push(client.verify("alice", &token.hotp(1)).await);
        answers.push(client.verify("alice", &token.hotp(1)).await);
        for path in ["/v1/users/alice", "/v1/users/alice/events", "/metrics", "/healthz", "/readyz"] {
            answers.push(client.get(path).await.expect(200));
        }
        let future: BTreeSet<_> = (0..6).map(|counter| token.hotp(counter)).collect();
        let wrong: BTreeSet<_> = (1..3).map(|number| token.wrong(number)).collect();
        for answer in &answers {
            let words = answer.text.split(|c: char| !c.is_ascii_alphanumeric());
            let shown: Vec<_> =
                words.filter(|word| future.contains(*word) || wrong.contains(*word)).collect();
            assert!(shown.is_empty(), "{shown:?} in {}", answer.text);
            assert!(!answer.headers.contains_key("set-cookie"));
            if answer.headers.contains_key("x-request-id") {
                assert_eq!(answer.headers["cache-control"], "no-store");
            }
        }
        assert!(!enrolment.to_string().contains(&token.hotp(0)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_8796_secrets_are_as_long_as_the_hash() {
    on_every_store(async |server| {
        let client = &server.client;
        let mut seen = BTreeSet::new();
        for (algorithm, length) in [("SHA1", 20), ("SHA256", 32), ("SHA512", 64)] {
            for kind in ["totp", "hotp"] {
                for round in 0..2 {
                    let user = format!("{kind}-{algorithm}-{round}");
                    let (enrolment, _) =
                        offer(client, &user, json!({ "kind": kind, "algorithm": algorithm })).await;
                    let secret = enrolment[kind]["secret"].as_str().unwrap();
                    let bytes = BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
                    assert_eq!(bytes.len(), length, "{kind} {algorithm}");
                    assert!(bytes.iter().collect::<BTreeSet<_>>().len() > length / 2, "{bytes:?}");
                    assert!(enrolment[kind]["uri"].as_str().unwrap().contains(&format!("secret={secret}&")));
                    assert!(seen.insert(bytes), "a secret was issued twice");
                }
            }
        }
        for short in ["", "A", "MZXW6YTB", "AAAAAAAAAAAA"] {
            let body = json!({ "kind": "totp", "label": "x", "secret": short });
            client.post("/v1/users/short/factors", body).await.expect_problem(422, "invalid-request");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_factor_class_several_and_each_revocable_alone() {
    on_every_store(async |server| {
        let client = &server.client;
        let (first, codes) = client.enrol("alice", "hotp").await;
        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        let mut devices = vec![first];
        for name in ["Work", "Home", "Safe"] {
            let (_, device) = offer(&session, "alice", json!({ "kind": "hotp", "label": name })).await;
            confirm(client, "alice", &device.factor, &device.hotp(0)).await.expect(200);
            devices.push(device);
        }
        let gone = devices.remove(1);
        client.delete(&format!("/v1/users/alice/factors/{}", gone.factor)).await.expect(204);
        client.verify("alice", &gone.hotp(1)).await.expect_problem(401, "invalid-code");
        for device in &devices {
            let body = json!({ "code": device.hotp(1), "factor": device.factor });
            let answer = client.post("/v1/users/alice/verify", body).await.expect(200);
            assert_eq!(answer.json["factor"], *device.factor);
        }
        client.verify("alice", &codes[1]).await.expect(200);
        let status = client.get("/v1/users/alice").await.json;
        let labels =
            status["factors"].as_array().unwrap().iter().map(|factor| factor["label"].as_str().unwrap());
        assert_eq!(labels.collect::<Vec<_>>(), ["Test phone", "Home", "Safe"]);
    })
    .await;
}
