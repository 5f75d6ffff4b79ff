//! The HTTP API as documented, over a real socket.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;

use mfa_tests::{Authenticator, Client, Server, ServerOptions, binary};
use serde_json::{Value, json};

/// Offers a first TOTP factor without confirming it.
async fn offered(client: &Client, user: &str) -> (Value, Authenticator) {
    let offer = json!({ "kind": "totp", "label": "Work phone" });
    let enrolment = client.post(&format!("/v1/users/{user}/factors"), offer).await.expect(201).json;
    let phone = Authenticator::scan(&enrolment);
    (enrolment, phone)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_from_never_seen_to_erased() {
    for server in [Server::start(binary!()), Server::in_memory(binary!())] {
        let client = &server.client;
        let path = "/v1/users/alice+1@example.com";
        let unknown = client.get(path).await.expect(200).json;
        assert_eq!(unknown["enrolled"], false);
        assert_eq!(unknown["factors"], json!([]));
        assert_eq!(unknown["backup_codes"]["total"], 0);
        assert_eq!(unknown["locked_until"], Value::Null);
        client.verify("alice+1@example.com", "123456").await.expect_problem(409, "not-enrolled");

        let (enrolment, phone) = offered(client, "alice+1@example.com").await;
        assert_eq!(enrolment["factor"]["state"], "pending");
        assert!(enrolment["totp"]["uri"].as_str().unwrap().starts_with("otpauth://totp/"));
        assert!(enrolment["totp"]["qr_svg"].as_str().unwrap().contains("<svg"));
        assert_eq!(enrolment["warnings"], json!([]));
        // A pending factor does not protect the account.
        client.verify("alice+1@example.com", &phone.totp(0)).await.expect_problem(409, "not-enrolled");

        let confirm = format!("{path}/factors/{}/confirm", phone.factor);
        client.post(&confirm, json!({ "code": phone.wrong(1) })).await.expect_problem(401, "invalid-code");
        let code = phone.totp(-30);
        let confirmed = client.post(&confirm, json!({ "code": code })).await.expect(200).json;
        assert_eq!(confirmed["factor"]["state"], "active");
        let codes = confirmed["backup_codes"].as_array().unwrap().clone();
        assert_eq!(codes.len(), 10);
        for again in [code.clone(), phone.totp(0), phone.wrong(2)] {
            client.post(&confirm, json!({ "code": again })).await.expect_problem(409, "already-active");
        }
        client.verify("alice+1@example.com", &code).await.expect_problem(401, "invalid-code");

        let spaced = format!(" {}-{} ", &phone.totp(0)[..3], &phone.totp(0)[3..]);
        let mut verified = client.verify("alice+1@example.com", &spaced).await.expect(200).json;
        let assertion = verified.as_object_mut().unwrap().remove("assertion");
        assert!(assertion.is_some_and(|assertion| assertion.is_string()));
        let id = phone.factor.as_str();
        let status = client.get(path).await.expect(200).json;
        let used_at = &status["factors"][0]["last_used_at"];
        assert_eq!(
            verified,
            json!({
                "user": "alice+1@example.com", "verified": true, "factor": id, "kind": "totp", "amr": ["otp"],
                "auth_time": used_at,
            })
        );

        let verified = client.verify("alice+1@example.com", codes[0].as_str().unwrap()).await.expect(200);
        assert_eq!(verified.json["kind"], "backup_code");
        assert_eq!(verified.json["backup_codes_remaining"], 9);
        let session = client.in_session(&verified);
        let fresh = session.send("POST", &format!("{path}/backup-codes"), None).await.expect(201).json;
        assert_eq!(fresh["backup_codes"].as_array().unwrap().len(), 10);
        client
            .verify("alice+1@example.com", codes[1].as_str().unwrap())
            .await
            .expect_problem(401, "invalid-code");

        let factor = format!("{path}/factors/{id}");
        for _ in 0..3 {
            let label = json!({ "label": "Old phone" }).to_string();
            assert_eq!(
                client.send("PATCH", &factor, Some(label)).await.expect(200).json["label"],
                "Old phone"
            );
        }
        client.delete(&factor).await.expect(204);
        client.delete(&factor).await.expect_problem(404, "not-found");
        let status = client.get(path).await.json;
        assert_eq!((&status["enrolled"], &status["backup_codes"]["total"]), (&json!(false), &json!(0)));
        for _ in 0..3 {
            client.delete(path).await.expect(204);
            client.post(&format!("{path}/reset"), json!({ "reason": "again" })).await.expect(204);
            client.post(&format!("{path}/unlock"), json!({ "reason": "again" })).await.expect(204);
        }

        let kinds: Vec<_> = client.events("alice+1@example.com").await;
        let kinds: Vec<_> = kinds.iter().map(|event| event["kind"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            [
                "enrolment_started",
                "verification_failed",
                "factor_activated",
                "backup_codes_issued",
                "replayed",
                "verified",
                "verified",
                "backup_codes_issued",
                "verification_failed",
                "factor_renamed",
                "factor_revoked",
                "erased",
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn bad_input_gets_a_clear_error_and_changes_nothing() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (phone, _) = client.enrol("bad", "totp").await;
    let before = client.events("bad").await;
    let factors = "/v1/users/bad/factors";
    let verify = "/v1/users/bad/verify";
    let confirm = format!("{factors}/{}/confirm", phone.factor);
    let long = "x".repeat(65);
    let megabyte = "1".repeat(1 << 20);
    let digits = |text: &str| format!(r#"{{"code": "{text}"}}"#);
    let cases: Vec<(&str, &str, String, u16, &str, &str)> = vec![
        ("POST", verify, r#"{"code": 123456}"#.into(), 422, "invalid-request", "code"),
        ("POST", verify, r#"{"code": null}"#.into(), 422, "invalid-request", "code"),
        ("POST", verify, r#"{"code": ["123456"]}"#.into(), 422, "invalid-request", "code"),
        ("POST", verify, r#"{"code": "123456", "code": "123456"}"#.into(), 422, "invalid-request", "code"),
        ("POST", verify, r#"{"code": "123456", "user": "bob"}"#.into(), 422, "invalid-request", "user"),
        ("POST", verify, "{}".into(), 422, "invalid-request", "code"),
        ("POST", verify, String::new(), 422, "invalid-request", ""),
        ("POST", verify, "{".into(), 422, "invalid-request", ""),
        ("POST", verify, "null".into(), 422, "invalid-request", ""),
        ("POST", verify, digits("12345"), 422, "malformed-code", ""),
        ("POST", verify, digits("123456789"), 422, "malformed-code", ""),
        ("POST", verify, digits("1234567"), 422, "malformed-code", ""),
        ("POST", verify, digits("+12345"), 422, "malformed-code", ""),
        ("POST", verify, digits(""), 422, "malformed-code", ""),
        ("POST", verify, digits("١٢٣٤٥"), 422, "malformed-code", ""),
        ("POST", verify, digits("①②③④⑤⑥"), 422, "malformed-code", ""),
        ("POST", verify, digits("12345\\n"), 422, "malformed-code", ""),
        ("POST", verify, digits("\u{a0}\u{200b}"), 422, "malformed-code", ""),
        ("POST", verify, digits("uuuu-uuuu-uuuu-uuuu"), 422, "malformed-code", ""),
        ("POST", verify, digits(&megabyte), 413, "payload-too-large", ""),
        ("POST", verify, r#"{"code": "123456", "factor": "nobody"}"#.into(), 404, "not-found", ""),
        ("POST", &confirm, digits("123456"), 409, "already-active", ""),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": "" }).to_string(),
            422,
            "invalid-request",
            "label",
        ),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": long }).to_string(),
            422,
            "invalid-request",
            "label",
        ),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": "a\r\nb" }).to_string(),
            422,
            "invalid-request",
            "label",
        ),
        ("POST", factors, json!({ "kind": "sms", "label": "x" }).to_string(), 422, "invalid-request", "kind"),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": "x", "algorithm": "MD5" }).to_string(),
            422,
            "invalid-request",
            "algorithm",
        ),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": "x", "digits": 9 }).to_string(),
            422,
            "invalid-request",
            "digits",
        ),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": "x", "digits": "6" }).to_string(),
            422,
            "invalid-request",
            "digits",
        ),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": "x", "period": 0 }).to_string(),
            422,
            "invalid-request",
            "period",
        ),
        (
            "POST",
            factors,
            json!({ "kind": "hotp", "label": "x", "period": 30 }).to_string(),
            422,
            "invalid-request",
            "period",
        ),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": "x", "counter": 1 }).to_string(),
            422,
            "invalid-request",
            "counter",
        ),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": "x", "issuer": "a:b" }).to_string(),
            422,
            "invalid-request",
            "issuer",
        ),
        (
            "POST",
            factors,
            json!({ "kind": "totp", "label": "x", "secret": "A1" }).to_string(),
            422,
            "invalid-request",
            "secret",
        ),
        ("POST", "/v1/users/bad%20/verify", digits("123456"), 422, "invalid-request", "user"),
        ("POST", "/v1/users/ba%CC%88d/verify", digits("123456"), 422, "invalid-request", "user"),
        ("PATCH", &confirm, digits("123456"), 405, "method-not-allowed", ""),
        ("GET", verify, String::new(), 405, "method-not-allowed", ""),
        ("GET", "/v1/nowhere", String::new(), 404, "not-found", ""),
        ("GET", "/v2/users/bad", String::new(), 404, "not-found", ""),
        ("GET", "/v1/users/bad/events?limit=0", String::new(), 422, "invalid-request", "limit"),
        ("GET", "/v1/users/bad/events?after=x", String::new(), 422, "invalid-request", "after"),
        ("GET", "/v1/users/bad/events?page=2", String::new(), 422, "invalid-request", ""),
        ("POST", "/v1/users/bad/unlock", "{}".into(), 422, "invalid-request", "reason"),
        ("POST", "/v1/users/bad/reset", r#"{"reason": " "}"#.into(), 422, "invalid-request", "reason"),
        ("POST", "/v1/users/bad/backup-codes", r#"{"count": 1000}"#.into(), 422, "invalid-request", ""),
    ];
    for (method, path, body, status, code, field) in cases {
        let shown: String = body.chars().take(60).collect();
        let body = (method != "GET").then_some(body);
        let answer = client.send(method, path, body).await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (status, code), "{method} {path} {shown}");
        let answer = answer.expect_problem(status, code);
        if !field.is_empty() {
            assert_eq!(answer.json["errors"][0]["field"], field, "{method} {path} {shown}");
        }
    }
    assert_eq!(client.events("bad").await, before, "bad input added events");
    client.verify("bad", &phone.totp(0)).await.expect(200);
}

/// A code as keyboards and clipboards produce it.
fn pasted(code: &str) -> Vec<String> {
    let digit = |c: char, zero: u32| {
        c.to_digit(10).and_then(|digit| char::from_u32(zero + digit)).unwrap_or(if c == '-' {
            '–'
        } else {
            c
        })
    };
    let (head, tail) = code.split_at(code.len() / 2);
    let other = |zero| code.chars().map(|c| digit(c, zero)).collect();
    let mut texts: Vec<String> = [0x660, 0x6f0, 0x966, 0xff10].map(other).to_vec();
    for c in "\n\t\u{a0}\u{2009}\u{202f}\u{2011}\u{feff}\u{200b}\u{200e}\u{2066}\u{ad}".chars() {
        texts.push(format!("{c}{head}{c}{tail}{c}"));
    }
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_and_secrets_are_read_as_people_type_and_paste_them() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (token, codes) = client.enrol("typist", "hotp").await;
    let spellings = pasted("");
    for counter in 0..spellings.len() {
        let code = token.hotp(1 + counter as u64);
        client.verify("typist", &pasted(&code)[counter]).await.expect(200);
        // Another spelling of a used code is still used.
        client.verify("typist", &code).await.expect_problem(401, "invalid-code");
    }
    let spelled = pasted(&codes[0]);
    client.verify("typist", &spelled[0]).await.expect(200);
    for other in &spelled[1..4] {
        client.verify("typist", other).await.expect_problem(401, "invalid-code");
    }
    for (code, spelling) in codes[1..].iter().zip(4..) {
        client.verify("typist", &pasted(code)[spelling]).await.expect(200);
    }

    let factors = "/v1/users/importer/factors";
    let plain = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let offer = |secret: &str| json!({ "kind": "hotp", "label": "Token", "secret": secret });
    let enrolment = client.post(factors, offer(&pasted(plain)[7])).await.expect(201).json;
    assert_eq!(enrolment["hotp"]["secret"], plain);
    // If a user could enrol a secret twice, one code would be accepted twice.
    for spelling in pasted(plain) {
        client.post(factors, offer(&spelling)).await.expect_problem(422, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_id_is_the_same_however_a_client_encodes_it() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (phone, _) = client.enrol("alice+1@example.com", "totp").await;
    client.verify("alice%2B1%40example.com", &phone.totp(0)).await.expect(200);
    client.verify("%61lice+1@example%2Ecom", &phone.totp(0)).await.expect_problem(401, "invalid-code");
    for other in
        ["Alice+1@example.com", "alice%201@example.com", "alice%252B1@example.com", "alice%2F1", "%FF"]
    {
        let status = client.get(&format!("/v1/users/{other}")).await;
        assert!(status.status == 422 || status.json["enrolled"] == false, "{other}: {}", status.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_fit_no_qr_code_are_refused_before_anything_changes() {
    let server = Server::start(binary!());
    let client = &server.client;
    for (length, fits) in [(64, true), (65, false)] {
        let name = "\u{1F511}".repeat(length);
        let user = format!("long-{length}");
        let offer = json!({ "kind": "totp", "label": "x", "algorithm": "SHA512", "issuer": name, "account_name": name });
        let answer = client.post(&format!("/v1/users/{user}/factors"), offer).await;
        assert_eq!(answer.status == 201, fits, "{length}: {}", answer.text);
        assert_eq!(client.events(&user).await.is_empty(), !fits);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_factors_are_not_there() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (alices, _) = client.enrol("alice", "totp").await;
    let (bobs, _) = client.enrol("bob", "totp").await;
    let (_, carols) = offered(client, "carol").await;
    let before = client.get("/v1/users/bob").await.text;
    let code = json!({ "code": bobs.totp(0), "factor": bobs.factor });
    client.post("/v1/users/alice/verify", code).await.expect_problem(404, "not-found");
    let path = format!("/v1/users/alice/factors/{}", bobs.factor);
    client.delete(&path).await.expect_problem(404, "not-found");
    let label = json!({ "label": "mine" }).to_string();
    client.send("PATCH", &path, Some(label)).await.expect_problem(404, "not-found");
    let confirm = format!("/v1/users/alice/factors/{}/confirm", carols.factor);
    client.post(&confirm, json!({ "code": carols.totp(0) })).await.expect_problem(404, "not-found");
    client.verify("alice", &bobs.totp(0)).await.expect_problem(401, "invalid-code");
    assert_eq!(client.get("/v1/users/bob").await.text, before);
    client.verify("alice", &alices.totp(0)).await.expect(200);
    client.verify("bob", &bobs.totp(0)).await.expect(200);
}

/// Creates a key on the command line while the server runs.
fn create_key(server: &Server, tenant: &str, scopes: &[&str]) -> (String, String) {
    let mut words = vec!["api-key", "create", "--tenant", tenant, "--json"];
    for scope in scopes {
        words.extend(["--scope", scope]);
    }
    let words: [&str; 7] = words.try_into().unwrap();
    let output = server.command(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_what_their_scopes_say_at_their_tenant_and_nothing_when_revoked() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (phone, _) = client.enrol("alice", "totp").await;
    let reason = json!({ "reason": "test" }).to_string();
    let calls: [(&str, String, Option<String>, &str); 7] = [
        ("POST", "/v1/users/alice/verify".into(), Some(json!({ "code": "000000" }).to_string()), "verify"),
        (
            "POST",
            "/v1/users/alice/factors".into(),
            Some(json!({ "kind": "totp", "label": "x" }).to_string()),
            "enrol",
        ),
        ("POST", "/v1/users/alice/backup-codes".into(), None, "enrol"),
        ("POST", "/v1/users/alice/unlock".into(), Some(reason.clone()), "admin"),
        ("POST", "/v1/users/alice/reset".into(), Some(reason), "admin"),
        ("DELETE", "/v1/users/alice".into(), None, "admin"),
        ("GET", "/v1/users/alice/events".into(), None, "audit"),
    ];
    for scope in ["verify", "enrol", "admin", "audit"] {
        let (_, key) = create_key(&server, "other", &[scope]);
        let theirs = client.with_key(Some(&key));
        for (method, path, body, needed) in &calls {
            let answer = theirs.send(method, path, body.clone()).await;
            assert_eq!(
                answer.problem() == "forbidden",
                scope != *needed,
                "{scope}: {method} {path} {}",
                answer.text
            );
            if scope != *needed {
                let detail = format!("the call needs an API key with the scope {needed}");
                assert_eq!(answer.json["detail"], detail, "{method} {path}");
                answer.expect_problem(403, "forbidden");
            }
        }
        let status = theirs.get("/v1/users/alice").await.expect(200);
        assert_eq!(status.json["enrolled"], false, "tenants must be separate");
    }
    let (id, key) = create_key(&server, "default", &["enrol"]);
    let theirs = client.with_key(Some(&key));
    let import = json!({ "kind": "totp", "label": "x", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" });
    let answer = theirs.post("/v1/users/new/factors", import).await;
    assert_eq!(answer.json["detail"], "the call needs an API key with the scope admin");
    answer.expect_problem(403, "forbidden");
    assert!(server.command(["api-key", "revoke", &id]).status.success());
    theirs.get("/v1/users/alice").await.expect_problem(401, "unauthorized");
    client.verify("alice", &phone.totp(0)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_document_asks_for_a_key_but_a_few() {
    let server = Server::start(binary!());
    let client = &server.client;
    let document = client.with_key(None).get("/openapi.json").await.expect(200).json;
    assert_eq!(document["info"]["title"], "Multi-factor authentication");
    let open = [
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/problems/{code}",
        "/assets/passkey.js",
        "/.well-known/jwks.json",
    ];
    let forged = format!("mfa_abcdefghijklmnop_{}", "a".repeat(43));
    let with_wrong_secret = client.key().chars().rev().collect::<String>();
    let mut keyed = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{user}", "alice").replace("{id}", "x").replace("{code}", "locked");
        for method in methods.as_object().unwrap().keys().map(|method| method.to_ascii_uppercase()) {
            if open.contains(&path.as_str()) {
                client.with_key(None).send(&method, &concrete, None).await.expect(200);
                continue;
            }
            if path.starts_with("/.well-known/") {
                // There are no related origins or pages for passkeys.
                client.with_key(None).send(&method, &concrete, None).await.expect_problem(404, "not-found");
                continue;
            }
            keyed += 1;
            for key in [None, Some("x"), Some(forged.as_str()), Some(with_wrong_secret.as_str())] {
                // The body is invalid, too: the key is checked first.
                let answer = client.with_key(key).send(&method, &concrete, Some("{".into())).await;
                answer.expect_problem(401, "unauthorized");
            }
            let answer = client.send(&method, &concrete, None).await;
            assert!(answer.problem() != "method-not-allowed", "{method} {path} is not routed");
        }
    }
    assert!(keyed >= 13, "only {keyed} calls in the document");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_factor_needs_no_proof_and_everything_after_it_does() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (phone, codes) = client.enrol("proof", "totp").await;
    let offer = json!({ "kind": "hotp", "label": "Token" });
    let factors = "/v1/users/proof/factors";
    let backup = "/v1/users/proof/backup-codes";
    client.post(factors, offer.clone()).await.expect_problem(403, "proof-required");
    client.send("POST", backup, None).await.expect_problem(403, "proof-required");
    let (_, enrol_only) = create_key(&server, "default", &["enrol"]);
    let user = client.with_key(Some(&enrol_only));
    user.delete(&format!("{factors}/{}", phone.factor)).await.expect_problem(403, "proof-required");

    let session = client.in_session(&client.verify("proof", &codes[0]).await.expect(200));
    // In another session it proves nothing.
    client.post(factors, offer.clone()).await.expect_problem(403, "proof-required");
    client.send("POST", backup, None).await.expect_problem(403, "proof-required");
    user.delete(&format!("{factors}/{}", phone.factor)).await.expect_problem(403, "proof-required");
    let enrolment = session.post(factors, offer).await.expect(201).json;
    let token = Authenticator::scan(&enrolment);
    let confirm = format!("{factors}/{}/confirm", token.factor);
    let confirmed = client.post(&confirm, json!({ "code": token.hotp(0) })).await.expect(200).json;
    assert!(confirmed.get("backup_codes").is_none(), "only the first factor returns backup codes");
    // Each can be revoked alone, and the other keeps working.
    let user = session.with_key(Some(&enrol_only));
    user.delete(&format!("{factors}/{}", phone.factor)).await.expect(204);
    client.verify("proof", &phone.totp(0)).await.expect_problem(401, "invalid-code");
    client.verify("proof", &token.hotp(1)).await.expect(200);
    client.verify("proof", &codes[1]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_give_a_reason_in_place_of_a_proof_and_the_trail_keeps_it() {
    let server = Server::start(binary!());
    let client = &server.client;
    client.enrol("alice", "totp").await;
    let (_, enrol_only) = create_key(&server, "default", &["enrol"]);
    let (path, reason) = ("/v1/users/alice/backup-codes", json!({ "reason": "lost the phone" }));
    client.with_key(Some(&enrol_only)).post(path, reason.clone()).await.expect_problem(403, "forbidden");
    client.post(path, reason).await.expect(201);
    let mut events = client.events("alice").await;
    events.retain(|event| event["kind"] == "proof_overridden");
    let details: Vec<_> = events.iter().map(|event| &event["detail"]).collect();
    assert_eq!(details, [&json!({ "change": "issue_backup_codes", "reason": "lost the phone" })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_tell_sessions_apart_may_let_any_verification_of_the_account_count() {
    let settings = [("MFA_STORE", "memory:"), ("MFA_ENROLMENT_PROOF", "account")];
    let server = Server::with(binary!(), ServerOptions::new(settings));
    let client = &server.client;
    let (phone, _) = client.enrol("alice", "totp").await;
    let issue = async || client.send("POST", "/v1/users/alice/backup-codes", None).await;
    issue().await.expect_problem(403, "proof-required");
    client.verify("alice", &phone.totp(0)).await.expect(200);
    issue().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_phone_takes_the_place_of_the_old_one() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (old, codes) = client.enrol("moves", "totp").await;
    let session = client.in_session(&client.verify("moves", &codes[0]).await.expect(200));
    let offer = json!({ "kind": "hotp", "label": "New phone", "replaces": old.factor });
    let enrolment = session.post("/v1/users/moves/factors", offer).await.expect(201).json;
    let new = Authenticator::scan(&enrolment);
    let confirm = format!("/v1/users/moves/factors/{}/confirm", new.factor);
    client.post(&confirm, json!({ "code": new.hotp(0) })).await.expect(200);
    client.verify("moves", &old.totp(0)).await.expect_problem(401, "invalid-code");
    client.verify("moves", &new.hotp(1)).await.expect(200);
    let status = client.get("/v1/users/moves").await.json;
    assert_eq!(status["factors"].as_array().unwrap().len(), 1);
    assert_eq!(status["backup_codes"]["remaining"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_secret_is_held_to_the_tolerant_policy_and_counts_once() {
    let server = Server::start(binary!());
    let client = &server.client;
    let factors = "/v1/users/import/factors";
    let short = json!({ "kind": "totp", "label": "Old", "secret": "jbsw y3dp ehpk 3pxp" });
    let enrolment = client.post(factors, short.clone()).await.expect(201).json;
    assert_eq!(enrolment["totp"]["secret"], "JBSWY3DPEHPK3PXP");
    assert_eq!(enrolment["warnings"].as_array().unwrap().len(), 1, "{}", enrolment["warnings"]);
    // If a user could enrol a secret twice, one code would be accepted twice.
    client.post(factors, short).await.expect_problem(422, "invalid-request");
    let other = json!({ "kind": "totp", "label": "Old", "algorithm": "SHA512", "period": 60 });
    let enrolment = client.post("/v1/users/warned/factors", other).await.expect(201).json;
    assert!(enrolment["warnings"].to_string().contains("Google Authenticator"), "{}", enrolment["warnings"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_account_answers_right_and_wrong_with_the_same_bytes() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (phone, codes) = client.enrol("locked", "totp").await;
    for number in 0..5 {
        let left = client.get("/v1/users/locked").await.json["attempts_left"].clone();
        assert_eq!(left, 5 - number);
        let refused = client.verify("locked", &phone.wrong(number)).await.expect_problem(401, "invalid-code");
        // Only the members of every refusal: a guesser does not learn which codes were charged.
        let mut members: Vec<_> = refused.json.as_object().unwrap().keys().cloned().collect();
        members.sort_unstable();
        assert_eq!(members, ["request_id", "status", "title", "type"]);
    }
    let mut bodies = Vec::new();
    for code in [phone.totp(0), phone.wrong(9), codes[0].clone(), "abcd-efgh-jkmn-pqrs".to_owned()] {
        let answer = client.verify("locked", &code).await.expect_problem(429, "locked");
        let id = answer.json["request_id"].as_str().unwrap().to_owned();
        let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((890..=900).contains(&wait), "{wait}");
        bodies.push(answer.text.replace(&id, ""));
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    assert_eq!(client.get("/v1/users/locked").await.json["attempts_left"], 0);
    client.post("/v1/users/locked/unlock", json!({ "reason": "asked by phone" })).await.expect(204);
    assert_eq!(client.get("/v1/users/locked").await.json["attempts_left"], 5);
    client.verify("locked", &phone.totp(0)).await.expect(200);
    let events = client.events("locked").await;
    let unlocked = events.iter().find(|event| event["kind"] == "unlocked").unwrap();
    assert_eq!(unlocked["detail"]["reason"], "asked by phone");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_paged_and_tenants_do_not_meet() {
    let server = Server::start(binary!());
    let client = &server.client;
    for user in ["page-1", "page-2"] {
        client.enrol(user, "hotp").await;
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = client.get(&format!("/v1/events?limit=2&after={after}")).await.expect(200).json;
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= 2);
        seen.extend(events.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(seen, event_ids(client, "/v1/events").await);
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (6, 6));
    // The id of the last event works like `next`, also for one user.
    let rest = event_ids(client, &format!("/v1/events?after={}", seen[3])).await;
    assert_eq!(rest, seen[4..]);
    let first = event_ids(client, "/v1/users/page-1/events").await;
    let rest = event_ids(client, &format!("/v1/users/page-1/events?after={}", first[0])).await;
    assert_eq!(rest, first[1..]);
    assert!(event_ids(client, &format!("/v1/events?after={}", seen[5])).await.is_empty());
    let (_, key) = create_key(&server, "elsewhere", &["audit"]);
    let theirs = client.with_key(Some(&key));
    assert_eq!(theirs.get("/v1/events").await.expect(200).json["events"], json!([]));
}

async fn event_ids(client: &Client, path: &str) -> Vec<String> {
    let page = client.get(path).await.expect(200).json;
    page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// Neither the number of events of other tenants nor the order of events.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_events_tell_a_tenant_nothing_of_the_others() {
    for store in ["sqlite:mfa.db".to_owned(), crate::postgres::database().await, crate::redis::url()] {
        let server = Server::with(binary!(), ServerOptions::new([("MFA_STORE", store.as_str())]));
        let ours = &server.client;
        let key = |scope| create_key(&server, "elsewhere", &[scope]).1;
        let [enrol, theirs] = ["enrol", "audit"].map(|scope| ours.with_key(Some(&key(scope))));
        for n in 0..12 {
            offered(ours, &format!("user-{n}")).await;
            for m in 0..n % 3 {
                offered(&enrol, &format!("user-{n}-{m}")).await;
            }
        }
        let ids = [event_ids(ours, "/v1/events").await, event_ids(&theirs, "/v1/events").await];
        for ids in &ids {
            assert_eq!(ids.len(), 12);
            for id in ids {
                let (prefix, rest) = id.split_at(4);
                let plain = rest.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
                assert_eq!((prefix, rest.len(), plain), ("evt_", 26, true), "{id}");
            }
            // By chance, twelve ids are in order once in 479,001,600 times.
            assert!(!ids.is_sorted() && !ids.iter().rev().is_sorted(), "{ids:?}");
        }
        for (client, own, others) in [(ours, &ids[0], &ids[1]), (&theirs, &ids[1], &ids[0])] {
            assert_eq!(event_ids(client, &format!("/v1/events?after={}", own[4])).await, own[5..]);
            let path = format!("/v1/events?after={}", others[4]);
            let refused = client.get(&path).await.expect_problem(422, "invalid-request").json;
            assert_eq!(refused["errors"][0]["field"], "after", "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_have_256_bytes_and_a_longer_one_is_blamed_on_its_own_field() {
    let server = Server::in_memory(binary!());
    let client = &server.client;
    let factors = "/v1/users/names/factors";
    let longest = "é".repeat(128);
    let offer = |issuer: &str, account: &str| json!({ "kind": "totp", "label": "x", "issuer": issuer, "account_name": account });
    let answer = client.post(factors, offer(&longest, &longest)).await.expect(201).json;
    assert!(answer["totp"]["qr_png"].as_str().unwrap().starts_with("data:image/png;base64,"));
    let longer = format!("{longest}e");
    for (body, field) in [
        (offer(&longer, "a"), "issuer"),
        (offer("a", &longer), "account_name"),
        (offer("a\u{7}", "a"), "issuer"),
        (offer("a", "a\u{202e}"), "account_name"),
        (offer("a:b", "a"), "issuer"),
        (offer("a", "a:b"), "account_name"),
        (offer(" ", "a"), "issuer"),
        (offer("a", " "), "account_name"),
    ] {
        let refused = client.post(factors, body).await.expect_problem(422, "invalid-request").json;
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    assert_eq!(client.count_events("names", "enrolment_started").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_of_one_label_gets_a_number() {
    for server in [Server::start(binary!()), Server::in_memory(binary!())] {
        let client = &server.client;
        let (token, _) = client.enrol("alice", "hotp").await;
        let session = client.in_session(&client.verify("alice", &token.hotp(1)).await.expect(200));
        session.enrol("alice", "hotp").await;
        let status = client.get("/v1/users/alice").await.expect(200).json;
        let labels: Vec<_> =
            status["factors"].as_array().unwrap().iter().map(|factor| &factor["label"]).collect();
        assert_eq!(labels, ["Test phone", "Test phone 2"]);
        let second = format!("/v1/users/alice/factors/{}", status["factors"][1]["id"].as_str().unwrap());
        let label = json!({ "label": "Test phone" }).to_string();
        assert_eq!(
            client.send("PATCH", &second, Some(label)).await.expect(200).json["label"],
            "Test phone 2"
        );
        assert_eq!(client.count_events("alice", "factor_renamed").await, 0);
    }
}
