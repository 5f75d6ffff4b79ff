//! What authorises a change: an assertion of the session that asks for it, or the reason of an operator.

use std::sync::Arc;
use std::time::Duration;

use mfa_assertion::Refusal;
use mfa_domain::policy::{EnrolmentPolicy, GuardedChange, Proof, StandardEnrolment};
use mfa_domain::ports::Scope;
use mfa_domain::{Actor, FactorKind, Policies, TenantSettings};
use serde_json::{Value, json};

use crate::phone::{Phone, assertion};
use crate::world::{Answer, ISSUER, World, signing_world, signing_world_with, world};

const FACTORS: &str = "/mfa/v1/users/alice/factors";
const BACKUP_CODES: &str = "/mfa/v1/users/alice/backup-codes";

/// What a login application has: no scope `admin`.
const OF_A_HOST: [Scope; 2] = [Scope::Verify, Scope::Enrol];

/// Alice with a phone, and the key of a login application.
async fn alice() -> (World, Phone) {
    let world = signing_world().await;
    let phone = Phone::enrol(&world, "alice").await;
    (world.with_key("acme", &OF_A_HOST).await, phone)
}

/// Every change that needs a proof: method, path, body, and the status of success. The last one removes the factor.
fn changes(phone: &Phone) -> Vec<(&'static str, String, Value, u16)> {
    let offer = |body: Value| ("POST", FACTORS.to_owned(), body, 201);
    vec![
        offer(json!({ "kind": "totp", "label": "Tablet" })),
        offer(json!({ "kind": "hotp", "label": "Token", "replaces": phone.factor })),
        offer(json!({ "kind": "email", "label": "Mail", "address": "alice@example.com" })),
        offer(json!({ "kind": "passkey", "replaces": phone.factor })),
        ("POST", BACKUP_CODES.to_owned(), json!({}), 201),
        ("DELETE", format!("{FACTORS}/{}", phone.factor), json!({}), 204),
    ]
}

