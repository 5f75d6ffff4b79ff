//! A passkey is offered, and registered by what the browser returns.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mfa_domain::mfa::{EnrolError, NewFactor, NewPasskey};
use mfa_domain::passkey::{Aaguid, ResidentKey, UserVerification};
use mfa_domain::policy::StandardPasskeys;
use mfa_domain::ports::{ChallengeStore, Clock, Commit, CredentialRefusal, StoreError};
use mfa_domain::{
    Assurance, Challenge, ChallengeId, CodeRejection, Data, EventKind, FactorId, Mfa, Policies, PolicyDenial,
    Ports, Progress, ShownName, Undecided, Verdict, Verification, Version, Versioned,
};
use mfa_store_memory::{MemoryChallenges, MemoryStore};
use mfa_testkit::{EveryKind, FakeAuthenticator, FakeWebauthn, TotpUser, ports};
use serde_json::json;

use super::{World, alice, bob, created, label, options, parsed, shop, signed, user};

#[tokio::test]
async fn a_passkey_is_named_by_its_user_or_after_its_model() {
    for (aaguid, chosen, expected) in [
        (FakeAuthenticator::AAGUID, None, FakeWebauthn::MODEL),
        (Aaguid::default(), None, "Passkey"),
        (Aaguid([1; 16]), None, "Passkey"),
        (FakeAuthenticator::AAGUID, Some("Laptop"), "Laptop"),
        (FakeAuthenticator::AAGUID, Some("Passkey"), "Passkey"),
    ] {
        let world = World::new();
        let mut phone = FakeAuthenticator::synced("phone");
        phone.aaguid = aaguid;
        let new = NewPasskey { label: chosen.map(label), ..NewPasskey::default() };
        let offered = world.mfa.enrol_passkey(&alice(), &shop(), new).await.unwrap();
        assert_eq!(offered.factor.label.as_str(), chosen.unwrap_or("Passkey"));
        let response = created(&mut phone, &offered);
        let confirmed = world.confirm(&alice(), &offered, &response).await.into_result().unwrap();
        assert_eq!(confirmed.factor.label.as_str(), expected, "{aaguid} {chosen:?}");
    }
}

#[tokio::test]
async fn a_second_passkey_of_a_model_gets_a_number() {
    let world = World::new();
    let (mut phone, mut tablet) = (FakeAuthenticator::synced("phone"), FakeAuthenticator::synced("tablet"));
    world.register(&alice(), &mut phone).await;
    world.add(&alice(), &mut tablet, &mut phone).await;
    let labels = world.state(&alice()).await.factors.into_iter().map(|factor| factor.label.to_string());
    assert_eq!(labels.collect::<Vec<_>>(), ["Fake Keychain", "Fake Keychain 2"]);
}

#[tokio::test]
async fn a_label_that_is_chosen_while_a_passkey_is_pending_stays() {
    let world = World::new();
    let offered = world.offer(&alice()).await;
    world.mfa.rename(&alice(), &shop(), offered.factor.id, &label("Laptop")).await.unwrap();
    let response = created(&mut FakeAuthenticator::synced("phone"), &offered);
    let confirmed = world.confirm(&alice(), &offered, &response).await.into_result().unwrap();
    assert_eq!(confirmed.factor.label, label("Laptop"));
}

#[tokio::test]
async fn the_options_have_the_names_that_the_host_gives() {
    let name = |text: &str| Some(ShownName::new(text).unwrap());
    for (account_name, display_name, expected) in [
        (name("alice@example.com"), name("Alice"), ["alice@example.com", "Alice"]),
        (None, name("A"), ["alice", "A"]),
    ] {
        let world = World::new();
        let new = NewPasskey { account_name, display_name, ..NewPasskey::default() };
        let offered = world.mfa.enrol_passkey(&alice(), &shop(), new).await.unwrap();
        let user = parsed(&offered.options)["user"].clone();
        assert_eq!([&user["name"], &user["displayName"]], expected);
        let response = created(&mut FakeAuthenticator::synced("phone"), &offered);
        let confirmed = world.confirm(&alice(), &offered, &response).await.into_result().unwrap();
        let accepted = confirmed.passkeys.unwrap();
        assert_eq!([accepted.user.name.as_str(), accepted.user.display_name.as_str()], expected);
    }
}

