//! Guessing and lockout.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use reqwest::header::USER_AGENT;
use serde_json::json;

use super::*;

/// A wrong code from another client: other headers, another spelling of the path, another kind of code.
async fn guess_from_elsewhere(
    server: &Server,
    session: usize,
    device: &Authenticator,
    number: usize,
) -> Answer {
    let user = ["alice", "%61lice", "alic%65"][session % 3];
    let body = match number % 3 {
        0 => json!({ "code": device.wrong(session * 10 + number) }),
        1 => json!({ "code": device.wrong(session * 10 + number), "factor": device.factor }),
        _ => json!({ "code": nobodys_backup_code(session * 10 + number) }),
    };
    let url = format!("{}/v1/users/{user}/verify?session={session}", server.url);
    let address = format!("10.{session}.{number}.1");
    let request = reqwest::Client::new()
        .post(url)
        .bearer_auth(server.client.key())
        .header(USER_AGENT, format!("browser/{session}.{number}"))
        .header("Cookie", format!("session={session}"))
        .header("X-Request-Id", format!("{session}-{number}"))
        .header("X-Forwarded-For", &address)
        .header("X-Real-Ip", &address)
        .header("Forwarded", format!("for={address}"))
        .header("Accept-Language", "de")
        .json(&body);
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, json: serde_json::from_str(&text).unwrap_or_default(), text }
}

