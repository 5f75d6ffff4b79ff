//! Every answer is as the document describes it.

use std::sync::Arc;
use std::time::Duration;

use mfa_actix::WellKnown;
use mfa_domain::otp_core::{Secret, Totp};
use mfa_domain::ports::Clock;
use mfa_testkit::FakeAuthenticator;
use serde_json::{Value, json};

use crate::document::{Described, operations};
use crate::world::{Answer, World, signing_world};

/// A host that calls as the document says, and holds every answer to it.
struct Host {
    world: World,
    described: Described,
}

impl Host {
    async fn call(&mut self, operation: &str, body: Option<Value>, status: u16) -> Answer {
        self.call_at(operation, &[], body, status).await
    }

    /// Calls with these values for the parameters in the path.
    async fn call_at(
        &mut self,
        operation: &str,
        parameters: &[(&str, &str)],
        body: Option<Value>,
        status: u16,
    ) -> Answer {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = parameters.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
        let path = format!("/mfa{}", path.replace("{user}", "alice"));
        let answer = self.world.call(method, &path, body).await;
        self.described.hold(operation, &answer);
        assert_eq!(answer.status, status, "{operation}: {answer:?}");
        answer
    }

    /// The code of a TOTP factor, a step after any other.
    fn code(&self, secret: &str) -> String {
        self.world.clock.advance(Duration::from_secs(30));
        self.code_now(secret)
    }

    fn code_now(&self, secret: &str) -> String {
        let now = self.world.clock.now().unix_seconds();
        let secret = Secret::from_base32(secret).unwrap();
        Totp::default().generate(&secret, now).unwrap().as_str().to_owned()
    }
}

const FACTORS: &str = "POST /v1/users/{user}/factors";
const CONFIRM: &str = "POST /v1/users/{user}/factors/{id}/confirm";
const VERIFY: &str = "POST /v1/users/{user}/verify";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// An address, and what is done with the codes that are sent there.
async fn challenges(host: &mut Host) {
    let address = json!({ "kind": "email", "label": "Mail", "address": "eve@example.com",
        "reason": "asked for" });
    let offered = host.call(FACTORS, Some(address), 201).await.json();
    let (id, code) = (text(&offered["factor"]["id"]), host.world.sent_code().await);
    host.call_at(CONFIRM, &[("{id}", &id)], Some(json!({ "code": code })), 200).await;
    host.call("GET /v1/users/{user}", None, 200).await;
    for body in [json!({ "factor": id }), json!({ "kind": "email", "purpose": "verify" })] {
        let begun = host.call("POST /v1/users/{user}/challenges", Some(body), 201).await.json();
        let challenge = text(&begun["challenge"]["id"]);
        let at = [("{id}", challenge.as_str())];
        host.call_at("GET /v1/challenges/{id}", &at, None, 200).await;
        host.call_at("POST /v1/challenges/{id}/resend", &at, None, 202).await;
        let code = host.world.sent_code().await;
        let verify = "POST /v1/challenges/{id}/verify";
        host.call_at(verify, &at, Some(json!({ "code": code })), 200).await;
        host.call_at(verify, &at, Some(json!({ "code": code })), 410).await;
        host.call_at("DELETE /v1/challenges/{id}", &at, None, 204).await;
    }
    let begun = host.call("POST /v1/users/{user}/challenges", Some(json!({ "factor": id })), 201).await;
    let challenge = text(&begun.json()["challenge"]["id"]);
    for _ in 0..2 {
        host.call_at("DELETE /v1/challenges/{id}", &[("{id}", &challenge)], None, 204).await;
    }
    host.call_at("DELETE /v1/users/{user}/factors/{id}", &[("{id}", &id)], None, 204).await;
}

/// A passkey, and what is done with it.
async fn passkeys(host: &mut Host) {
    let mut phone = FakeAuthenticator::synced("phone");
    let offer = json!({ "kind": "passkey", "display_name": "Alice Liddell", "reason": "asked for" });
    let offered = host.call(FACTORS, Some(offer), 201).await.json();
    let id = text(&offered["factor"]["id"]);
    let created = phone.create(&offered["webauthn"]["publicKey"].to_string()).unwrap();
    let created: Value = serde_json::from_str(&created).unwrap();
    let at = [("{id}", id.as_str())];
    host.call_at(CONFIRM, &at, Some(json!({ "credential": created })), 200).await;
    host.call("GET /v1/users/{user}", None, 200).await;
    let anyone = "POST /v1/challenges";
    for (operation, body) in [
        ("POST /v1/users/{user}/challenges", json!({ "factor": id })),
        ("POST /v1/users/{user}/challenges", json!({ "kind": "passkey" })),
        (anyone, json!({ "kind": "passkey" })),
    ] {
        let begun = host.call(operation, Some(body), 201).await.json();
        let challenge = text(&begun["challenge"]["id"]);
        let asserted = phone.get(&begun["webauthn"]["publicKey"].to_string()).unwrap();
        let asserted: Value = serde_json::from_str(&asserted).unwrap();
        let at = [("{id}", challenge.as_str())];
        host.call_at("GET /v1/challenges/{id}", &at, None, 200).await;
        let verify = "POST /v1/challenges/{id}/verify";
        host.call_at(verify, &at, Some(json!({ "credential": asserted })), 200).await;
        host.call_at(verify, &at, Some(json!({ "credential": asserted })), 410).await;
    }
    host.call_at("DELETE /v1/users/{user}/factors/{id}", &at, None, 204).await;
}

