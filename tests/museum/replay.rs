//! Replay and single use.

use futures_util::future::join_all;
use mfa_tests::Client;
use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn cve_2015_7225_a_code_is_burned() {
    on_every_store(async |server| {
        let client = &server.client;
        let (phone, codes) = client.enrol("totp", "totp").await;
        let (token, _) = client.enrol("hotp", "hotp").await;
        for (user, code) in [("totp", phone.totp(0)), ("totp", codes[0].clone()), ("hotp", token.hotp(1))] {
            client.verify(user, &code).await.expect(200);
            client.verify(user, &code).await.expect_problem(401, "invalid-code");
        }
        assert_eq!(evaluated(client, "totp").await, 0, "a used code is no guess");
        assert_eq!(client.count_events("totp", "replayed").await, 2);
    })
    .await;
}

/// One user's use of a code does not affect another user, even one with the same secret.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2022_25838_a_used_code_is_used_by_one_user() {
    on_every_store(async |server| {
        let client = &server.client;
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let mut phones = Vec::new();
        for user in ["alice", "bob"] {
            let (_, phone) = offer(client, user, json!({ "secret": secret })).await;
            confirm(client, user, &phone.factor, &phone.totp(0)).await.expect(200);
            phones.push(phone);
        }
        let code = phones[0].totp(30);
        client.verify("alice", &code).await.expect(200);
        client.verify("alice", &code).await.expect_problem(401, "invalid-code");
        client.verify("bob", &code).await.expect(200);
        client.verify("bob", &code).await.expect_problem(401, "invalid-code");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_36250_cve_2024_41800_cve_2026_33473_reuse_in_another_spelling() {
    on_every_store(async |server| {
        let client = &server.client;
        let (phone, codes) = client.enrol("alice", "totp").await;
        let code = phone.totp(0);
        client.verify("alice", &code).await.expect(200);
        for spelling in [format!(" {code}"), format!("{}-{}", &code[..3], &code[3..])] {
            client.verify("alice", &spelling).await.expect_problem(401, "invalid-code");
        }
        let named = json!({ "code": code, "factor": phone.factor });
        client.post("/v1/users/alice/verify", named).await.expect_problem(401, "invalid-code");
        unlock(client, "alice").await;

        client.verify("alice", &codes[0]).await.expect(200);
        let bare = codes[0].replace('-', "");
        let confused = bare.replace('0', "O").replace('1', "l");
        for spelling in [bare.clone(), bare.to_uppercase(), confused] {
            client.verify("alice", &spelling).await.expect_problem(401, "invalid-code");
        }
        assert_eq!(client.count_events("alice", "verified").await, 2);
    })
    .await;
}

/// A code accepted by one endpoint is not accepted by another.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_6014_cve_2025_6015_the_same_code_on_a_second_endpoint() {
    on_every_store(async |server| {
        let client = &server.client;
        let (token, codes) = client.enrol("alice", "hotp").await;
        let id = &token.factor;
        // Confirmed, verified or resynchronised with it, then sent to every other endpoint.
        client.verify("alice", &token.hotp(0)).await.expect_problem(401, "invalid-code");
        client.verify("alice", &token.hotp(1)).await.expect(200);
        let used = [token.hotp(1), token.hotp(2)];
        resynchronise(client, "alice", id, used).await.expect_problem(401, "invalid-code");
        let fresh = [token.hotp(7), token.hotp(8)];
        resynchronise(client, "alice", id, fresh.clone()).await.expect(200);
        resynchronise(client, "alice", id, fresh.clone()).await.expect_problem(401, "invalid-code");
        for code in fresh {
            client.verify("alice", &code).await.expect_problem(401, "invalid-code");
        }
        // A pair whose first code was used is not a guess either.
        assert_eq!(evaluated(client, "alice").await, 0);
        assert_eq!(client.count_events("alice", "replayed").await, 5);

        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        let (_, second) = offer(&session, "alice", json!({ "kind": "hotp" })).await;
        for code in [token.hotp(8), codes[0].clone()] {
            let answer = confirm(client, "alice", &second.factor, &code).await;
            assert!(["invalid-code", "malformed-code"].contains(&answer.problem()), "{}", answer.text);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn better_auth_10387_three_sign_ins_with_one_code() {
    on_every_store(async |server| {
        let (phone, _) = server.client.enrol("alice", "totp").await;
        let code = phone.totp(0);
        let mut answers = Vec::new();
        for _ in 0..3 {
            // Another host, another connection.
            answers.push(server.client.at(&server.url).verify("alice", &code).await);
        }
        assert_eq!((verified(&answers), count(&answers, "invalid-code")), (1, 2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2019_12887_old_consecutive_codes_never_resynchronise() {
    on_every_store(async |server| {
        let client = &server.client;
        let (token, _) = client.enrol("alice", "hotp").await;
        for counter in 1..=6 {
            client.verify("alice", &token.hotp(counter)).await.expect(200);
        }
        for (first, second) in [(0, 1), (2, 3), (5, 6), (6, 7)] {
            let codes = [token.hotp(first), token.hotp(second)];
            resynchronise(client, "alice", &token.factor, codes).await.expect_problem(401, "invalid-code");
        }
        client.verify("alice", &token.hotp(7)).await.expect(200);
        for counter in 0..=4 {
            client.verify("alice", &token.hotp(counter)).await.expect_problem(401, "invalid-code");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2020_10185_no_call_lowers_a_counter_or_a_step() {
    on_every_store(async |server| {
        let client = &server.client;
        let (token, _) = client.enrol("hotp", "hotp").await;
        let (phone, _) = client.enrol("totp", "totp").await;
        resynchronise(client, "hotp", &token.factor, [token.hotp(50), token.hotp(51)]).await.expect(200);
        let shown = phone.totp(0);
        let session_by_phone = client.in_session(&client.verify("totp", &shown).await.expect(200));
        let token_session = client.in_session(&client.verify("hotp", &token.hotp(52)).await.expect(200));
        for (session, user, device, old) in [
            (&token_session, "hotp", &token, [token.hotp(50), token.hotp(51)]),
            (&session_by_phone, "totp", &phone, [shown, phone.totp(-30)]),
        ] {
            let factor = format!("/v1/users/{user}/factors/{}", device.factor);
            for call in 0..5 {
                let label = json!({ "label": "other" }).to_string();
                match call {
                    0 => drop(client.send("PATCH", &factor, Some(label)).await.expect(200)),
                    1 => drop(reissue(session, user).await.expect(201)),
                    2 => {
                        // Codes before the resynchronised position: the factor must not go back to them.
                        let older = [device.hotp(48), device.hotp(49)];
                        assert_ne!(resynchronise(client, user, &device.factor, older).await.status, 200);
                    }
                    3 => drop(offer(session, user, json!({ "replaces": device.factor })).await),
                    _ => drop(client.get(&format!("/v1/users/{user}")).await.expect(200)),
                }
                for code in &old {
                    client.verify(user, code).await.expect_problem(401, "invalid-code");
                }
                unlock(client, user).await;
            }
        }
        client.verify("hotp", &token.hotp(53)).await.expect(200);
    })
    .await;
}

/// Posts one code many times at once, with and without the factor's name, over several connections.
async fn at_once(client: &Client, user: &str, factor: Option<&str>, code: &str, times: usize) -> Vec<Answer> {
    let clients: Vec<_> = (0..4).map(|_| client.clone()).collect();
    let posts = (0..times).map(|number| {
        let body = match factor {
            Some(factor) if number % 2 == 0 => json!({ "code": code, "factor": factor }),
            _ => json!({ "code": code }),
        };
        let client = &clients[number % clients.len()];
        async move { client.post(&format!("/v1/users/{user}/verify"), body).await }
    });
    join_all(posts).await
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_replay_class_one_of_64() {
    on_every_store(async |server| {
        for round in 0..rounds(1, 4) {
            let client = &server.client;
            for kind in ["totp", "hotp"] {
                let user = format!("{kind}-{round}");
                let (device, _) = client.enrol(&user, kind).await;
                let code = if kind == "hotp" { device.hotp(1) } else { device.totp(0) };
                let answers = at_once(client, &user, Some(&device.factor), &code, 64).await;
                assert_eq!(verified(&answers), 1, "{user}");
                assert_eq!(client.count_events(&user, "verified").await, 1, "{user}");
                assert_eq!(evaluated(client, &user).await, 0, "{user}");
            }
        }
    })
    .await;
}
