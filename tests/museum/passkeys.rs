//! Passkeys.

use data_encoding::BASE64URL_NOPAD;
use futures_util::future::join_all;
use mfa_tests::SecurityKey;
use serde_json::{Value, json};

use super::*;
use crate::passkeys::calls::{
    ORIGIN, answer, begin, begin_without_user, bytes_of, confirm, log_in, log_in_without_user, offer,
    options, register, register_as, relying_party, status,
};

/// Runs a case on a new server with a relying party for each store.
async fn on_every_store_with_passkeys(case: impl AsyncFn(&Server)) {
    for store in stores().await {
        case(&Server::with(binary!(), relying_party(swift([("MFA_STORE", &store)])))).await;
    }
}

/// Presence is always needed, verification where it is required.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_38299_cve_2020_8236_flags_that_are_not_set() {
    for store in stores().await {
        let options_of = swift([("MFA_STORE", &store), ("MFA_WEBAUTHN_USER_VERIFICATION", "required")]);
        let server = Server::with(binary!(), relying_party(options_of));
        let client = &server.client;
        let (key, _) = register(client, "alice").await;
        let before = status(client, "alice").await;
        for (flags, problem) in [
            (0, "invalid-credential"),
            (SecurityKey::VERIFIED, "invalid-credential"),
            (SecurityKey::PRESENT, "user-verification-required"),
        ] {
            let unset = key.changed(|key| key.flags = flags);
            log_in(client, "alice", &unset).await.expect_problem(401, problem);
            log_in_without_user(client, &unset).await.expect_problem(401, problem);
            let offered = offer(client, "bob").await.expect(201).json;
            let created = unset.another().create(options(&offered));
            confirm(client, "bob", &offered, &created).await.expect_problem(401, problem);
        }
        assert_eq!(status(client, "alice").await, before);
        assert_eq!(status(client, "bob").await["enrolled"], false);
        log_in(client, "alice", &key).await.expect(200);
    }
}