/// Otherwise browsers would be told to rename the passkeys that the user has.
#[tokio::test]
async fn an_offer_changes_nothing_but_the_pending_factor_until_it_is_confirmed() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    world.offer(&alice()).await;
    assert_eq!(world.state(&alice()).await.data, Data::default());
    world.register(&alice(), &mut phone).await;
    world.sign_in(&alice(), &mut phone).await;

    let before = world.state(&alice()).await;
    let name = |text: &str| Some(ShownName::new(text).unwrap());
    let new =
        NewPasskey { account_name: name("liddell"), display_name: name("Alice L."), ..NewPasskey::default() };
    let offered = world.try_offer(&alice(), new).await.unwrap();
    let mut after = world.state(&alice()).await;
    assert_eq!(after.factors.pop().map(|factor| factor.id), Some(offered.factor.id));
    assert_eq!(after, before);
    let refused = created(&mut FakeAuthenticator::synced("laptop"), &world.offer(&alice()).await);
    world.confirm(&alice(), &offered, &refused).await.into_result().unwrap_err();
    assert_eq!(world.state(&alice()).await.data, before.data);
    let next = parsed(&world.offer(&alice()).await.options)["user"].clone();
    assert_eq!(next["name"], "alice");
}

#[tokio::test]
async fn the_policy_is_in_the_options_of_both_ceremonies_and_in_the_check() {
    for (user_verification, resident_key) in [
        (UserVerification::Required, ResidentKey::Discouraged),
        (UserVerification::Preferred, ResidentKey::Required),
        (UserVerification::Discouraged, ResidentKey::Preferred),
    ] {
        let passkeys = StandardPasskeys { user_verification, resident_key, refuse_clones: false };
        let world = World::under(Policies { passkeys: Arc::new(passkeys), ..Policies::default() });
        let offered = world.offer(&alice()).await;
        let selection = parsed(&offered.options)["authenticatorSelection"].clone();
        assert_eq!(selection["userVerification"], user_verification.as_str());
        assert_eq!(selection["residentKey"], resident_key.as_str());
        let mut phone = FakeAuthenticator::synced("phone");
        world.register(&alice(), &mut phone).await;

        for begun in [world.begin_any(&alice()).await, world.begin_passwordless().await] {
            assert_eq!(options(&begun)["userVerification"], user_verification.as_str());
            phone.user_verifies = false;
            let response = signed(&mut phone, &begun);
            let refused = Verdict::Rejected(CodeRejection::Credential(CredentialRefusal::UserVerification));
            let verdict = world.answer(&begun, &response).await;
            assert_eq!(verdict == refused, user_verification == UserVerification::Required, "{verdict:?}");
        }
    }
}

#[tokio::test]
async fn the_first_passkey_comes_with_backup_codes_and_ends_other_enrolments() {
    let world = World::new();
    let (first, other) = (world.offer(&alice()).await, world.offer(&alice()).await);
    world.mfa.begin_enrolment(&alice(), &shop(), NewFactor::totp(label("App"))).await.unwrap();
    let mut phone = FakeAuthenticator::synced("phone");
    let response = created(&mut phone, &first);
    let confirmed = world.confirm(&alice(), &first, &response).await.into_result().unwrap();
    let codes = confirmed.backup_codes.unwrap().codes().len();
    let status = world.mfa.status(&alice()).await.unwrap();
    assert!(codes > 0 && status.backup_codes_remaining == codes, "{status:?}");
    assert_eq!(status.factors, std::slice::from_ref(&confirmed.factor));
    let response = created(&mut FakeAuthenticator::synced("laptop"), &other);
    let late = world.confirm(&alice(), &other, &response).await.into_result().unwrap_err();
    assert_eq!(late, CodeRejection::UnknownFactor);

    // It is not a proof for another change: only a verification is, whatever the host says.
    world.remember(&alice(), &confirmation(&world, confirmed.factor.id));
    let another = world.try_offer(&alice(), NewPasskey::default()).await.unwrap_err();
    assert!(matches!(another, EnrolError::Refused(PolicyDenial::ProofRequired { .. })), "{another:?}");
}

/// The confirmation of a passkey, as if it were a verification.
fn confirmation(world: &World, factor: FactorId) -> Verification {
    Verification {
        at: world.test.clock.now(),
        factor: Some(factor),
        kind: "passkey".to_owned(),
        amr: &["user"],
        user_verified: true,
        phishing_resistant: true,
        assurance: Assurance::High,
    }
}