/// A body with more members.
fn with(body: &Value, more: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Alice's proof does not count, for this reason if one is given.
fn assert_proof_required(answer: &Answer, detail: Option<&str>) {
    assert_eq!((answer.status, answer.problem()), (403, "proof-required".to_owned()), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["at_least"], "low");
    assert_eq!(problem.get("detail").and_then(Value::as_str), detail);
}

fn refused_for(refusal: Refusal) -> String {
    format!("the proof does not count: {refusal}")
}

const TOO_OLD: &str = "the proof does not count: the verification is too old or too weak, or its factor or set of backup codes is gone";

#[actix_web::test]
async fn a_change_needs_an_assertion_of_its_session() {
    let (world, phone) = alice().await;
    let proof = phone.assertion(&world, "session-1").await;
    for (method, path, body, _) in changes(&phone) {
        assert_proof_required(&world.call(method, &path, Some(body)).await, None);
    }
    // The nonce may be checked by the host.
    for proved in [json!({ "proof": proof }), json!({ "proof": proof, "nonce": "session-1" })] {
        let offer = json!({ "kind": "totp", "label": "Tablet" });
        world.call("POST", FACTORS, Some(with(&offer, &proved))).await.expect(201);
    }
    let proved = json!({ "proof": proof, "nonce": "session-1" });
    for (method, path, body, status) in changes(&phone) {
        world.call(method, &path, Some(with(&body, &proved))).await.expect(status);
    }
}

#[actix_web::test]
async fn a_body_is_needed_for_a_proof_alone() {
    let (world, phone) = alice().await;
    assert_proof_required(&world.call("POST", BACKUP_CODES, None).await, None);
    let path = format!("{FACTORS}/{}", phone.factor);
    assert_proof_required(&world.call("DELETE", &path, None).await, None);
    // An operator may remove a factor that its owner has lost.
    let operator = world.with_key("acme", &[Scope::Enrol, Scope::Admin]).await;
    operator.call("DELETE", &path, None).await.expect(204);
}

#[actix_web::test]
async fn a_wrong_proof_counts_for_nothing_and_the_answer_says_why() {
    let (world, phone) = alice().await;
    let proof = phone.assertion(&world, "session-1").await;
    let unbound = assertion(&phone.verify(&world, &json!({})).await.expect(200));
    let bob = Phone::enrol(&world, "bob").await.assertion(&world, "session-1").await;
    let other_tenant = world.with_key("other", &OF_A_HOST).await;
    let namesake = Phone::enrol(&other_tenant, "alice").await.assertion(&other_tenant, "session-1").await;
    let (_, signature) = unbound.rsplit_once('.').unwrap();
    let (signed, _) = proof.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{signature}");
    let (other_world, other_phone) = alice().await;
    let foreign = other_phone.assertion(&other_world, "session-1").await;
    let session = |proof: &str, nonce: &str| json!({ "proof": proof, "nonce": nonce });
    let wrong = [
        (json!({ "proof": "" }), Refusal::NotCompact),
        (json!({ "proof": "no assertion" }), Refusal::NotCompact),
        (session(&bob, "session-1"), Refusal::Subject),
        (session(&proof, "session-2"), Refusal::Nonce),
        (session(&unbound, "session-1"), Refusal::Nonce),
        (session(&namesake, "session-1"), Refusal::Audience),
        (session(&forged, "session-1"), Refusal::Signature),
        (session(&foreign, "session-1"), Refusal::UnknownKey),
    ];
    for (proof, refusal) in wrong {
        for (method, path, body, _) in changes(&phone) {
            let refused = world.call(method, &path, Some(with(&body, &proof))).await;
            assert_proof_required(&refused, Some(&refused_for(refusal)));
        }
    }
    let alice = world.call("GET", "/mfa/v1/users/alice", None).await.expect(200).json();
    assert_eq!(alice["factors"].as_array().unwrap().len(), 1, "{alice}");
}

#[actix_web::test]
async fn a_proof_that_is_no_text_is_refused_by_its_name() {
    let (world, phone) = alice().await;
    for proof in [json!(7), json!(["x"]), json!({})] {
        for (method, path, body, _) in changes(&phone) {
            let refused = world.call(method, &path, Some(with(&body, &json!({ "proof": proof })))).await;
            assert_eq!(refused.wrong_field(), "proof", "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn a_wrong_proof_does_no_harm_where_none_is_needed() {
    let (world, _) = alice().await;
    let offer = json!({ "kind": "totp", "label": "Phone", "proof": "no assertion" });
    world.call("POST", "/mfa/v1/users/carol/factors", Some(offer)).await.expect(201);
}

#[actix_web::test]
async fn tenants_with_one_audience_do_not_prove_for_each_other() {
    let settings = TenantSettings::default().with_assertion_issuer(ISSUER).with_assertion_audience("all");
    let (world, _) = alice().await;
    let world = world.with_settings(settings);
    let other_tenant = world.with_key("other", &OF_A_HOST).await;
    let namesake = Phone::enrol(&other_tenant, "alice").await;
    let proof = json!({ "proof": namesake.assertion(&other_tenant, "session-1").await });
    let refused = world.call("POST", BACKUP_CODES, Some(proof.clone())).await;
    assert_proof_required(&refused, Some(&refused_for(Refusal::Tenant)));
    other_tenant.call("POST", BACKUP_CODES, Some(proof)).await.expect(201);
}

#[actix_web::test]
async fn a_proof_counts_for_five_minutes_although_it_expires_after_one() {
    let (world, phone) = alice().await;
    let proof = json!({ "proof": phone.assertion(&world, "session-1").await, "nonce": "session-1" });
    world.clock.advance(Duration::from_mins(5));
    world.call("POST", BACKUP_CODES, Some(proof.clone())).await.expect(201);
    world.clock.advance(Duration::from_secs(1));
    assert_proof_required(&world.call("POST", BACKUP_CODES, Some(proof)).await, Some(TOO_OLD));
}

#[actix_web::test]
async fn a_proof_by_a_factor_that_was_removed_counts_no_longer() {
    let (world, phone) = alice().await;
    let proof = json!({ "proof": phone.assertion(&world, "session-1").await });
    let tablet = Phone::enrol_with(&world, "alice", &proof).await;
    let by_tablet = json!({ "proof": tablet.assertion(&world, "session-1").await });
    world.call("POST", BACKUP_CODES, Some(by_tablet.clone())).await.expect(201);
    let path = format!("{FACTORS}/{}", tablet.factor);
    world.call("DELETE", &path, Some(by_tablet.clone())).await.expect(204);
    assert_proof_required(&world.call("POST", BACKUP_CODES, Some(by_tablet)).await, Some(TOO_OLD));
}

#[actix_web::test]
async fn an_operator_makes_a_change_without_a_proof_by_a_reason_that_the_trail_keeps() {
    let (world, phone) = alice().await;
    let operator = world.with_key("acme", &[Scope::Enrol, Scope::Admin, Scope::Audit]).await;
    for (method, path, body, _) in changes(&phone).into_iter().take(5) {
        assert_proof_required(&operator.call(method, &path, Some(body)).await, None);
    }
    let reason = json!({ "reason": "Ticket 4711" });
    for (method, path, body, status) in changes(&phone).into_iter().take(5) {
        operator.call(method, &path, Some(with(&body, &reason))).await.expect(status);
    }
    assert_eq!(
        overridden(&operator).await,
        ["add_factor", "add_factor", "add_factor", "add_factor", "issue_backup_codes"]
    );
}

/// Alice's events of this kind, all by operators.
async fn events(operator: &World, kind: &str) -> Vec<Value> {
    let events = operator.call("GET", "/mfa/v1/users/alice/events", None).await.expect(200).json();
    let events = events["events"].as_array().unwrap().iter().filter(|event| event["kind"] == kind);
    let by_operator =
        |event: &&Value| assert!(event["actor"].as_str().unwrap().starts_with("admin "), "{event}");
    events.inspect(by_operator).cloned().collect()
}

/// The changes for which an operator's reason stands in the trail in the place of a proof.
async fn overridden(operator: &World) -> Vec<String> {
    let overridden = events(operator, "proof_overridden").await;
    let changes = overridden.iter().inspect(|event| assert_eq!(event["detail"]["reason"], "Ticket 4711"));
    changes.map(|event| event["detail"]["change"].as_str().unwrap().to_owned()).collect()
}

/// An operator needs no proof for it.
#[actix_web::test]
async fn the_trail_keeps_the_reason_of_an_operator_who_removes_a_factor_if_one_is_given() {
    let (world, phone) = alice().await;
    let proof = json!({ "proof": phone.assertion(&world, "session-1").await });
    let tablet = Phone::enrol_with(&world, "alice", &proof).await;
    let operator = world.with_key("acme", &[Scope::Enrol, Scope::Admin, Scope::Audit]).await;
    let remove = async |factor: &str, body: Option<Value>| {
        operator.call("DELETE", &format!("{FACTORS}/{factor}"), body).await.expect(204);
    };
    remove(&tablet.factor, Some(json!({ "reason": "Ticket 4711" }))).await;
    remove(&phone.factor, None).await;
    let removed = events(&operator, "factor_revoked").await;
    let reasons: Vec<_> = removed.iter().map(|event| event["detail"].get("reason")).collect();
    assert_eq!(reasons, [Some(&json!("Ticket 4711")), None], "{removed:?}");
    assert!(overridden(&operator).await.is_empty());
}

/// Guards labels as it guards new factors.
#[derive(Debug, Default)]
struct GuardedLabels(StandardEnrolment);

impl EnrolmentPolicy for GuardedLabels {
    fn admits(&self, kind: &FactorKind) -> bool {
        self.0.admits(kind)
    }

    fn max_factors(&self) -> usize {
        self.0.max_factors()
    }

    fn pending_lifetime(&self) -> Duration {
        self.0.pending_lifetime()
    }

    fn proof(&self, change: GuardedChange, actor: &Actor) -> Proof {
        let guarded = change == GuardedChange::RenameFactor;
        self.0.proof(if guarded { GuardedChange::AddFactor } else { change }, actor)
    }
}

#[actix_web::test]
async fn a_policy_that_guards_labels_is_met_by_a_proof_or_the_reason_of_an_operator() {
    let enrolment = Arc::new(GuardedLabels::default());
    let world = signing_world_with(Policies { enrolment, ..Policies::default() }).await;
    let phone = Phone::enrol(&world, "alice").await;
    let operator = world.with_key("acme", &[Scope::Enrol, Scope::Admin, Scope::Audit]).await;
    let world = world.with_key("acme", &OF_A_HOST).await;
    let path = format!("{FACTORS}/{}", phone.factor);
    let rename = async |world: &World, label: &str, more: Value| {
        world.call("PATCH", &path, Some(with(&json!({ "label": label }), &more))).await
    };
    let proof = phone.assertion(&world, "session-1").await;
    assert_proof_required(&rename(&world, "A", json!({})).await, None);
    let other_session = json!({ "proof": proof, "nonce": "session-2" });
    let refused = rename(&world, "A", other_session).await;
    assert_proof_required(&refused, Some(&refused_for(Refusal::Nonce)));
    let by_host = json!({ "reason": "Ticket 4711" });
    assert_eq!(rename(&world, "A", by_host).await.expect(403).problem(), "forbidden");
    let named = world.call("GET", "/mfa/v1/users/alice", None).await.expect(200).json();
    assert_eq!(named["factors"][0]["label"], "Phone");

    let proved = json!({ "proof": proof, "nonce": "session-1" });
    let renamed = rename(&world, "A", proved).await.expect(200).json();
    assert_eq!(renamed["label"], "A");
    assert!(overridden(&operator).await.is_empty());
    let renamed = rename(&operator, "B", json!({ "reason": "Ticket 4711" })).await.expect(200).json();
    assert_eq!(renamed["label"], "B");
    assert_eq!(overridden(&operator).await, ["rename_factor"]);
}

#[actix_web::test]
async fn a_new_label_needs_no_proof_by_default_and_a_wrong_one_does_no_harm() {
    let (world, phone) = alice().await;
    let path = format!("{FACTORS}/{}", phone.factor);
    for more in [json!({}), json!({ "proof": "no assertion" })] {
        let label = with(&json!({ "label": "Work phone" }), &more);
        let renamed = world.call("PATCH", &path, Some(label)).await.expect(200).json();
        assert_eq!(renamed["label"], "Work phone");
    }
}

#[actix_web::test]
async fn a_reason_needs_the_scope_of_operators_and_goes_with_no_proof() {
    let (world, phone) = alice().await;
    let operator = world.with_key("acme", &[Scope::Verify, Scope::Enrol, Scope::Admin]).await;
    let proof = phone.assertion(&world, "session-1").await;
    for (method, path, body, _) in changes(&phone) {
        let reason = with(&body, &json!({ "reason": "Ticket 4711" }));
        let refused = world.call(method, &path, Some(reason.clone())).await.expect(403);
        assert_eq!(refused.problem(), "forbidden", "{method} {path}");
        for (more, field) in [
            (json!({ "proof": proof }), "proof"),
            (json!({ "reason": "" }), "reason"),
            (json!({ "reason": null, "proof": proof, "nonce": "two words" }), "nonce"),
        ] {
            let refused = operator.call(method, &path, Some(with(&reason, &more))).await;
            assert_eq!(refused.wrong_field(), field, "{method} {path} {more}");
        }
    }
}

#[actix_web::test]
async fn a_repeated_change_is_another_one_with_another_proof() {
    let (world, phone) = alice().await;
    let proof = phone.assertion(&world, "session-1").await;
    let proved = json!({ "proof": proof });
    for (method, path, status) in
        [("POST", BACKUP_CODES.to_owned(), 201), ("DELETE", format!("{FACTORS}/{}", phone.factor), 204)]
    {
        let call = async |body: &Value| {
            world.call_with(&[("idempotency-key", "k-1")], method, &path, Some(body.clone())).await
        };
        let first = call(&proved).await.expect(status);
        assert_eq!(call(&proved).await.expect(status).body, first.body, "{method} {path}");
        let other = json!({ "proof": proof, "nonce": "session-1" });
        assert_eq!(call(&other).await.wrong_field(), "Idempotency-Key", "{method} {path}");
    }
}

#[actix_web::test]
async fn where_nothing_is_signed_a_proof_counts_for_nothing() {
    let (other_world, other_phone) = alice().await;
    let proof = json!({ "proof": other_phone.assertion(&other_world, "session-1").await });
    let world = world().await;
    let phone = Phone::enrol(&world, "alice").await;
    let login = world.with_key("acme", &OF_A_HOST).await;
    phone.verify(&login, &json!({})).await.expect(200);
    let refused = login.call("POST", BACKUP_CODES, Some(proof)).await;
    let detail = "the proof does not count: this server signs no assertions";
    assert_proof_required(&refused, Some(detail));
}
