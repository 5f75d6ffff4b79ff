//! What goes wrong in the field: authenticators and browsers that are not as they were, or not as they are asked to be.

use data_encoding::BASE64URL_NOPAD;
use mfa_tests::{Answer, Client, SecurityKey, Server, ServerOptions, binary};
use serde_json::{Value, json};

use super::calls::{
    ORIGIN, answer, begin, confirm, log_in, log_in_without_user, offer, options, register, register_as,
    relying_party, status,
};

fn server<const N: usize>(more: [(&str, &str); N]) -> Server {
    let options = ServerOptions::new([("MFA_STORE", "memory:")]);
    Server::with(binary!(), relying_party(options).and(more))
}

/// Tries this many wrong backup codes.
async fn guess(client: &Client, user: &str, count: usize) {
    for number in 0..count {
        let code = format!("zzzz-zzzz-zzzz-{number:04}");
        client.verify(user, &code).await.expect_problem(401, "invalid-code");
    }
}

async fn passkey(client: &Client, user: &str) -> Value {
    status(client, user).await["factors"][0]["passkey"].take()
}

/// The details of the events of this kind, oldest first.
async fn details(client: &Client, user: &str, kind: &str) -> Vec<Value> {
    let mut events = client.events(user).await;
    events.retain(|event| event["kind"] == kind);
    events.into_iter().map(|mut event| event["detail"].take()).collect()
}

fn in_frame(key: &SecurityKey, cross_origin: bool, top_origin: Option<&str>) -> SecurityKey {
    key.changed(|key| {
        key.cross_origin = cross_origin;
        key.top_origin = top_origin.map(str::to_owned);
    })
}