#[actix_web::test]
async fn every_success_that_the_document_promises_is_answered_as_it_says() {
    let mut world = signing_world().await;
    world.api = world.api.metrics(Arc::new(|| "mfa_up 1\n".to_owned())).well_known(WellKnown {
        related_origins: vec!["https://example.co.uk".to_owned()],
        enroll_url: None,
        manage_url: Some("https://example.com/account".to_owned()),
    });
    let mut host = Host { world, described: Described::new() };

    host.call("GET /v1/users/{user}", None, 200).await;
    let offer = json!({ "kind": "totp", "label": "Phone", "account_name": "alice@example.com" });
    let offered = host.call(FACTORS, Some(offer.clone()), 201).await.json();
    let (id, secret) = (text(&offered["factor"]["id"]), text(&offered["totp"]["secret"]));
    host.call("GET /v1/users/{user}", None, 200).await;
    let wrong = host.code(&secret);
    let wrong = if wrong == "000000" { "000001" } else { "000000" };
    host.call_at(CONFIRM, &[("{id}", &id)], Some(json!({ "code": wrong })), 401).await;
    let code = host.code(&secret);
    let confirmed = host.call_at(CONFIRM, &[("{id}", &id)], Some(json!({ "code": code })), 200).await.json();
    let code = host.code(&secret);
    let verified = host.call(VERIFY, Some(json!({ "code": code, "nonce": "s-1" })), 200).await.json();
    let proof = json!({ "proof": verified["assertion"], "nonce": "s-1" });
    host.call(VERIFY, Some(json!({ "code": "12345" })), 422).await;
    for backup_code in confirmed["backup_codes"].as_array().unwrap().iter().take(8) {
        // From the seventh on with a warning that few are left.
        host.call(VERIFY, Some(json!({ "code": backup_code })), 200).await;
    }
    host.call("GET /v1/users/{user}", None, 200).await;
    let codes = [host.code(&secret), host.code(&secret)];
    let again = "POST /v1/users/{user}/factors/{id}/resynchronise";
    host.call_at(again, &[("{id}", &id)], Some(json!({ "codes": codes })), 200).await;
    let rename = "PATCH /v1/users/{user}/factors/{id}";
    host.call_at(rename, &[("{id}", &id)], Some(json!({ "label": "Old phone" })), 200).await;
    host.call("POST /v1/users/{user}/backup-codes", None, 403).await;
    host.call("POST /v1/users/{user}/backup-codes", Some(proof), 201).await;
    let now = host.world.clock.now();
    host.world.clock.advance(Duration::from_hours(48));
    let code = host.code(&secret);
    host.call(VERIFY, Some(json!({ "code": code })), 200).await;
    host.world.clock.set(now);
    let user = host.call("GET /v1/users/{user}", None, 200).await.json();
    assert_eq!(user["factors"][0]["ahead_until"], "2027-01-17T08:03:00Z", "{user}");
    let set_back = "POST /v1/users/{user}/factors/{id}/set-back";
    host.call_at(set_back, &[("{id}", &id)], Some(json!({ "reason": "a wrong clock" })), 200).await;
    let user = host.call("GET /v1/users/{user}", None, 200).await.json();
    assert_eq!(user["factors"][0]["ahead_until"], Value::Null, "{user}");
    challenges(&mut host).await;
    passkeys(&mut host).await;
    let token = json!({ "kind": "hotp", "label": "Token", "counter": 5, "secret_encoding": "hex",
        "secret": "3132333435363738393031323334353637383930", "imported": true, "reason": "bought",
        "qr": "text" });
    let imported = host.call(FACTORS, Some(token), 201).await.json();
    let token = text(&imported["factor"]["id"]);
    host.call_at("DELETE /v1/users/{user}/factors/{id}", &[("{id}", &token)], None, 204).await;
    for _ in 0..5 {
        host.call(VERIFY, Some(json!({ "code": wrong })), 401).await;
    }
    host.call(VERIFY, Some(json!({ "code": wrong })), 429).await;
    host.call("GET /v1/users/{user}", None, 200).await;
    let reason = json!({ "reason": "asked for" });
    host.call("POST /v1/users/{user}/unlock", Some(reason.clone()), 204).await;
    host.call("POST /v1/users/{user}/reset", Some(reason), 204).await;
    host.call(VERIFY, Some(json!({ "code": wrong })), 409).await;
    host.call("GET /v1/users/{user}/events", None, 200).await;
    host.call("GET /v1/events", None, 200).await;
    host.call("DELETE /v1/users/{user}", None, 204).await;
    for operation in
        ["GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /assets/passkey.js"]
    {
        host.call(operation, None, 200).await;
    }
    for operation in
        ["GET /.well-known/jwks.json", "GET /.well-known/webauthn", "GET /.well-known/passkey-endpoints"]
    {
        host.call(operation, None, 200).await;
    }
    host.call_at("GET /problems/{code}", &[("{code}", "locked")], None, 200).await;

    for (name, operation) in operations(&host.described.document) {
        for status in operation["responses"].as_object().unwrap().keys().filter(|s| s.starts_with('2')) {
            let place = format!("{name} {status}");
            assert!(host.described.answered.contains(&place), "{place} was not seen");
        }
    }
}