#[tokio::test(flavor = "multi_thread")]
async fn authquake_50_sessions_of_10_guesses() {
    on_every_store(async |server| {
        let (device, _) = server.client.enrol("alice", "totp").await;
        let sessions = (0..50).map(async |session| {
            let mut answers = Vec::new();
            for number in 0..10 {
                answers.push(guess_from_elsewhere(server, session, &device, number).await);
            }
            answers
        });
        let answers: Vec<_> = join_all(sessions).await.into_iter().flatten().collect();
        assert_eq!((count(&answers, "invalid-code"), count(&answers, "locked")), (5, 495));
        let client = &server.client;
        assert_eq!(evaluated(client, "alice").await, 5);
        // The owner's support can see it.
        assert_eq!(client.count_events("alice", "locked").await, 1);
        assert!(client.get("/v1/users/alice").await.json["locked_until"].is_string());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_16619_cve_2026_14836_nothing_that_a_client_sends_makes_a_fresh_count() {
    on_every_store(async |server| {
        let client = &server.client;
        let (device, codes) = client.enrol("alice", "totp").await;
        for number in 0..5 {
            guess_from_elsewhere(server, number, &device, number).await.expect_problem(401, "invalid-code");
        }
        for session in 0..12 {
            guess_from_elsewhere(server, session, &device, session).await.expect_problem(429, "locked");
        }
        client.verify("alice", &device.totp(0)).await.expect_problem(429, "locked");
        client.verify("alice", &codes[0]).await.expect_problem(429, "locked");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_4629_parallel_guesses() {
    on_every_store(async |server| {
        let client = &server.client;
        for round in 0..rounds(1, 3) {
            let user = format!("user-{round}");
            let (device, _) = client.enrol(&user, "totp").await;
            let wrong: Vec<_> = (0..200).map(|number| device.wrong(number)).collect();
            let answers = join_all(wrong.iter().map(|code| client.verify(&user, code))).await;
            assert_eq!((count(&answers, "invalid-code"), count(&answers, "locked")), (5, 195), "{user}");
            assert_eq!(evaluated(client, &user).await, 5, "{user}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_updates_class_the_counter_misses_no_guess() {
    on_every_store(async |server| {
        let client = &server.client;
        for round in 0..rounds(2, 10) {
            let user = format!("user-{round}");
            let (device, _) = client.enrol(&user, "hotp").await;
            let wrong: Vec<_> = (0..5).map(|number| device.wrong(number)).collect();
            let answers = join_all(wrong[..4].iter().map(|code| client.verify(&user, code))).await;
            assert_eq!(count(&answers, "invalid-code"), 4, "{user}");
            let status = client.get(&format!("/v1/users/{user}")).await.json;
            assert!(status["locked_until"].is_null(), "{user}");
            client.verify(&user, &wrong[4]).await.expect_problem(401, "invalid-code");
            client.verify(&user, &device.hotp(1)).await.expect_problem(429, "locked");
            assert_eq!(evaluated(client, &user).await, 5, "{user}");
        }
    })
    .await;
}

/// Every endpoint whose body has a code, from the OpenAPI document, so that a new one is not forgotten.
async fn endpoints_that_take_a_code(client: &Client) -> BTreeSet<String> {
    let document = client.get("/openapi.json").await.expect(200).json;
    let mut found = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let Some(name) = schema.as_str().and_then(|name| name.rsplit('/').next()) else { continue };
            let schema = &document["components"]["schemas"][name];
            // One body, or one of several.
            let choices = schema["oneOf"].as_array().map_or(std::slice::from_ref(schema), Vec::as_slice);
            let takes_a_code =
                |name: &String| ["code", "otp", "token"].iter().any(|word| name.contains(word));
            let mut members =
                choices.iter().flat_map(|choice| choice["properties"].as_object().unwrap().keys());
            if members.any(takes_a_code) {
                found.insert(path.clone());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_32868_cve_2025_64102_every_endpoint_is_limited_by_default() {
    for server in [Server::start(binary!()), Server::in_memory(binary!())] {
        let client = &server.client;
        let verify = "/v1/users/{user}/verify";
        let confirm = "/v1/users/{user}/factors/{id}/confirm";
        let resynchronise = "/v1/users/{user}/factors/{id}/resynchronise";
        // `mail.rs` tests sent codes.
        let sent = "/v1/challenges/{id}/verify";
        let known = [verify, confirm, resynchronise, sent].map(str::to_owned);
        assert_eq!(endpoints_that_take_a_code(client).await, BTreeSet::from(known));

        for (number, path) in [verify, confirm, resynchronise].into_iter().enumerate() {
            let user = format!("user-{number}");
            let device = if path == confirm {
                offer(client, &user, json!({})).await.1
            } else {
                client.enrol(&user, "hotp").await.0
            };
            let concrete = path.replace("{user}", &user).replace("{id}", &device.factor);
            let wrong: Vec<_> = (0..40).map(|guess| device.wrong(guess)).collect();
            let posts = wrong.windows(2).map(|codes| {
                let body = if path == resynchronise {
                    json!({ "codes": codes })
                } else {
                    json!({ "code": codes[0] })
                };
                client.post(&concrete, body)
            });
            let answers = join_all(posts).await;
            assert_eq!((count(&answers, "invalid-code"), count(&answers, "locked")), (5, 34), "{path}");
            assert_eq!(evaluated(client, &user).await, 5, "{path}");
        }
    }
}

/// No call that a caller can make without a right code resets the count.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_21500_starting_over_does_not_reset_the_count() {
    on_every_store(async |server| {
        let client = &server.client;
        let (device, codes) = client.enrol("alice", "hotp").await;
        let factor = format!("/v1/users/alice/factors/{}", device.factor);
        for number in 0..4 {
            client.verify("alice", &device.wrong(number)).await.expect_problem(401, "invalid-code");
            let body = json!({ "kind": "totp", "label": "x" });
            client.post("/v1/users/alice/factors", body).await.expect_problem(403, "proof-required");
            client.send("PATCH", &factor, Some(json!({ "label": "y" }).to_string())).await.expect(200);
            client.verify("alice", "12345").await.expect_problem(422, "malformed-code");
            client.get("/v1/users/alice").await.expect(200);
        }
        let ahead = [device.hotp(5), device.hotp(6)];
        resynchronise(client, "alice", &device.factor, ahead).await.expect(200);
        client.verify("alice", &device.wrong(5)).await.expect_problem(401, "invalid-code");
        client.verify("alice", &codes[0]).await.expect_problem(429, "locked");

        // Before a user has a factor: each guess at a new offer.
        for number in 0..5 {
            let (_, device) = offer(client, "bob", json!({})).await;
            let wrong = device.wrong(number);
            confirm(client, "bob", &device.factor, &wrong).await.expect_problem(401, "invalid-code");
            if number == 2 {
                client.delete(&format!("/v1/users/bob/factors/{}", device.factor)).await.expect(204);
            }
        }
        let (_, device) = offer(client, "bob", json!({})).await;
        let right = device.totp(0);
        confirm(client, "bob", &device.factor, &right).await.expect_problem(429, "locked");
    })
    .await;
}

/// A second server on one database does not start, and the commands beside it see its counts.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2020_25827_who_shares_the_accounts_shares_the_count() {
    let server = Server::with(binary!(), swift([]));
    let mut second = Command::new(binary!());
    second.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.data());
    assert!(!ends_within_seconds(second).await, "a second server started");

    let client = &server.client;
    let (device, _) = client.enrol("alice", "totp").await;
    for number in 0..5 {
        client.verify("alice", &device.wrong(number)).await.expect_problem(401, "invalid-code");
    }
    let show = || {
        let output = server.command(["user", "show", "alice", "--tenant", "default", "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let status = client.get("/v1/users/alice").await.json;
    assert!(status["locked_until"].is_string());
    assert_eq!(show()["locked_until"], status["locked_until"]);
    let unlock = ["user", "unlock", "alice", "--tenant", "default", "--reason", "asked"];
    assert!(server.command(unlock).status.success());
    for number in 5..10 {
        client.verify("alice", &device.wrong(number)).await.expect_problem(401, "invalid-code");
    }
    client.verify("alice", &device.totp(0)).await.expect_problem(429, "locked");
    assert!(show()["locked_until"].is_string());
}

/// Runs a program that must end by itself; returns whether it succeeded.
pub(super) async fn ends_within_seconds(mut command: Command) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..100 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the program did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_48942_codes_outside_of_the_window() {
    on_every_store(async |server| {
        let client = &server.client;
        let (phone, _) = offer(client, "alice", json!({})).await;
        let id = phone["factor"]["id"].as_str().unwrap().to_owned();
        let phone = Authenticator::scan(&phone);
        // Old codes only get older. New ones are at least two steps ahead, however slow the test is.
        let outside = |steps: i64| phone.totp(30 * steps);
        for pair in [[-2, 3], [-3, 4], [-10, 10], [-29, 29], [-30, 30], [-120, 120]] {
            for step in pair {
                confirm(client, "alice", &id, &outside(step)).await.expect_problem(401, "invalid-code");
            }
            unlock(client, "alice").await;
        }
        confirm(client, "alice", &id, &phone.totp(0)).await.expect(200);
        for step in [-2, -4, 3, 30] {
            client.verify("alice", &outside(step)).await.expect_problem(401, "invalid-code");
        }

        let (token, _) = client.enrol("bob", "hotp").await;
        for counter in [30, 12, 1000] {
            client.verify("bob", &token.hotp(counter)).await.expect_problem(401, "invalid-code");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zitadel_7693_mixed_methods_share_one_budget() {
    on_every_store(async |server| {
        let client = &server.client;
        let (token, codes) = client.enrol("alice", "hotp").await;
        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        let (_, phone) = offer(&session, "alice", json!({})).await;
        confirm(client, "alice", &phone.factor, &phone.totp(0)).await.expect(200);
        let (_, third) = offer(&session, "alice", json!({})).await;

        client.verify("alice", &phone.wrong(1)).await.expect_problem(401, "invalid-code");
        client.verify("alice", &nobodys_backup_code(1)).await.expect_problem(401, "invalid-code");
        confirm(client, "alice", &third.factor, &third.wrong(1)).await.expect_problem(401, "invalid-code");
        let wrong = [token.wrong(1), token.wrong(2)];
        resynchronise(client, "alice", &token.factor, wrong).await.expect_problem(401, "invalid-code");
        let named = json!({ "code": token.wrong(3), "factor": token.factor });
        client.post("/v1/users/alice/verify", named).await.expect_problem(401, "invalid-code");

        // After five in all, no code is evaluated any more.
        client.verify("alice", &phone.totp(30)).await.expect_problem(429, "locked");
        client.verify("alice", &token.hotp(1)).await.expect_problem(429, "locked");
        client.verify("alice", &codes[1]).await.expect_problem(429, "locked");
        confirm(client, "alice", &third.factor, &third.totp(0)).await.expect_problem(429, "locked");
        let right = [token.hotp(1), token.hotp(2)];
        resynchronise(client, "alice", &token.factor, right).await.expect_problem(429, "locked");
        assert_eq!(evaluated(client, "alice").await, 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nist_800_63b_4_3_1_3_2_new_codes_do_not_reset_the_count() {
    on_every_store(async |server| {
        let client = &server.client;
        let (token, codes) = client.enrol("alice", "hotp").await;
        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        for number in 0..4 {
            client.verify("alice", &token.wrong(number)).await.expect_problem(401, "invalid-code");
        }
        let fresh = texts(&reissue(&session, "alice").await.expect(201).json["backup_codes"]);
        client.verify("alice", &token.wrong(4)).await.expect_problem(401, "invalid-code");
        client.verify("alice", &fresh[0]).await.expect_problem(429, "locked");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_61609_a_flood_for_alice_leaves_bob_alone() {
    on_every_store(async |server| {
        let client = &server.client;
        let (alices, _) = client.enrol("alice", "hotp").await;
        let (bobs, codes) = client.enrol("bob", "hotp").await;
        // Users with similar ids, and her own id in other letter cases.
        let (near, _) = client.enrol("Alice", "hotp").await;
        let wrong: Vec<_> = (0..150).map(|number| alices.wrong(number)).collect();
        let flood = join_all(wrong.iter().map(|code| client.verify("alice", code)));
        let others = async {
            client.verify("bob", &bobs.hotp(1)).await.expect(200);
            client.verify("Alice", &near.hotp(1)).await.expect(200);
            client.verify("bob", &codes[0]).await.expect(200);
        };
        let (answers, ()) = tokio::join!(flood, others);
        assert_eq!(count(&answers, "invalid-code"), 5);
        client.verify("alice", &alices.hotp(1)).await.expect_problem(429, "locked");
        client.verify("bob", &bobs.hotp(2)).await.expect(200);
        client.verify("Alice", &near.hotp(2)).await.expect(200);
        assert_eq!(evaluated(client, "bob").await, 0);
    })
    .await;
}