/// The answers to a registration of a new passkey in these circumstances, and to a login with `key`.
async fn refusals(client: &Client, user: &str, key: &SecurityKey) -> [Answer; 2] {
    let stranger = format!("{user}-too");
    let offered = offer(client, &stranger).await.expect(201).json;
    let created = key.another().create(options(&offered));
    [confirm(client, &stranger, &offered, &created).await, log_in(client, user, key).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_answered_while_the_account_is_locked() {
    let server = server([]);
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    guess(client, "alice", 5).await;
    let locked = async || client.verify("alice", "zzzz-zzzz-zzzz-zzzz").await.expect_problem(429, "locked");
    locked().await;
    log_in(client, "alice", &key.forged()).await.expect_problem(401, "invalid-credential");
    locked().await;
    log_in(client, "alice", &key).await.expect(200);

    guess(client, "alice", 5).await;
    locked().await;
    log_in_without_user(client, &key).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_not_answered_while_the_account_is_disabled() {
    let server = server([("MFA_LOCKOUT_DISABLE_AFTER", "5")]);
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    let begun = begin(client, "alice").await;
    guess(client, "alice", 5).await;
    assert_eq!(status(client, "alice").await["disabled"], true);
    answer(client, &begun, &key.get(options(&begun))).await.expect_problem(403, "disabled");
    log_in_without_user(client, &key).await.expect_problem(403, "disabled");
    let path = "/v1/users/alice/challenges";
    client.post(path, json!({ "kind": "passkey" })).await.expect_problem(403, "disabled");
    assert_eq!(client.count_events("alice", "verified").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_passkey_costs_no_attempt_and_changes_nothing() {
    let server = server([]);
    let client = &server.client;
    let mut key = SecurityKey::new(ORIGIN);
    key.sign_count = 7;
    register_as(client, "alice", &mut key).await;
    guess(client, "alice", 2).await;
    let before = status(client, "alice").await;
    assert_eq!((&before["attempts_left"], &before["locked_until"]), (&json!(3), &Value::Null));
    let wrong: [fn(&mut SecurityKey); 7] = [
        |key| *key = key.forged(),
        |key| key.flags = 0,
        |key| key.flags |= SecurityKey::BACKED_UP,
        |key| key.rp_id = Some("login.example.com".to_owned()),
        |key| key.user_handle = Some(BASE64URL_NOPAD.encode(&[1; 32])),
        |key| key.id[0] ^= 1,
        |key| key.origin = "https://example.com".to_owned(),
    ];
    for (number, spoil) in wrong.into_iter().enumerate() {
        let wrong = key.changed(|key| {
            key.sign_count = 100;
            spoil(key);
        });
        let refused = log_in(client, "alice", &wrong).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (401, "invalid-credential"), "{number}");
        assert_eq!(status(client, "alice").await, before, "{number}");
    }
    key.sign_count = 8;
    log_in(client, "alice", &key).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_a_pin_is_told_to_verify_its_user_where_that_is_required() {
    let server = server([("MFA_WEBAUTHN_USER_VERIFICATION", "required")]);
    let client = &server.client;
    let (mut key, _) = register(client, "alice").await;
    let offered = offer(client, "bob").await.expect(201).json;
    let selection = &options(&offered)["authenticatorSelection"];
    assert_eq!(selection["userVerification"], "required");
    assert_eq!(options(&begin(client, "alice").await)["userVerification"], "required");

    key.flags = SecurityKey::PRESENT;
    for refused in refusals(client, "alice", &key).await {
        let refused = refused.expect_problem(401, "user-verification-required");
        let title = refused.json["title"].as_str().unwrap();
        assert!(title.contains("PIN"), "it does not say what to do: {title}");
    }
    log_in_without_user(client, &key).await.expect_problem(401, "user-verification-required");
    key.flags |= SecurityKey::VERIFIED;
    let verified = log_in(client, "alice", &key).await.expect(200);
    assert_eq!(verified.json["user_verified"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_not_required_the_answer_says_whether_the_user_was_verified() {
    for policy in ["preferred", "discouraged"] {
        let server = server([("MFA_WEBAUTHN_USER_VERIFICATION", policy)]);
        let client = &server.client;
        let (mut key, _) = register(client, "alice").await;
        assert_eq!(options(&begin(client, "alice").await)["userVerification"], policy);
        for (flags, user_verified, amr) in [
            (SecurityKey::PRESENT, false, json!(["user"])),
            (SecurityKey::PRESENT | SecurityKey::VERIFIED, true, json!(["user", "mfa"])),
        ] {
            key.flags = flags;
            let verified = log_in(client, "alice", &key).await.expect(200).json;
            assert_eq!((&verified["user_verified"], &verified["amr"]), (&json!(user_verified), &amr));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_origin_is_refused_and_named_as_the_reason() {
    let server = server([]);
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    for origin in [
        "http://login.example.com",
        "https://login.example.com:8443",
        "https://example.com",
        "https://a.login.example.com",
        "https://login.example.com.example",
        "https://login.example.com/",
        "https://LOGIN.example.com",
        "https://login.example.com@example.org",
        "null",
        "",
    ] {
        let key = key.changed(|key| origin.clone_into(&mut key.origin));
        for refused in refusals(client, "alice", &key).await {
            let refused = refused.expect_problem(401, "invalid-credential");
            let detail = refused.json["detail"].as_str().unwrap();
            assert!(detail.contains("origin"), "{origin}: {detail}");
        }
    }
    let elsewhere = "https://example.org";
    for (cross_origin, top_origin) in [(true, None), (true, Some(elsewhere)), (false, Some(elsewhere))] {
        let framed = in_frame(&key, cross_origin, top_origin);
        for refused in refusals(client, "alice", &framed).await {
            let refused = refused.expect_problem(401, "invalid-credential");
            assert!(refused.json["detail"].as_str().unwrap().contains("frame"), "{}", refused.text);
        }
    }
    log_in(client, "alice", &key).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_a_site_that_is_configured_is_accepted() {
    let server = server([("MFA_WEBAUTHN_TOP_ORIGINS", r#"["https://example.org"]"#)]);
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    log_in(client, "alice", &in_frame(&key, true, Some("https://example.org"))).await.expect(200);
    for top_origin in [None, Some("https://example.net"), Some("http://example.org")] {
        let elsewhere = in_frame(&key, true, top_origin);
        log_in(client, "alice", &elsewhere).await.expect_problem(401, "invalid-credential");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_belongs_to_one_user_and_is_registered_once() {
    let server = server([]);
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    let session = client.in_session(&log_in(client, "alice", &key).await.expect(200));
    for user in ["bob", "alice"] {
        let offered = offer(&session, user).await.expect(201).json;
        let created = key.clone().create(options(&offered));
        confirm(client, user, &offered, &created).await.expect_problem(409, "handle-taken");
        confirm(client, user, &offered, &created).await.expect_problem(410, "challenge-over");
    }
    assert_eq!(status(client, "bob").await["enrolled"], false);
    let verified = log_in_without_user(client, &key).await.expect(200);
    assert_eq!(verified.json["user"], "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_algorithm_that_is_not_supported_is_refused_by_name_before_it_protects_anything() {
    let server = server([]);
    let client = &server.client;
    let offered = offer(client, "alice").await.expect(201).json;
    let created = SecurityKey::ed25519(ORIGIN).create(options(&offered));
    let refused = confirm(client, "alice", &offered, &created).await;
    let refused = refused.expect_problem(422, "unsupported-credential");
    assert!(refused.json["detail"].as_str().unwrap().contains("algorithm"), "{}", refused.text);
    assert_eq!(status(client, "alice").await["enrolled"], false);
    // Another authenticator is offered anew.
    confirm(client, "alice", &offered, &created).await.expect_problem(410, "challenge-over");
    register(client, "alice").await;
}

/// A credential with another attestation statement than `none`.
fn stating(created: &Value, format_and_statement: &[u8]) -> Value {
    let object = created["response"]["attestationObject"].as_str().unwrap();
    let object = BASE64URL_NOPAD.decode(object.as_bytes()).unwrap();
    let rest = object.strip_prefix(b"\xa3\x63fmt\x64none\x67attStmt\xa0").unwrap();
    let mut stating = created.clone();
    let object = [&b"\xa3"[..], format_and_statement, rest].concat();
    stating["response"]["attestationObject"] = json!(BASE64URL_NOPAD.encode(&object));
    stating
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_attestation_is_refused_by_name_though_none_was_asked_for() {
    let server = server([]);
    let client = &server.client;
    for (number, statement) in [
        // Signed by the credential itself, wrongly.
        &b"\x63fmt\x66packed\x67attStmt\xa2\x63alg\x26\x63sig\x4812345678"[..],
        b"\x63fmt\x66packed\x67attStmt\xa0",
        b"\x63fmt\x63new\x67attStmt\xa0",
        b"\x63fmt\x64none\x67attStmt\xa1\x63alg\x26",
    ]
    .into_iter()
    .enumerate()
    {
        let offered = offer(client, "alice").await.expect(201).json;
        let created = SecurityKey::new(ORIGIN).create(options(&offered));
        let refused = confirm(client, "alice", &offered, &stating(&created, statement)).await;
        let refused = refused.expect_problem(422, "unsupported-credential");
        assert!(refused.json["detail"].as_str().unwrap().contains("attestation"), "{}", refused.text);
        confirm(client, "alice", &offered, &created).await.expect_problem(410, "challenge-over");
        let refusals = details(client, "alice", "credential_refused").await;
        assert_eq!(refusals, vec![json!({ "reason": "attestation" }); number + 1]);
    }
    assert_eq!(status(client, "alice").await["enrolled"], false);
    register(client, "alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_without_attestation_is_refused_by_name_where_it_is_required() {
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, include_str!("../../crates/mfa-webauthn/tests/data/root.pem")).unwrap();
    let roots = roots.to_str().unwrap();
    let server = server([("MFA_WEBAUTHN_ATTESTATION", "trusted"), ("MFA_WEBAUTHN_ROOTS_FILE", roots)]);
    let client = &server.client;
    let offered = offer(client, "alice").await.expect(201).json;
    assert_eq!(options(&offered)["attestation"], "direct");
    let created = SecurityKey::new(ORIGIN).create(options(&offered));
    let refused = confirm(client, "alice", &offered, &created).await;
    let refused = refused.expect_problem(422, "unsupported-credential");
    assert!(refused.json["detail"].as_str().unwrap().contains("attestation"), "{}", refused.text);
    assert_eq!(status(client, "alice").await["enrolled"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_does_not_grow_is_audited_and_refused_only_by_policy() {
    for (refuses, status_code) in [("false", 200), ("true", 401)] {
        let server = server([("MFA_WEBAUTHN_REFUSE_CLONES", refuses)]);
        let client = &server.client;
        let mut key = SecurityKey::new(ORIGIN);
        key.sign_count = 7;
        register_as(client, "alice", &mut key).await;
        for (received, expected) in
            [(9, 200), (9, status_code), (3, status_code), (0, status_code), (10, 200)]
        {
            key.sign_count = received;
            log_in(client, "alice", &key).await.expect(expected);
            // Never lower than one that was accepted.
            assert_eq!(passkey(client, "alice").await["sign_count"], received.max(9), "{received}");
        }
        let told = |received: &str| json!({ "stored": "9", "received": received });
        let clones = details(client, "alice", "possible_clone").await;
        assert_eq!(clones, [told("9"), told("3"), told("0")]);

        // Many authenticators have none.
        let (without, _) = register(client, "bob").await;
        for _ in 0..3 {
            log_in(client, "bob", &without).await.expect(200);
        }
        assert_eq!(client.count_events("bob", "possible_clone").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_backup_is_recorded_and_one_of_its_eligibility_is_refused() {
    let server = server([]);
    let client = &server.client;
    let mut key = SecurityKey::new(ORIGIN);
    let unsynced = key.flags | SecurityKey::BACKUP_ELIGIBLE;
    key.flags = unsynced;
    register_as(client, "alice", &mut key).await;
    for backed_up in [true, true, false] {
        key.flags = if backed_up { unsynced | SecurityKey::BACKED_UP } else { unsynced };
        let verified = log_in(client, "alice", &key).await.expect(200);
        assert_eq!(verified.json["amr"], json!(["swk", "user", "mfa"]));
        assert_eq!(passkey(client, "alice").await["backed_up"], backed_up);
    }
    let changes = details(client, "alice", "backup_state_changed").await;
    assert_eq!(changes, [json!({ "backed_up": "true" }), json!({ "backed_up": "false" })]);

    let (mut hardware, _) = register(client, "bob").await;
    hardware.flags |= SecurityKey::BACKUP_ELIGIBLE;
    key.flags &= !SecurityKey::BACKUP_ELIGIBLE;
    for (user, key) in [("alice", &key), ("bob", &hardware)] {
        let before = passkey(client, user).await;
        let refused = log_in(client, user, key).await.expect_problem(401, "passkey-changed");
        let title = refused.json["title"].as_str().unwrap();
        assert!(title.contains("add it again"), "it does not say what to do: {title}");
        log_in_without_user(client, key).await.expect_problem(401, "passkey-changed");
        assert_eq!(passkey(client, user).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transports_are_kept_as_given_and_those_of_a_backed_up_passkey_include_other_devices() {
    let server = server([]);
    let client = &server.client;
    let backed_up = SecurityKey::BACKUP_ELIGIBLE | SecurityKey::BACKED_UP;
    for (number, (transports, flags, kept, hinted)) in [
        (Some(vec!["internal"]), 0, json!(["internal"]), json!(["internal"])),
        (Some(vec!["internal"]), backed_up, json!(["internal"]), json!(["hybrid", "internal"])),
        (
            Some(vec!["usb", "new-one", "nfc"]),
            0,
            json!(["new-one", "nfc", "usb"]),
            json!(["new-one", "nfc", "usb"]),
        ),
        (None, backed_up, json!([]), Value::Null),
        (Some(vec![]), 0, json!([]), Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("user-{number}");
        let mut key = SecurityKey::new(ORIGIN);
        key.transports = transports;
        key.flags |= flags;
        register_as(client, &user, &mut key).await;
        assert_eq!(passkey(client, &user).await["transports"], kept, "{user}");
        let begun = begin(client, &user).await;
        let allowed = &options(&begun)["allowCredentials"];
        assert_eq!((&allowed[0]["id"], &allowed[1]), (&json!(key.id()), &Value::Null));
        assert_eq!(allowed[0]["transports"], hinted, "{user}");
        // The next registration excludes it in the same way.
        let verified = answer(client, &begun, &key.get(options(&begun))).await.expect(200);
        let offered = offer(&client.in_session(&verified), &user).await.expect(201).json;
        assert_eq!(options(&offered)["excludeCredentials"], *allowed, "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_handle_is_compared_and_needed_only_where_it_names_the_user() {
    let server = server([]);
    let client = &server.client;
    let (key, _) = register(client, "alice").await;
    let (other, _) = register(client, "bob").await;
    let without = key.changed(|key| key.user_handle = None);
    log_in(client, "alice", &without).await.expect(200);
    log_in_without_user(client, &without).await.expect_problem(401, "invalid-credential");
    let with_another = key.changed(|key| key.user_handle = other.user_handle);
    log_in(client, "alice", &with_another).await.expect_problem(401, "invalid-credential");
    log_in_without_user(client, &with_another).await.expect_problem(401, "invalid-credential");
    assert_eq!(client.count_events("bob", "verified").await, 0);
}
