//! Removal and administration.

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_25759_cve_2025_5382_other_users_factors() {
    on_every_store(async |server| {
        let client = &server.client;
        let (alices, codes) = client.enrol("alice", "hotp").await;
        let (bobs, _) = client.enrol("bob", "hotp").await;
        let (_, carols) = offer(client, "carol", json!({ "kind": "hotp" })).await;
        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        let state =
            async || (client.get("/v1/users/bob").await.text, client.get("/v1/users/carol").await.text);
        let before = state().await;
        let label = json!({ "label": "mine" }).to_string();
        for (device, next) in [(&bobs, 1), (&carols, 0)] {
            let path = format!("/v1/users/alice/factors/{}", device.factor);
            session.delete(&path).await.expect_problem(404, "not-found");
            client.send("PATCH", &path, Some(label.clone())).await.expect_problem(404, "not-found");
            confirm(client, "alice", &device.factor, &device.hotp(next))
                .await
                .expect_problem(404, "not-found");
            let codes = [device.hotp(next), device.hotp(next + 1)];
            resynchronise(client, "alice", &device.factor, codes).await.expect_problem(404, "not-found");
            let body = json!({ "kind": "hotp", "label": "x", "replaces": device.factor });
            session.post("/v1/users/alice/factors", body).await.expect_problem(404, "not-found");
            let body = json!({ "code": device.hotp(next), "factor": device.factor });
            client.post("/v1/users/alice/verify", body).await.expect_problem(404, "not-found");
        }
        assert_eq!(state().await, before);
        client.verify("alice", &alices.hotp(1)).await.expect(200);
        client.verify("bob", &bobs.hotp(1)).await.expect(200);
    })
    .await;
}

/// Removing a factor and issuing backup codes take an assertion about their owner, in the session that asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_25759_cve_2025_5382_a_removal_with_a_proof_that_is_none() {
    let clock = Clock::new();
    let server = Server::with(binary!(), clock.of(swift([])));
    let client = &server.client;
    // No operator's, who removes factors without a proof.
    let owner = client.with_key(Some(&create_key(&server, "default", "enrol")));
    let (token, codes) = client.enrol("alice", "hotp").await;
    let (bobs, _) = client.enrol("bob", "hotp").await;
    let old = asserted(client, "alice", &codes[0]).await;
    let bobs = asserted(client, "bob", &bobs.hotp(1)).await;
    let factor = format!("/v1/users/alice/factors/{}", token.factor);
    let calls = [("POST", "/v1/users/alice/backup-codes"), ("DELETE", factor.as_str())];
    let send = async |(method, path): (&str, &str), body: &Value| {
        owner.send(method, path, Some(body.to_string())).await
    };
    let state = async || (client.get("/v1/users/alice").await.text, client.events("alice").await);
    let before = state().await;
    for call in calls {
        for wrong in wrong_proofs(&old, &bobs) {
            send(call, &wrong).await.expect_problem(403, "proof-required");
        }
        send(call, &json!({ "reason": "lost" })).await.expect_problem(403, "forbidden");
    }
    clock.set(5 * 60 + 5);
    for call in calls {
        send(call, &json!({ "proof": old, "nonce": SESSION })).await.expect_problem(403, "proof-required");
    }
    assert_eq!(state().await, before);
    let fresh = json!({ "proof": asserted(client, "alice", &token.hotp(1)).await, "nonce": SESSION });
    send(calls[0], &fresh).await.expect(201);
    send(calls[1], &fresh).await.expect(204);
    assert_eq!(client.count_events("alice", "factor_revoked").await, 1);
}

