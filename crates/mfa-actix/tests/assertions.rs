//! Signed assertions in the answers to verifications.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mfa_assertion::{Acr, Assertion, Expected, KeySet, Verifier};
use mfa_crypto::AssertionKeys;
use mfa_domain::TenantSettings;
use mfa_domain::ports::{Clock, EntropyError, KeyPair, SignerError, SigningKeys};
use mfa_domain::signing::{SigningAlgorithm, SigningPublicKey};
use mfa_testkit::FakeAuthenticator;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::phone::{Phone, assertion};
use crate::world::{Answer, ISSUER, World, signing_world, world, world_that_signs_by};

/// What a host reads in an answer: it fetches the keys, and checks the assertion for its session.
async fn accepted(world: &World, answer: &Answer, user: &str, nonce: Option<&str>) -> Assertion {
    let keys = world.call("GET", "/mfa/.well-known/jwks.json", None).await.expect(200).body;
    let keys = KeySet::from_json(&keys).unwrap();
    let expected = Expected { subject: user, nonce };
    let now = world.clock.now().unix_seconds();
    Verifier::new(ISSUER, "acme").verify(&keys, &assertion(answer), expected, now).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A user whose only factor is an address.
async fn enrol_address(world: &World, user: &str) {
    let factors = format!("/mfa/v1/users/{user}/factors");
    let address = json!({ "kind": "email", "label": "Mail", "address": format!("{user}@example.com") });
    let offered = world.call("POST", &factors, Some(address)).await.expect(201).json();
    let confirm = format!("{factors}/{}/confirm", text(&offered["factor"]["id"]));
    let code = json!({ "code": world.sent_code().await });
    world.call("POST", &confirm, Some(code)).await.expect(200);
}

/// A user whose only factor is a passkey.
async fn enrol_passkey(world: &World, user: &str) -> FakeAuthenticator {
    let mut device = FakeAuthenticator::synced("phone");
    let factors = format!("/mfa/v1/users/{user}/factors");
    let offered = world.call("POST", &factors, Some(json!({ "kind": "passkey" }))).await.expect(201).json();
    let created = device.create(&offered["webauthn"]["publicKey"].to_string()).unwrap();
    let created: Value = serde_json::from_str(&created).unwrap();
    let confirm = format!("{factors}/{}/confirm", text(&offered["factor"]["id"]));
    world.call("POST", &confirm, Some(json!({ "credential": created }))).await.expect(200);
    device
}

/// Begins a challenge: the path of its answer, and the answer by a passkey, if it asks for one.
async fn begin(
    world: &World,
    path: &str,
    body: Value,
    device: Option<&mut FakeAuthenticator>,
) -> (String, Option<Value>) {
    let begun = world.call("POST", path, Some(body)).await.expect(201).json();
    let verify = format!("/mfa/v1/challenges/{}/verify", text(&begun["challenge"]["id"]));
    let asserted = device.map(|device| device.get(&begun["webauthn"]["publicKey"].to_string()).unwrap());
    (verify, asserted.map(|asserted| serde_json::from_str(&asserted).unwrap()))
}

#[actix_web::test]
async fn a_verification_carries_an_assertion_that_a_host_accepts() {
    let world = signing_world().await;
    let phone = Phone::enrol(&world, "alice").await;
    let verified = phone.verify(&world, &json!({ "nonce": "session-1" })).await.expect(200);
    let by_phone = accepted(&world, &verified, "alice", Some("session-1")).await;
    assert_eq!((by_phone.subject.as_str(), by_phone.tenant.as_str()), ("alice", "acme"));
    assert_eq!(by_phone.auth_time, world.clock.now().unix_seconds());
    assert_eq!((by_phone.acr, by_phone.methods.as_slice()), (Acr::Medium, &["otp".to_owned()][..]));
    assert_eq!(by_phone.factor.as_ref(), Some(&phone.factor));

    let verified = phone.verify_code(&world, &phone.backup_codes[0], &json!({})).await.expect(200);
    let by_code = accepted(&world, &verified, "alice", None).await;
    assert_eq!((by_code.acr, by_code.factor, by_code.nonce), (Acr::Low, None, None));
    assert_ne!(by_code.id, by_phone.id);
}

#[actix_web::test]
async fn an_assertion_is_for_the_audience_of_the_settings() {
    let settings = TenantSettings::default().with_assertion_issuer(ISSUER).with_assertion_audience("shop");
    let world = signing_world().await.with_settings(settings);
    let phone = Phone::enrol(&world, "alice").await;
    let verified = phone.verify(&world, &json!({})).await.expect(200);
    let keys = world.call("GET", "/mfa/.well-known/jwks.json", None).await.expect(200).body;
    let keys = KeySet::from_json(&keys).unwrap();
    let expected = Expected { subject: "alice", nonce: None };
    let now = world.clock.now().unix_seconds();
    let check = |audience: &str| {
        Verifier::new(ISSUER, audience).verify(&keys, &assertion(&verified), expected, now).is_ok()
    };
    assert_eq!((check("shop"), check("acme")), (true, false));
}

#[actix_web::test]
async fn the_answer_to_a_challenge_carries_the_session_that_it_was_begun_for() {
    let world = signing_world().await;
    enrol_address(&world, "eve").await;
    let begin_for = async |nonce: Value| {
        let body = json!({ "kind": "email", "nonce": nonce });
        let (verify, _) = begin(&world, "/mfa/v1/users/eve/challenges", body, None).await;
        (verify, world.sent_code().await)
    };

    let (verify, code) = begin_for(json!("session-1")).await;
    let other = json!({ "code": code, "nonce": "session-2" });
    assert_eq!(world.call("POST", &verify, Some(other)).await.wrong_field(), "nonce");
    let verified = world.call("POST", &verify, Some(json!({ "code": code }))).await.expect(200);
    let by_mail = accepted(&world, &verified, "eve", Some("session-1")).await;
    assert_eq!(by_mail.acr, Acr::Low);

    let (verify, code) = begin_for(json!("session-1")).await;
    let same = json!({ "code": code, "nonce": "session-1" });
    let verified = world.call("POST", &verify, Some(same)).await.expect(200);
    accepted(&world, &verified, "eve", Some("session-1")).await;

    // One that was begun for none carries that of its answer.
    let (verify, code) = begin_for(Value::Null).await;
    let given = json!({ "code": code, "nonce": "session-3" });
    let verified = world.call("POST", &verify, Some(given)).await.expect(200);
    accepted(&world, &verified, "eve", Some("session-3")).await;
}

#[actix_web::test]
async fn a_passkey_with_and_without_a_user_name_is_asserted_with_high_assurance() {
    let world = signing_world().await;
    let mut device = enrol_passkey(&world, "alice").await;
    for path in ["/mfa/v1/users/alice/challenges", "/mfa/v1/challenges"] {
        for (begun, given) in [(json!("session-1"), Value::Null), (Value::Null, json!("session-1"))] {
            let body = json!({ "kind": "passkey", "nonce": begun });
            let (verify, asserted) = begin(&world, path, body, Some(&mut device)).await;
            let body = json!({ "credential": asserted, "nonce": given });
            let verified = world.call("POST", &verify, Some(body)).await.expect(200);
            let by_passkey = accepted(&world, &verified, "alice", Some("session-1")).await;
            assert_eq!(by_passkey.acr, Acr::High, "{path}");
            assert_eq!(by_passkey.factor, verified.json()["factor"].as_str().map(str::to_owned), "{path}");
        }
    }
}

#[actix_web::test]
async fn a_nonce_that_is_none_is_refused_by_its_name_and_uses_up_no_code() {
    let world = signing_world().await;
    let phone = Phone::enrol(&world, "alice").await;
    let code = phone.next_code(&world);
    let challenge = "/mfa/v1/challenges/a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5/verify";
    for nonce in [json!(""), json!("two words"), json!("é"), json!("n".repeat(256)), json!(7)] {
        for (path, body) in [
            ("/mfa/v1/users/alice/verify", json!({ "code": code, "nonce": nonce })),
            ("/mfa/v1/users/alice/challenges", json!({ "kind": "passkey", "nonce": nonce })),
            ("/mfa/v1/challenges", json!({ "kind": "passkey", "nonce": nonce })),
            (challenge, json!({ "code": "123456", "nonce": nonce })),
        ] {
            let refused = world.call("POST", path, Some(body)).await;
            assert_eq!(refused.wrong_field(), "nonce", "{path} {nonce}");
        }
    }
    let longest = "n".repeat(255);
    let verified = phone.verify_code(&world, &code, &json!({ "nonce": longest })).await.expect(200);
    accepted(&world, &verified, "alice", Some(&longest)).await;
}

#[actix_web::test]
async fn without_an_issuer_nothing_is_signed_and_answers_are_as_without_keys() {
    let no_issuer = signing_world().await.with_settings(TenantSettings::default());
    for world in [world().await, no_issuer] {
        let phone = Phone::enrol(&world, "alice").await;
        for more in [json!({}), json!({ "nonce": "session-1" })] {
            let verified = phone.verify(&world, &more).await.expect(200).json();
            let mut members: Vec<_> = verified.as_object().unwrap().keys().map(String::as_str).collect();
            members.sort_unstable();
            assert_eq!(members, ["amr", "auth_time", "factor", "kind", "user", "verified"], "{more}");
        }
    }
}

/// Signs until it is told to fail.
#[derive(Debug, Default)]
struct BreakingKeys {
    fails: Arc<AtomicBool>,
}

#[derive(Debug)]
struct BreakingPair {
    inner: Arc<dyn KeyPair>,
    fails: Arc<AtomicBool>,
}

impl SigningKeys for BreakingKeys {
    fn generate(&self, algorithm: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, EntropyError> {
        AssertionKeys.generate(algorithm)
    }

    fn read(&self, algorithm: SigningAlgorithm, private: &[u8]) -> Result<Arc<dyn KeyPair>, SignerError> {
        let inner = AssertionKeys.read(algorithm, private)?;
        Ok(Arc::new(BreakingPair { inner, fails: Arc::clone(&self.fails) }))
    }
}

impl KeyPair for BreakingPair {
    fn public_key(&self) -> SigningPublicKey {
        self.inner.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(SignerError::new("told to fail"));
        }
        self.inner.sign(message)
    }
}

#[actix_web::test]
async fn a_signer_that_fails_accepts_nothing() {
    let fails = Arc::new(AtomicBool::default());
    let world = world_that_signs_by(Arc::new(BreakingKeys { fails: Arc::clone(&fails) })).await;
    world.make_signing_key().await;
    let phone = Phone::enrol(&world, "alice").await;
    let mut device = enrol_passkey(&world, "bob").await;
    fails.store(true, Ordering::Relaxed);
    let body = json!({ "kind": "passkey" });
    let (verify, asserted) = begin(&world, "/mfa/v1/users/bob/challenges", body, Some(&mut device)).await;
    let answer = Some(json!({ "credential": asserted }));
    for refused in [phone.verify(&world, &json!({})).await, world.call("POST", &verify, answer).await] {
        assert_eq!((refused.status, refused.problem()), (503, "unavailable".to_owned()));
        assert!(!refused.body.contains("told to fail"), "{}", refused.body);
    }
    fails.store(false, Ordering::Relaxed);
    phone.verify(&world, &json!({})).await.expect(200);
}

#[actix_web::test]
async fn a_missing_key_accepts_nothing_and_uses_up_no_code() {
    let keyless = world_that_signs_by(Arc::new(AssertionKeys)).await;
    let phone = Phone::enrol(&keyless, "alice").await;
    let code = phone.next_code(&keyless);
    let refused = phone.verify_code(&keyless, &code, &json!({})).await.expect(503);
    assert_eq!(refused.problem(), "unavailable");
    keyless.make_signing_key().await;
    let verified = phone.verify_code(&keyless, &code, &json!({})).await.expect(200);
    accepted(&keyless, &verified, "alice", None).await;

    // An issuer without a port that makes keys.
    let world = world().await;
    let phone = Phone::enrol(&world, "alice").await;
    let code = phone.next_code(&world);
    let promised = TenantSettings::default().with_assertion_issuer(ISSUER);
    phone.verify_code(&world.clone().with_settings(promised), &code, &json!({})).await.expect(503);
    phone.verify_code(&world, &code, &json!({})).await.expect(200);
}
