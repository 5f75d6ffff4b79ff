//! Effects of time, on a server whose clock the test moves.

use serde_json::json;

use super::*;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_43177_a_code_again_one_interval_later() {
    at_any_time(async |server, clock| {
        let client = &server.client;
        let ahead = clock.begin_step();
        let (phone, _) = enrol_ahead(client, "alice", ahead).await;
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let (_, control) = offer(client, "control", json!({ "secret": secret })).await;
        confirm(client, "control", &control.factor, &control.totp(ahead - 30)).await.expect(200);
        let (code, still_good) = (phone.totp(ahead), control.totp(ahead));
        client.verify("alice", &code).await.expect(200);
        clock.set(ahead + 30);
        client.verify("alice", &code).await.expect_problem(401, "invalid-code");
        // The code is not rejected for its age.
        client.verify("control", &still_good).await.expect(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_memory_class_the_mark_lives_as_long_as_the_code() {
    at_any_time(async |server, clock| {
        let client = &server.client;
        let ahead = clock.begin_step();
        let (phone, _) = enrol_ahead(client, "alice", ahead).await;
        // The code of the next step, since it stays valid longest.
        let code = phone.totp(ahead + 30);
        client.verify("alice", &code).await.expect(200);
        for later in [10, 32, 62] {
            clock.set(ahead + later);
            client.verify("alice", &code).await.expect_problem(401, "invalid-code");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_jumps_back_class_no_code_is_good_again() {
    at_any_time(async |server, clock| {
        let client = &server.client;
        let ahead = clock.begin_step();
        let (phone, codes) = enrol_ahead(client, "alice", ahead).await;
        clock.set(ahead + 10 * MINUTE);
        client.verify("alice", &codes[0]).await.expect(200);
        let before: Vec<_> = [-30, 0].map(|s| phone.totp(ahead + 10 * MINUTE + s)).into();
        let session = client.in_session(&client.verify("alice", &before[1]).await.expect(200));
        let change = json!({ "kind": "hotp", "label": "Token" });
        for back in [10 * MINUTE - 30, 10 * MINUTE - 60, 0, -DAY] {
            clock.set(ahead + back);
            // A used one, an older one, and what a phone shows now: none is after the last accepted step.
            for code in [&before[1], &before[0], &phone.totp(ahead + back)] {
                client.verify("alice", code).await.expect_problem(401, "invalid-code");
            }
            // A proof from the future is invalid.
            let answer = session.post("/v1/users/alice/factors", change.clone()).await;
            answer.expect_problem(403, "proof-required");
            unlock(client, "alice").await;
        }
        clock.set(ahead + 10 * MINUTE + 30);
        client.verify("alice", &phone.totp(ahead + 10 * MINUTE + 30)).await.expect(200);

        // A lock does not end early either.
        for number in 0..5 {
            client.verify("alice", &phone.wrong(number)).await.expect_problem(401, "invalid-code");
        }
        let until = client.get("/v1/users/alice").await.json["locked_until"].clone();
        clock.set(ahead - DAY);
        client.verify("alice", &codes[1]).await.expect_problem(429, "locked");
        assert_eq!(client.get("/v1/users/alice").await.json["locked_until"], until);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privacyidea_1578_locks_grow_and_a_rolling_budget_outlives_successes() {
    at_any_time(async |server, clock| {
        let client = &server.client;
        let (token, _) = client.enrol("grows", "hotp").await;
        for number in 0..4 {
            client.verify("grows", &token.wrong(number)).await.expect_problem(401, "invalid-code");
        }
        let mut ahead = 0;
        for lock in [15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR] {
            client.verify("grows", &token.wrong(4)).await.expect_problem(401, "invalid-code");
            let locked = client.verify("grows", &token.hotp(1)).await.expect_problem(429, "locked");
            let wait: i64 = locked.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((lock - 20..=lock).contains(&wait), "{wait} of {lock}");
            ahead += wait;
            clock.set(ahead - 10);
            client.verify("grows", &token.hotp(1)).await.expect_problem(429, "locked");
            clock.set(ahead + 1);
        }
        client.verify("grows", &token.hotp(1)).await.expect(200);

        let (token, codes) = client.enrol("rolls", "hotp").await;
        for round in 0..5 {
            for number in 0..4 {
                client.verify("rolls", &token.wrong(number)).await.expect_problem(401, "invalid-code");
            }
            if round < 4 {
                client.verify("rolls", &token.hotp(round + 1)).await.expect(200);
            }
        }
        // The row is four failures; the twenty of this month lock all the same.
        client.verify("rolls", &token.hotp(6)).await.expect_problem(429, "locked");
        clock.set(ahead + 29 * DAY);
        client.verify("rolls", &codes[0]).await.expect_problem(429, "locked");
        clock.set(ahead + 31 * DAY);
        client.verify("rolls", &token.hotp(6)).await.expect(200);
    })
    .await;
}

/// A proof is valid for five minutes, in the session that it was made in, and new backup codes need one.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2022_36071_new_backup_codes_without_a_fresh_verification() {
    at_any_time(async |server, clock| {
        let client = &server.client;
        let (token, codes) = client.enrol("alice", "hotp").await;
        // Neither the confirmation nor a wrong code is a proof.
        reissue(client, "alice").await.expect_problem(403, "proof-required");
        client.verify("alice", &token.wrong(1)).await.expect_problem(401, "invalid-code");
        reissue(client, "alice").await.expect_problem(403, "proof-required");
        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        reissue(client, "alice").await.expect_problem(403, "proof-required");
        clock.set(5 * MINUTE + 5);
        reissue(&session, "alice").await.expect_problem(403, "proof-required");
        // The rejected calls invalidated no code.
        let session = client.in_session(&client.verify("alice", &codes[1]).await.expect(200));
        clock.set(9 * MINUTE);
        let fresh = texts(&reissue(&session, "alice").await.expect(201).json["backup_codes"]);
        client.verify("alice", &codes[2]).await.expect_problem(401, "invalid-code");
        client.verify("alice", &fresh[0]).await.expect(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fortify_201_a_pending_factor_gates_nothing_and_expires() {
    at_any_time(async |server, clock| {
        let client = &server.client;
        let (_, token) = offer(client, "alice", json!({ "kind": "hotp" })).await;
        for number in 0..5 {
            client.verify("alice", &token.wrong(number)).await.expect_problem(409, "not-enrolled");
            confirm(client, "alice", &token.factor, &token.wrong(number))
                .await
                .expect_problem(401, "invalid-code");
        }
        confirm(client, "alice", &token.factor, &token.hotp(0)).await.expect_problem(429, "locked");
        let status = client.get("/v1/users/alice").await.expect(200).json;
        assert_eq!(status["enrolled"], false);
        client.verify("alice", &token.hotp(0)).await.expect_problem(409, "not-enrolled");

        // For a user with a factor, a second, pending one does not verify.
        let (first, _) = client.enrol("bob", "hotp").await;
        let session = client.in_session(&client.verify("bob", &first.hotp(1)).await.expect(200));
        let (_, second) = offer(&session, "bob", json!({ "kind": "hotp", "replaces": first.factor })).await;
        client.verify("bob", &second.hotp(0)).await.expect_problem(401, "invalid-code");
        client.verify("bob", &first.hotp(2)).await.expect(200);
        clock.set(10 * MINUTE + 5);
        confirm(client, "bob", &second.factor, &second.hotp(0)).await.expect_problem(404, "not-found");
        let status = client.get("/v1/users/bob").await.expect(200).json;
        assert_eq!(status["factors"].as_array().unwrap().len(), 1, "{status}");
        client.verify("bob", &first.hotp(3)).await.expect(200);
    })
    .await;
}

/// With an active factor, enrolling another one requires a recent verification with it in the same session.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2019_15617_cve_2021_3632_a_new_factor_while_logging_in() {
    at_any_time(async |server, clock| {
        let client = &server.client;
        let (token, codes) = client.enrol("alice", "hotp").await;
        let factors = "/v1/users/alice/factors";
        let refused = async |session: &Client| {
            for body in [
                json!({ "kind": "totp", "label": "Mine" }),
                json!({ "kind": "hotp", "label": "Mine", "counter": 7 }),
                json!({ "kind": "totp", "label": "Mine", "replaces": token.factor }),
                json!({ "kind": "totp", "label": "Mine", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" }),
            ] {
                session.post(factors, body).await.expect_problem(403, "proof-required");
            }
        };
        refused(client).await;
        resynchronise(client, "alice", &token.factor, [token.hotp(3), token.hotp(4)]).await.expect(200);
        refused(client).await;
        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        clock.set(5 * MINUTE + 5);
        refused(&session).await;
        let session = client.in_session(&client.verify("alice", &token.hotp(5)).await.expect(200));
        offer(&session, "alice", json!({})).await;
        client
            .send("POST", "/v1/users/alice/reset", Some(json!({ "reason": "lost" }).to_string()))
            .await
            .expect(204);
        // The proof was removed with the factors: the next factor starts without one.
        client.enrol("alice", "hotp").await;
        for session in [client, &session] {
            let body = json!({ "kind": "totp", "label": "Mine" });
            session.post(factors, body).await.expect_problem(403, "proof-required");
        }
    })
    .await;
}