#[tokio::test]
async fn a_passkey_beside_another_factor_needs_a_proof_and_brings_no_backup_codes() {
    let world = World::new();
    let app = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let refused = world.mfa.enrol_passkey(&alice(), &shop(), NewPasskey::default()).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::ProofRequired { .. })), "{refused:?}");
    world.type_code(&app).await;
    let offered = world.offer(&alice()).await;
    let response = created(&mut FakeAuthenticator::synced("phone"), &offered);
    let confirmed = world.confirm(&alice(), &offered, &response).await.into_result().unwrap();
    assert!(confirmed.backup_codes.is_none());
    let status = world.mfa.status(&alice()).await.unwrap();
    assert_eq!((status.factors.len(), status.backup_codes_remaining), (2, app.backup_codes.len()));
}

#[tokio::test]
async fn a_user_has_one_handle_and_the_passkeys_of_the_user_are_excluded() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    let first = world.offer(&alice()).await;
    let response = created(&mut phone, &first);
    world.confirm(&alice(), &first, &response).await.into_result().unwrap();
    world.sign_in(&alice(), &mut phone).await;
    let second = world.offer(&alice()).await;
    let (one, two) = (parsed(&first.options), parsed(&second.options));
    assert_eq!(one["user"]["id"], two["user"]["id"]);
    assert_eq!(one["user"]["id"].as_str().unwrap().len(), 43, "32 bytes");
    assert_ne!(one["challenge"], two["challenge"]);
    assert_eq!(one["excludeCredentials"], json!([]));
    let id = response.credential_id.to_string();
    let excluded = json!([{"type": "public-key", "id": id, "transports": ["hybrid", "internal"]}]);
    assert_eq!(two["excludeCredentials"], excluded);
    assert_eq!(phone.create(&second.options), None);
    let others = parsed(&world.offer(&bob()).await.options);
    assert_ne!(one["user"]["id"], others["user"]["id"]);
}

/// A store of challenges in which another replica offers a passkey to alice before the next challenge is put.
#[derive(Debug)]
struct Meanwhile {
    inner: MemoryChallenges,
    other: Mutex<Option<Mfa>>,
}

#[async_trait]
impl ChallengeStore for Meanwhile {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let other = self.other.lock().unwrap().take();
        if let Some(other) = other {
            other.enrol_passkey(&alice(), &shop(), NewPasskey::default()).await.unwrap();
        }
        self.inner.put(challenge).await
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        self.inner.get(id).await
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        self.inner.swap(id, expected, next).await
    }
}

#[tokio::test]
async fn two_first_passkeys_that_are_offered_at_the_same_time_have_the_same_user_handle() {
    let challenges = Arc::new(Meanwhile { inner: MemoryChallenges::default(), other: Mutex::new(None) });
    let world = World::on(challenges.clone(), Policies::default());
    // Not the same store of challenges, so that it does not wait for itself.
    let others = world.test.ports.clone().challenges(Arc::new(challenges.inner.clone()));
    *challenges.other.lock().unwrap() = Some(Mfa::new(others, Policies::default()).unwrap());
    let offered = world.offer(&alice()).await;
    let pending = world.state(&alice()).await.factors;
    let handles: Vec<_> =
        pending.iter().map(|factor| factor.passkey_offer().unwrap().user.handle.to_string()).collect();
    let handle = parsed(&offered.options)["user"]["id"].clone();
    assert_eq!(handles, [handle.as_str().unwrap(); 2]);
    let mut phone = FakeAuthenticator::synced("phone");
    let response = created(&mut phone, &offered);
    world.confirm(&alice(), &offered, &response).await.into_result().unwrap();
    let begun = world.begin_passwordless().await;
    let response = signed(&mut phone, &begun);
    assert_eq!(world.answer(&begun, &response).await.into_result().unwrap().user, alice().user);
}

#[tokio::test]
async fn a_credential_that_the_user_has_is_refused_though_the_browser_ignored_the_list() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    let factor = world.register(&alice(), &mut phone).await;
    world.sign_in(&alice(), &mut phone).await;
    let offered = world.offer(&alice()).await;
    let before = world.state(&alice()).await;
    phone.next_id = Some(world.passkey(&alice(), factor).await.credential_id);
    let response = created(&mut phone, &offered);
    let refused = world.confirm(&alice(), &offered, &response).await.into_result().unwrap_err();
    assert_eq!(refused, CodeRejection::Credential(CredentialRefusal::Registered));
    assert_eq!(world.state(&alice()).await, before);
    let event = world.events(&alice()).await.pop().unwrap();
    assert_eq!((event.kind, event.factor), (EventKind::CredentialRefused, Some(offered.factor.id)));
    assert_eq!(event.detail["reason"], "registered");
    world.sign_in(&alice(), &mut phone).await;
}