/// A key of another tenant reaches another Alice, with all calls.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_tenant_never_reach_ours() {
    let server = Server::with(binary!(), swift([]));
    let client = &server.client;
    let (alices, codes) = client.enrol("alice", "hotp").await;
    let keys = ["verify", "enrol", "admin", "audit"].map(|scope| create_key(&server, "other", scope));
    let [verify, enrol, admin, audit] = keys.each_ref().map(|key| client.with_key(Some(key)));
    let before = (client.get("/v1/users/alice").await.text, client.events("alice").await);
    for code in [&alices.hotp(1), &codes[0]] {
        verify.verify("alice", code).await.expect_problem(409, "not-enrolled");
    }
    let factor = format!("/v1/users/alice/factors/{}", alices.factor);
    enrol.delete(&factor).await.expect_problem(404, "not-found");
    enrol
        .send("PATCH", &factor, Some(json!({ "label": "x" }).to_string()))
        .await
        .expect_problem(404, "not-found");
    confirm(&enrol, "alice", &alices.factor, &alices.hotp(1)).await.expect_problem(404, "not-found");
    resynchronise(&enrol, "alice", &alices.factor, [alices.hotp(1), alices.hotp(2)]).await.expect(404);
    reissue(&enrol, "alice").await.expect_problem(409, "not-enrolled");
    for call in ["reset", "unlock"] {
        admin.post(&format!("/v1/users/alice/{call}"), json!({ "reason": "x" })).await.expect(204);
    }
    admin.delete("/v1/users/alice").await.expect(204);
    let theirs = audit.get("/v1/events?limit=1000").await.expect(200).json;
    assert_eq!(theirs["events"], json!([]), "there was nothing to reset, to unlock or to erase");
    assert_eq!((client.get("/v1/users/alice").await.text, client.events("alice").await), before);
    // Five failures in the other tenant do not count for her.
    let (_, pending) = offer(&enrol, "alice", json!({ "kind": "hotp" })).await;
    for number in 0..5 {
        confirm(&enrol, "alice", &pending.factor, &pending.wrong(number)).await.expect(401);
    }
    confirm(&enrol, "alice", &pending.factor, &pending.hotp(0)).await.expect_problem(429, "locked");
    client.verify("alice", &alices.hotp(1)).await.expect(200);
    // What Bob proves here proves nothing there.
    let (ours, _) = client.enrol("bob", "hotp").await;
    enrol.enrol("bob", "hotp").await;
    let session = enrol.in_session(&client.verify("bob", &ours.hotp(1)).await.expect(200));
    reissue(&session, "bob").await.expect_problem(403, "proof-required");
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_9047_the_old_secret_after_replacement() {
    on_every_store(async |server| {
        let client = &server.client;
        let (old, codes) = client.enrol("alice", "hotp").await;
        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        let (_, new) = offer(&session, "alice", json!({ "kind": "hotp", "replaces": old.factor })).await;
        // The old factor works until the new one does.
        client.verify("alice", &old.hotp(1)).await.expect(200);
        confirm(client, "alice", &new.factor, &new.hotp(0)).await.expect(200);
        client.verify("alice", &old.hotp(2)).await.expect_problem(401, "invalid-code");
        let named = json!({ "code": old.hotp(2), "factor": old.factor });
        client.post("/v1/users/alice/verify", named).await.expect_problem(404, "not-found");
        resynchronise(client, "alice", &old.factor, [old.hotp(2), old.hotp(3)])
            .await
            .expect_problem(404, "not-found");
        client.verify("alice", &new.hotp(1)).await.expect(200);
        assert_eq!(client.count_events("alice", "factor_revoked").await, 1);
    })
    .await;
}

