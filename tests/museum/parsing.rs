//! Parsing, timing, load.

use std::time::Instant;

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn accounts_js_1227_googleauth_37_codes_of_any_other_length() {
    on_one_store(async |server| {
        let client = &server.client;
        let (token, codes) = client.enrol("alice", "hotp").await;
        let right = token.hotp(1);
        let bare = codes[0].replace('-', "");
        for length in (0..80).filter(|length| *length != 6) {
            let code: String = right.chars().cycle().take(length).collect();
            let answer = client.verify("alice", &code).await;
            // Sixteen digits have the form of a backup code.
            let expected = if length == 16 { (401, "invalid-code") } else { (422, "malformed-code") };
            assert_eq!((answer.status.as_u16(), answer.problem()), expected, "{length} digits");
        }
        for length in (0..80).filter(|length| *length != 16) {
            let code: String = bare.chars().cycle().take(length).collect();
            let answer = client.verify("alice", &code).await;
            assert_eq!(answer.problem(), "malformed-code", "{length} characters: {code}");
        }
        for code in [
            format!("0{right}"),
            format!("{right}\u{0}"),
            format!("+{}", &right[1..]),
            format!("{}.0", &right[..4]),
            format!("0x{}", &right[..4]),
            right.replace(|_| true, "①"),
            right.chars().flat_map(|digit| [digit, '\u{301}']).collect(),
        ] {
            client.verify("alice", &code).await.expect_problem(422, "malformed-code");
        }
        let path = "/v1/users/alice/verify";
        for body in [
            format!(r#"{{"code":{right}}}"#),
            format!(r#"{{"code":{right}.0}}"#),
            r#"{"code":true}"#.into(),
            r#"{"code":{}}"#.into(),
        ] {
            client.send("POST", path, Some(body)).await.expect_problem(422, "invalid-request");
        }
        client.verify("alice", &right).await.expect(200);
        assert_eq!(evaluated(client, "alice").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn otphp_27_leading_zeros() {
    on_one_store(async |server| {
        let client = &server.client;
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let known = otp_core::Secret::from_base32(secret).unwrap();
        for digits in [6, 8] {
            let hotp = otp_core::Hotp::new(otp_core::Algorithm::Sha1, otp_core::Digits::new(digits).unwrap());
            let code = |counter| hotp.generate(&known, counter).as_str().to_owned();
            for zeros in ["0", "00"] {
                let counter = (1..2000).find(|counter| code(*counter).starts_with(zeros)).unwrap();
                let user = format!("user-{digits}-{zeros}");
                let body =
                    json!({ "kind": "hotp", "secret": secret, "counter": counter - 1, "digits": digits });
                let (_, token) = offer(client, &user, body).await;
                confirm(client, &user, &token.factor, &code(counter - 1)).await.expect(200);
                let short = code(counter);
                let short = short.trim_start_matches('0');
                assert_ne!(client.verify(&user, short).await.status, 200);
                client.verify(&user, &code(counter)).await.expect(200);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2015_2936_long_input_is_refused_at_once() {
    let server = Server::start(binary!());
    let client = &server.client;
    let (_, codes) = client.enrol("alice", "hotp").await;
    #[expect(clippy::disallowed_methods, reason = "a duration of the test")]
    let started = Instant::now();
    for megabyte in ["1".repeat(1 << 20), "z".repeat(1 << 20), "-".repeat(1 << 20)] {
        client.verify("alice", &megabyte).await.expect_problem(413, "payload-too-large");
    }
    for length in [257, 1000, 16_000] {
        client.verify("alice", &"1".repeat(length)).await.expect_problem(422, "malformed-code");
        let padded = format!("{}{}", codes[0], "-".repeat(length));
        client.verify("alice", &padded).await.expect_problem(422, "malformed-code");
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(evaluated(client, "alice").await, 0);
    client.verify("alice", &codes[0]).await.expect(200);
}

/// A text that is too long is rejected; texts that share a prefix are different.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_25298_nothing_is_cut() {
    on_one_store(async |server| {
        let client = &server.client;
        let long = "a".repeat(254);
        let (ones, twos) = (format!("{long}1"), format!("{long}2"));
        let (first, _) = client.enrol(&ones, "hotp").await;
        let (second, codes) = client.enrol(&twos, "hotp").await;
        client.verify(&twos, &first.hotp(1)).await.expect_problem(401, "invalid-code");
        client.verify(&ones, &first.hotp(1)).await.expect(200);
        client.verify(&twos, &second.hotp(1)).await.expect(200);
        client.get(&format!("/v1/users/{ones}1")).await.expect_problem(422, "invalid-request");
        // Two codes that differ in the last character only.
        let bare = codes[0].replace('-', "");
        let last = if bare.ends_with('0') { '2' } else { '0' };
        let other = format!("{}{last}", &bare[..15]);
        client.verify(&twos, &other).await.expect_problem(401, "invalid-code");
        client.verify(&twos, &format!("{}000", second.hotp(2))).await.expect_problem(422, "malformed-code");
        client.verify(&twos, &format!("{bare}{bare}")).await.expect_problem(422, "malformed-code");
        client.verify(&twos, &bare).await.expect(200);
        let factors = format!("/v1/users/{ones}/factors");
        let factor = format!("{factors}/{}", first.factor);
        for (label, status) in [("ä".repeat(64), 200), ("ä".repeat(65), 422), ("x".repeat(5000), 422)] {
            let answer = client.send("PATCH", &factor, Some(json!({ "label": label }).to_string())).await;
            let answer = answer.expect(status);
            assert!(status == 422 || answer.json["label"] == label, "{}", answer.text);
        }
        for length in [257, 2000] {
            let body = json!({ "reason": "x".repeat(length) });
            client
                .post(&format!("/v1/users/{ones}/reset"), body)
                .await
                .expect_problem(422, "invalid-request");
            let body = json!({ "kind": "hotp", "label": "x", "issuer": "x".repeat(length) });
            client.post(&factors, body).await.expect_problem(422, "invalid-request");
        }
    })
    .await;
}

/// Without a key every user gets the same bytes, and none is looked up.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_6011_cve_2019_20877_who_exists_and_who_has_mfa() {
    on_one_store(async |server| {
        let client = &server.client;
        let (token, _) = client.enrol("enrolled", "hotp").await;
        let (locked, _) = client.enrol("locked", "hotp").await;
        for number in 0..5 {
            client.verify("locked", &locked.wrong(number)).await.expect_problem(401, "invalid-code");
        }
        offer(client, "pending", json!({})).await;
        let mut answers = Vec::new();
        for key in [None, Some("mfa_abcdefghijklmnop_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")] {
            let nobody = client.with_key(key);
            for user in ["enrolled", "locked", "pending", "unknown", "b%20d", "%ff", "..%2f.."] {
                for path in [
                    "",
                    "/verify",
                    "/events",
                    "/factors",
                    "/reset",
                    "/nowhere",
                    &format!("/factors/{}", token.factor),
                ] {
                    for method in ["GET", "POST", "DELETE", "PATCH"] {
                        let body = Some(json!({ "code": token.hotp(1) }).to_string());
                        let answer = nobody.send(method, &format!("/v1/users/{user}{path}"), body).await;
                        let id = answer.json["request_id"].as_str().unwrap().to_owned();
                        let names = answer.headers.keys().map(ToString::to_string);
                        // Whether it is closed depends on how much of the body has arrived.
                        let mut names: Vec<_> = names.filter(|name| name != "connection").collect();
                        names.sort();
                        answers.push((answer.status, answer.text.replace(&id, ""), names));
                    }
                }
            }
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(evaluated(client, "enrolled").await, 0);
        // With a key, an unknown user, one without a factor, and a deleted one get the same answer.
        client.delete("/v1/users/pending").await.expect(204);
        let mut texts = Vec::new();
        for user in ["unknown", "pending"] {
            let status = client.get(&format!("/v1/users/{user}")).await.expect(200).text;
            let answer = client.verify(user, "123456").await.expect_problem(409, "not-enrolled");
            let id = answer.json["request_id"].as_str().unwrap().to_owned();
            texts.push((status.replace(user, ""), answer.text.replace(&id, "")));
        }
        assert_eq!(texts[0], texts[1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_6484_one_line_of_the_log_is_one_line() {
    for format in ["json", "text"] {
        let options = swift([("MFA_LOG", "debug"), ("MFA_LOG_FORMAT", format)]);
        let server = Server::with(binary!(), options);
        let client = &server.client;
        let (token, _) = client.enrol("alice", "hotp").await;
        let forged = "\r\n{\"level\":\"INFO\",\"message\":\"forged\"}\r\n2026-01-01T00:00:00Z  INFO forged";
        let factor = format!("/v1/users/alice/factors/{}", token.factor);
        for text in [
            forged,
            "a\u{2028}forged",
            "a\u{85}forged",
            "a\u{1b}[2Jforged",
            "a\u{0}forged",
            "a\u{202e}forged",
        ] {
            let label = json!({ "label": text }).to_string();
            client.send("PATCH", &factor, Some(label)).await.expect_problem(422, "invalid-request");
            let reason = json!({ "reason": text });
            client.post("/v1/users/alice/reset", reason).await.expect_problem(422, "invalid-request");
            let body = json!({ "kind": "hotp", "label": "x", "issuer": text });
            client.post("/v1/users/other/factors", body).await;
            client.verify("alice", text).await.expect_problem(422, "malformed-code");
            let body = json!({ "code": "123456", "factor": text });
            client.post("/v1/users/alice/verify", body).await.expect_problem(404, "not-found");
        }
        for path in ["/v1/users/a%0d%0aforged/verify", "/v1/%0d%0aforged", "/%0aforged?a=%0d%0aforged"] {
            client.get(path).await;
        }
        let head = head(&server, "GET", "/v1/users/alice");
        raw(&server, format!("{head}X-A: b\r\n forged\r\n\r\n").as_bytes());
        raw(&server, b"GET / HTTP/1.1\r\nHost: x\r\nforged\r\n\r\nforged");
        raw(&server, b"\x1b[2Jforged / HTTP/1.1\r\n\r\n");
        client.get("/v1/users/alice").await.expect(200);
        let log = server.log();
        assert!(log.lines().count() > 20);
        for line in log.lines() {
            if format == "json" {
                let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
                assert!(line["timestamp"].is_string(), "{line}");
            }
            assert!(!line.contains("forged") && !line.contains('\u{1b}'), "{line:?}");
        }
    }
}