#[tokio::test]
async fn a_credential_of_another_user_of_the_tenant_is_taken_and_of_another_tenant_is_not() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    let factor = world.register(&alice(), &mut phone).await;
    let taken = world.passkey(&alice(), factor).await.credential_id;

    let offered = world.offer(&bob()).await;
    let before = world.state(&bob()).await;
    let mut copy = FakeAuthenticator::synced("copy");
    copy.next_id = Some(taken.clone());
    let response = created(&mut copy, &offered);
    let confirmed = world.mfa.confirm_passkey(&bob(), &shop(), offered.factor.id, &response).await;
    assert!(matches!(confirmed, Err(Undecided::HandleTaken)), "{confirmed:?}");
    assert_eq!(world.state(&bob()).await, before, "it is still pending");
    assert!(!world.mfa.status(&bob()).await.unwrap().enrolled);
    assert_eq!(world.sign_in(&alice(), &mut phone).await.verified.verification.factor, Some(factor));

    let elsewhere = user("other", "alice");
    copy.next_id = Some(taken);
    world.register(&elsewhere, &mut copy).await;
    assert!(world.mfa.status(&elsewhere).await.unwrap().enrolled);
}

#[tokio::test]
async fn a_refused_credential_ends_its_challenge_is_recorded_and_costs_nothing() {
    for refusal in [
        CredentialRefusal::Type,
        CredentialRefusal::Challenge,
        CredentialRefusal::Origin,
        CredentialRefusal::RelyingParty,
        CredentialRefusal::UserVerification,
        CredentialRefusal::Algorithm,
        CredentialRefusal::Attestation,
        CredentialRefusal::Model,
    ] {
        let world = World::new();
        let offered = world.offer(&alice()).await;
        let response = created(&mut FakeAuthenticator::synced("phone"), &offered);
        let before = world.state(&alice()).await;
        world.webauthn.refuse(refusal);
        let refused = world.confirm(&alice(), &offered, &response).await.into_result().unwrap_err();
        assert_eq!(refused, CodeRejection::Credential(refusal));
        assert_eq!(world.state(&alice()).await, before, "{refusal:?}");
        let event = world.events(&alice()).await.pop().unwrap();
        assert_eq!((event.kind, event.factor), (EventKind::CredentialRefused, Some(offered.factor.id)));
        let detail = BTreeMap::from([("reason".to_owned(), refusal.as_str().to_owned())]);
        assert_eq!(event.detail, detail);

        world.webauthn.refuse(None);
        let again = world.confirm(&alice(), &offered, &response).await.into_result().unwrap_err();
        assert_eq!(again, CodeRejection::ChallengeOver, "{refusal:?}");
        world.register(&alice(), &mut FakeAuthenticator::synced("phone")).await;
    }
}

#[tokio::test]
async fn without_a_relying_party_nothing_begins_and_nothing_is_accepted() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    let begun = world.begin_any(&alice()).await;
    let response = signed(&mut phone, &begun);
    let before = (world.state(&alice()).await, world.events(&alice()).await);

    let webauthn = ports(Arc::new(MemoryStore::default())).ports.webauthn;
    let bare = Ports { webauthn, ..world.test.ports.clone() };
    let policies = Policies { enrolment: Arc::new(EveryKind::default()), ..Policies::default() };
    let bare = Mfa::new(bare, policies).unwrap();
    assert!(world.mfa.has_passkeys(&alice().tenant) && !bare.has_passkeys(&alice().tenant));
    for key in [alice(), bob()] {
        let offered = bare.enrol_passkey(&key, &shop(), NewPasskey::default()).await.unwrap_err();
        assert!(matches!(offered, EnrolError::Refused(PolicyDenial::KindNotAdmitted)), "{offered:?}");
    }
    let passwordless = bare.begin_passwordless(&alice().tenant, &shop(), None).await;
    assert!(passwordless.is_err(), "{passwordless:?}");
    let answered = bare.answer_passkey(&alice().tenant, &shop(), begun.challenge.id, &response).await;
    assert!(matches!(answered, Err(Undecided::Webauthn(_))), "{answered:?}");
    assert_eq!((world.state(&alice()).await, world.events(&alice()).await), before);
}