/// What Alice was asked to create becomes Bob's in no way.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_48087_cve_2022_2193_a_registration_for_somebody_else() {
    on_every_store_with_passkeys(async |server| {
        let client = &server.client;
        let (bobs, _) = register(client, "bob").await;
        let session = client.in_session(&log_in(client, "bob", &bobs).await.expect(200));
        let for_alice = offer(client, "alice").await.expect(201).json;
        let for_bob = offer(&session, "bob").await.expect(201).json;
        let before = client.get("/v1/users/bob").await.text;
        let mut key = SecurityKey::new(ORIGIN);
        let created = key.create(options(&for_alice));
        // With her factor in his path, with his factor, and with members that name him.
        confirm(client, "bob", &for_alice, &created).await.expect_problem(404, "not-found");
        let refused =
            confirm(client, "bob", &for_bob, &created).await.expect_problem(401, "invalid-credential");
        assert!(refused.json["detail"].as_str().unwrap().contains("challenge"), "{}", refused.text);
        assert_eq!(client.get("/v1/users/bob").await.text, before);
        let path = format!("/v1/users/alice/factors/{}/confirm", for_alice["factor"]["id"].as_str().unwrap());
        for name in ["user", "user_handle", "userHandle"] {
            let body = json!({ "credential": created, name: "bob" });
            client.post(&path, body).await.expect_problem(422, "invalid-request");
        }
        let mut named = created.clone();
        named["user"] = json!({ "id": bobs.user_handle, "name": "bob" });
        named["response"]["userHandle"] = json!(bobs.user_handle);
        let confirmed = client.post(&path, json!({ "credential": named })).await.expect(200).json;
        assert_eq!(
            (&confirmed["user"], &confirmed["passkeys"]["user_id"]),
            (&json!("alice"), &json!(key.user_handle))
        );
        assert_eq!(log_in_without_user(client, &key).await.expect(200).json["user"], "alice");
        log_in(client, "bob", &key).await.expect_problem(401, "invalid-credential");
        let as_bob = key.changed(|key| key.user_handle.clone_from(&bobs.user_handle));
        log_in_without_user(client, &as_bob).await.expect_problem(401, "invalid-credential");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_45669_a_counter_that_does_not_grow_is_flagged() {
    on_every_store_with_passkeys(async |server| {
        let client = &server.client;
        let mut key = SecurityKey::new(ORIGIN);
        key.sign_count = 3;
        register_as(client, "alice", &mut key).await;
        let counted = async || status(client, "alice").await["factors"][0]["passkey"]["sign_count"].take();
        for (received, stored, flagged) in [(4, 4, 0), (10, 10, 0), (10, 10, 1), (7, 10, 2), (11, 11, 2)] {
            key.sign_count = received;
            log_in(client, "alice", &key).await.expect(200);
            assert_eq!(counted().await, stored, "{received}");
            assert_eq!(client.count_events("alice", "possible_clone").await, flagged, "{received}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_30964_another_scheme_port_or_subdomain() {
    on_every_store_with_passkeys(async |server| {
        let client = &server.client;
        let (key, _) = register(client, "alice").await;
        for origin in [
            "http://login.example.com",
            "https://login.example.com:444",
            "https://example.com",
            "https://login.login.example.com",
            "https://evil.example.com",
        ] {
            let elsewhere = key.changed(|key| origin.clone_into(&mut key.origin));
            log_in(client, "alice", &elsewhere).await.expect_problem(401, "invalid-credential");
            let offered = offer(client, "bob").await.expect(201).json;
            let created = elsewhere.another().create(options(&offered));
            confirm(client, "bob", &offered, &created).await.expect_problem(401, "invalid-credential");
        }
        assert_eq!(client.count_events("alice", "verified").await, 0);
        log_in(client, "alice", &key).await.expect(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_26788_a_foreign_credential_in_alices_ceremony() {
    on_every_store_with_passkeys(async |server| {
        let client = &server.client;
        let (alices, of_alice) = register(client, "alice").await;
        let (bobs, of_bob) = register(client, "bob").await;
        // With his own handle, with hers, and with none.
        for handle in [&bobs.user_handle, &alices.user_handle, &None] {
            let bobs = bobs.changed(|key| key.user_handle.clone_from(handle));
            log_in(client, "alice", &bobs).await.expect_problem(401, "invalid-credential");
        }
        // Another passkey of hers, where one is asked for by name.
        let session = client.in_session(&log_in(client, "alice", &alices).await.expect(200));
        let (second, _) = register(&session, "alice").await;
        let path = "/v1/users/alice/challenges";
        let begun = client.post(path, json!({ "factor": of_alice })).await.expect(201).json;
        let wrong = second.get(options(&begun));
        answer(client, &begun, &wrong).await.expect_problem(401, "invalid-credential");
        client.post(path, json!({ "factor": of_bob })).await.expect_problem(404, "not-found");
        log_in(client, "alice", &second).await.expect(200);
        assert_eq!(log_in_without_user(client, &bobs).await.expect(200).json["user"], "bob");
        assert_eq!(client.count_events("alice", "verified").await, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_39912_options_do_not_tell_who_exists() {
    on_every_store_with_passkeys(async |server| {
        let client = &server.client;
        let (key, _) = register(client, "alice").await;
        let allowed = async |user: &str| options(&begin(client, user).await)["allowCredentials"].clone();
        let members =
            |credential: &Value| credential.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let real = members(&allowed("alice").await[0]);
        for user in ["nobody", "somebody"] {
            let invented = allowed(user).await;
            assert_eq!(members(&invented[0]), real);
            for _ in 0..3 {
                assert_eq!(allowed(user).await, invented);
            }
        }
        assert_ne!(allowed("nobody").await, allowed("somebody").await);
        let refused = [
            log_in(client, "alice", &key.forged()).await,
            log_in(client, "alice", &key.another()).await,
            log_in(client, "nobody", &key).await,
            log_in(client, "nobody", &key.another()).await,
        ];
        for answer in &refused {
            assert_eq!((answer.status.as_u16(), bytes_of(answer)), (401, bytes_of(&refused[0])));
        }
        // Nor does an id of the options, submitted where no user is named or as one's own.
        let mut answers = Vec::new();
        for user in ["alice", "nobody"] {
            let id = allowed(user).await[0]["id"].as_str().unwrap().to_owned();
            let mut holder = key.another();
            holder.id = BASE64URL_NOPAD.decode(id.as_bytes()).unwrap();
            let answer = log_in_without_user(client, &holder).await;
            assert_eq!((answer.status.as_u16(), bytes_of(&answer)), (401, bytes_of(&refused[0])), "{user}");
            let offered = offer(client, "mallory").await.expect(201).json;
            let created = holder.create(options(&offered));
            let answer = confirm(client, "mallory", &offered, &created).await;
            answers.push(bytes_of(&answer.expect_problem(409, "handle-taken")));
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(client.get("/v1/users/nobody").await.json["enrolled"], false);
    })
    .await;
}

/// Right or wrong, an answer ends its challenge, and only a challenge of the store is answered.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2022_42731_cve_2026_28787_a_challenge_that_was_used_or_is_our_own() {
    on_every_store_with_passkeys(async |server| {
        let client = &server.client;
        let (key, _) = register(client, "alice").await;
        for begun in [begin(client, "alice").await, begin_without_user(client).await] {
            let asserted = key.get(options(&begun));
            let answers = join_all((0..20).map(|_| answer(client, &begun, &asserted))).await;
            assert_eq!((verified(&answers), count(&answers, "challenge-over")), (1, 19), "{answers:?}");
            // Under another challenge the same signature is good for nothing.
            for other in [begin(client, "alice").await, begin_without_user(client).await] {
                let refused =
                    answer(client, &other, &asserted).await.expect_problem(401, "invalid-credential");
                assert!(refused.json["detail"].as_str().unwrap().contains("challenge"), "{}", refused.text);
                // A wrong answer has ended it, too.
                let right = key.get(options(&other));
                answer(client, &other, &right).await.expect_problem(410, "challenge-over");
            }
        }
        // A challenge that the client made up.
        let begun = begin(client, "alice").await;
        let mut chosen = options(&begun).clone();
        chosen["challenge"] = json!("A".repeat(43));
        answer(client, &begun, &key.get(&chosen)).await.expect_problem(401, "invalid-credential");
        let offered = offer(client, "bob").await.expect(201).json;
        let mut chosen = options(&offered).clone();
        chosen["challenge"] = json!("A".repeat(43));
        let created = key.another().create(&chosen);
        confirm(client, "bob", &offered, &created).await.expect_problem(401, "invalid-credential");
        let created = key.another().create(options(&offered));
        confirm(client, "bob", &offered, &created).await.expect_problem(410, "challenge-over");
        let nowhere = json!({ "challenge": { "id": "0".repeat(32) } });
        answer(client, &nowhere, &key.get(options(&begun))).await.expect_problem(404, "not-found");
        assert_eq!(client.count_events("alice", "verified").await, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_32726_passkeys_do_not_outlive_a_deleted_user() {
    on_every_store_with_passkeys(async |server| {
        let client = &server.client;
        let (old, _) = register(client, "alice").await;
        client.delete("/v1/users/alice").await.expect(204);
        log_in(client, "alice", &old).await.expect_problem(401, "invalid-credential");
        log_in_without_user(client, &old).await.expect_problem(401, "unknown-credential");
        let (new, _) = register(client, "alice").await;
        log_in(client, "alice", &old).await.expect_problem(401, "invalid-credential");
        log_in_without_user(client, &old).await.expect_problem(401, "unknown-credential");
        log_in_without_user(client, &new).await.expect(200);
    })
    .await;
}