/// Neither a reset nor anything after it counts as a verification or leaves a proof.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_21654_recovery_verifies_nobody() {
    on_every_store(async |server| {
        let client = &server.client;
        let (token, codes) = client.enrol("alice", "hotp").await;
        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        let (_, pending) = offer(&session, "alice", json!({ "kind": "hotp" })).await;
        let answer = client.post("/v1/users/alice/reset", json!({ "reason": "lost" })).await.expect(204);
        assert_eq!(answer.text, "");
        for code in [&token.hotp(1), &codes[1], &pending.hotp(0)] {
            client.verify("alice", code).await.expect_problem(409, "not-enrolled");
        }
        // A factor that was pending before the reset stays removed after it.
        confirm(client, "alice", &pending.factor, &pending.hotp(0)).await.expect_problem(404, "not-found");
        reissue(&session, "alice").await.expect_problem(409, "not-enrolled");
        let (fresh, _) = client.enrol("alice", "hotp").await;
        for session in [client, &session] {
            reissue(session, "alice").await.expect_problem(403, "proof-required");
        }
        client.verify("alice", &codes[1]).await.expect_problem(401, "invalid-code");
        client.verify("alice", &token.hotp(1)).await.expect_problem(401, "invalid-code");
        client.verify("alice", &fresh.hotp(1)).await.expect(200);
        assert_eq!(client.count_events("alice", "verified").await, 2);
    })
    .await;
}

/// Without the right code no call of an operator returns success; unlocking a locked account lets nobody in.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_in_a_row_disable_and_only_a_reset_helps() {
    for store in stores().await {
        let options = swift([("MFA_STORE", &store), ("MFA_LOCKOUT_DISABLE_AFTER", "12")]);
        let server = Server::with(binary!(), options);
        let client = &server.client;
        let (token, codes) = client.enrol("alice", "hotp").await;
        for number in 0..12 {
            client.verify("alice", &token.wrong(number)).await.expect_problem(401, "invalid-code");
            if number % 5 == 4 {
                unlock(client, "alice").await;
            }
        }
        for code in [token.hotp(1), codes[0].clone(), token.wrong(1)] {
            client.verify("alice", &code).await.expect_problem(403, "disabled");
        }
        let body = json!({ "reason": "please" });
        client.post("/v1/users/alice/unlock", body.clone()).await.expect_problem(403, "disabled");
        resynchronise(client, "alice", &token.factor, [token.hotp(1), token.hotp(2)])
            .await
            .expect_problem(403, "disabled");
        client.post("/v1/users/alice/reset", body).await.expect(204);
        client.verify("alice", &token.hotp(1)).await.expect_problem(409, "not-enrolled");
        let (fresh, _) = client.enrol("alice", "hotp").await;
        client.verify("alice", &fresh.hotp(1)).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_32726_nothing_outlives_a_deleted_user() {
    on_every_store(async |server| {
        let client = &server.client;
        let (token, codes) = client.enrol("alice", "hotp").await;
        let session = client.in_session(&client.verify("alice", &codes[0]).await.expect(200));
        let replacing = json!({ "kind": "hotp", "replaces": token.factor });
        let (_, pending) = offer(&session, "alice", replacing).await;
        client.delete("/v1/users/alice").await.expect(204);
        let status = client.get("/v1/users/alice").await.expect(200).json;
        assert_eq!((&status["enrolled"], &status["factors"]), (&json!(false), &json!([])));
        client.verify("alice", &token.hotp(1)).await.expect_problem(409, "not-enrolled");
        confirm(client, "alice", &pending.factor, &pending.hotp(0)).await.expect_problem(404, "not-found");

        // Another person gets the name.
        let (fresh, _) = client.enrol("alice", "hotp").await;
        for code in [&token.hotp(1), &pending.hotp(0), &codes[1]] {
            client.verify("alice", code).await.expect_problem(401, "invalid-code");
        }
        for session in [client, &session] {
            reissue(session, "alice").await.expect_problem(403, "proof-required");
        }
        client.verify("alice", &fresh.hotp(1)).await.expect(200);

        // Deleting forgets no failure for the next owner of the name, and the trail keeps the events.
        let kinds: Vec<_> = client.events("alice").await;
        let erased = kinds.iter().position(|event| event["kind"] == "erased");
        assert!(erased.is_some_and(|at| at > 2), "{kinds:?}");
    })
    .await;
}
