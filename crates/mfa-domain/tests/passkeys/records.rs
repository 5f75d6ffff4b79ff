//! What is compared with the record of a passkey, and what an accepted assertion changes in it.

use std::sync::Arc;

use mfa_domain::passkey::{ResidentKey, UserVerification};
use mfa_domain::policy::StandardPasskeys;
use mfa_domain::ports::CredentialRefusal;
use mfa_domain::{Assurance, CodeRejection, EventKind, FactorId, Passkey, Policies, Verdict};
use mfa_testkit::FakeAuthenticator;
use serde_json::json;
use tokio::task::JoinSet;

use super::{REFUSED, World, alice, options, shop, signed};

fn refusing_clones() -> World {
    let passkeys = StandardPasskeys {
        user_verification: UserVerification::Preferred,
        resident_key: ResidentKey::Preferred,
        refuse_clones: true,
    };
    World::under(Policies { passkeys: Arc::new(passkeys), ..Policies::default() })
}

async fn registered(world: &World, device: &mut FakeAuthenticator) -> (FactorId, Passkey) {
    let factor = world.register(&alice(), device).await;
    (factor, world.passkey(&alice(), factor).await)
}

#[tokio::test]
async fn a_registration_records_what_the_authenticator_stated() {
    let mut plain = FakeAuthenticator::security_key("plain");
    plain.transports.clear();
    let mut attested = FakeAuthenticator::security_key("attested");
    (attested.attested, attested.user_verifies) = (true, true);
    for mut device in [FakeAuthenticator::synced("phone"), plain, attested] {
        let world = World::new();
        let (_, passkey) = registered(&world, &mut device).await;
        assert_eq!(passkey.aaguid, device.aaguid);
        assert_eq!(passkey.transports, device.transports);
        assert_eq!(passkey.discoverable, Some(device.discoverable));
        assert_eq!(passkey.user_verified, device.user_verifies);
        assert_eq!(passkey.backup_eligible, Some(device.backup_eligible));
        assert_eq!(passkey.backed_up, device.backed_up);
        assert_eq!(passkey.attestation.trusted, device.attested);
        assert_eq!(passkey.sign_count, u32::from(!device.backup_eligible));
        assert_eq!(passkey.rp_id, "example.com");
    }
}

#[tokio::test]
async fn a_counter_may_be_0_for_ever() {
    let world = refusing_clones();
    let mut phone = FakeAuthenticator::synced("phone");
    let (factor, before) = registered(&world, &mut phone).await;
    for _ in 0..3 {
        world.sign_in(&alice(), &mut phone).await;
    }
    assert_eq!(world.passkey(&alice(), factor).await, before);
    assert_eq!(world.count(&alice(), EventKind::PossibleClone).await, 0);
}

#[tokio::test]
async fn a_counter_that_grows_is_stored() {
    let world = refusing_clones();
    let mut key = FakeAuthenticator::security_key("key");
    let (factor, _) = registered(&world, &mut key).await;
    for count in [2, 3, 70, u32::MAX] {
        key.sign_count = count;
        world.sign_in(&alice(), &mut key).await;
        assert_eq!(world.passkey(&alice(), factor).await.sign_count, count);
    }
    assert_eq!(world.count(&alice(), EventKind::PossibleClone).await, 0);
}

#[tokio::test]
async fn a_counter_that_does_not_grow_is_recorded_and_never_lowered() {
    for received in [7, 6, 0] {
        let world = World::new();
        let mut key = FakeAuthenticator::security_key("key");
        key.sign_count = 7;
        let (factor, before) = registered(&world, &mut key).await;
        key.sign_count = received;
        world.sign_in(&alice(), &mut key).await;
        assert_eq!(world.passkey(&alice(), factor).await, before, "{received}");
        let events = world.events(&alice()).await;
        let event = events.iter().find(|event| event.kind == EventKind::PossibleClone).unwrap();
        assert_eq!(event.factor, Some(factor));
        let detail = [&event.detail["stored"], &event.detail["received"]];
        assert_eq!(detail, ["7", &received.to_string()]);
        assert_eq!(world.count(&alice(), EventKind::Verified).await, 1, "{received}");
    }
}

#[tokio::test]
async fn a_policy_can_refuse_a_counter_that_does_not_grow() {
    for received in [7, 6, 0] {
        let world = refusing_clones();
        let mut key = FakeAuthenticator::security_key("key");
        key.sign_count = 7;
        registered(&world, &mut key).await;
        let (before, events) = (world.state(&alice()).await, world.events(&alice()).await.len());
        key.sign_count = received;
        let verdict = world.try_sign_in(&alice(), &mut key).await;
        let refused = CodeRejection::Credential(CredentialRefusal::SignCount);
        assert_eq!(verdict, Verdict::Rejected(refused), "{received}");
        assert_eq!(world.state(&alice()).await, before, "{received}");
        let kinds = world.kinds_since(&alice(), events).await;
        assert_eq!(kinds, [EventKind::PossibleClone, REFUSED], "{received}");
        key.sign_count = 8;
        world.sign_in(&alice(), &mut key).await;
    }
}

/// A key and its copy sign at the same time. Both have seen the same counter.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_answers_with_one_counter_in_parallel_a_policy_refuses_one() {
    for named in [true, false] {
        let world = refusing_clones();
        let mut key = FakeAuthenticator::security_key("key");
        key.discoverable = true;
        let (factor, _) = registered(&world, &mut key).await;
        let replicas = [world.replica(), world.replica()];
        for round in 0..20 {
            let mut copy = key.clone();
            let mut answers = Vec::new();
            for device in [&mut key, &mut copy] {
                let begun =
                    if named { world.begin_any(&alice()).await } else { world.begin_passwordless().await };
                answers.push((begun.challenge.id, signed(device, &begun)));
            }
            let mut calls = JoinSet::new();
            for (mfa, (id, response)) in replicas.iter().cloned().zip(answers) {
                calls.spawn(async move {
                    mfa.answer_passkey(&alice().tenant, &shop(), id, &response).await.unwrap()
                });
            }
            let verdicts = calls.join_all().await;
            let refused = Verdict::Rejected(CodeRejection::Credential(CredentialRefusal::SignCount));
            let accepted = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted(_))).count();
            let refused = verdicts.iter().filter(|verdict| **verdict == refused).count();
            assert_eq!((accepted, refused), (1, 1), "{verdicts:?}");
            let count = world.passkey(&alice(), factor).await.sign_count;
            assert_eq!(count, key.sign_count - 1, "{round}");
            for kind in [EventKind::Verified, EventKind::PossibleClone, REFUSED] {
                assert_eq!(world.count(&alice(), kind).await, round + 1);
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_backup_eligibility_is_filled_in_once() {
    for eligible in [true, false] {
        let world = World::new();
        let mut device = FakeAuthenticator::synced("device");
        (device.backup_eligible, device.backed_up) = (eligible, false);
        let (factor, _) = registered(&world, &mut device).await;
        world.edit(&alice(), factor, |passkey| passkey.backup_eligible = None).await;
        for _ in 0..2 {
            world.sign_in(&alice(), &mut device).await;
            assert_eq!(world.passkey(&alice(), factor).await.backup_eligible, Some(eligible));
        }
        let mut events = world.events(&alice()).await;
        events.retain(|event| event.kind == EventKind::BackupEligibilityRecorded);
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0].detail["backup_eligible"], eligible.to_string());
        assert_eq!(events[0].factor, Some(factor));
    }
}

#[tokio::test]
async fn a_changed_backup_eligibility_is_refused() {
    for (before, after, backed_up) in [(false, true, true), (false, true, false), (true, false, false)] {
        let world = World::new();
        let mut device = FakeAuthenticator::synced("device");
        (device.backup_eligible, device.backed_up) = (before, false);
        registered(&world, &mut device).await;
        let (state, events) = (world.state(&alice()).await, world.events(&alice()).await.len());
        (device.backup_eligible, device.backed_up) = (after, backed_up);
        let verdict = world.try_sign_in(&alice(), &mut device).await;
        let refused = CodeRejection::Credential(CredentialRefusal::BackupEligibility);
        assert_eq!(verdict, Verdict::Rejected(refused), "{before} to {after}");
        assert_eq!(world.state(&alice()).await, state, "{before} to {after}");
        assert_eq!(world.kinds_since(&alice(), events).await, [REFUSED]);
        assert_eq!(world.events(&alice()).await.pop().unwrap().detail["reason"], "backup_eligibility");
    }
}

#[tokio::test]
async fn a_change_of_the_backup_state_is_recorded_and_accepted() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    phone.backed_up = false;
    let (factor, _) = registered(&world, &mut phone).await;
    for backed_up in [false, true, true, false] {
        phone.backed_up = backed_up;
        world.sign_in(&alice(), &mut phone).await;
        assert_eq!(world.passkey(&alice(), factor).await.backed_up, backed_up);
    }
    let mut events = world.events(&alice()).await;
    events.retain(|event| event.kind == EventKind::BackupStateChanged);
    let states: Vec<_> = events.iter().map(|event| event.detail["backed_up"].as_str()).collect();
    assert_eq!(states, ["true", "false"]);
}

/// What is not known is not stated: an authenticator without an attestation may be hardware or not.
#[tokio::test]
async fn a_verification_says_what_happened_and_no_more() {
    for (attested, eligible, user_verifies, amr) in [
        (true, false, true, &["hwk", "user", "mfa"][..]),
        (true, false, false, &["hwk", "user"]),
        (true, true, true, &["swk", "user", "mfa"]),
        (false, true, true, &["swk", "user", "mfa"]),
        (false, true, false, &["swk", "user"]),
        (false, false, true, &["user", "mfa"]),
        (false, false, false, &["user"]),
    ] {
        let world = World::new();
        let mut device = FakeAuthenticator::security_key("key");
        (device.attested, device.backup_eligible) = (attested, eligible);
        // The assertion counts, not the registration.
        device.user_verifies = !user_verifies;
        registered(&world, &mut device).await;
        device.user_verifies = user_verifies;
        let verification = world.sign_in(&alice(), &mut device).await.verified.verification;
        assert_eq!(verification.amr, amr, "{attested} {eligible}");
        assert_eq!(verification.user_verified, user_verifies);
        assert_eq!(verification.assurance, Assurance::High);
        assert!(verification.phishing_resistant);
        assert_eq!(verification.kind, "passkey");
        assert_eq!(verification.at, world.test.ports.clock.now());
        let event = world.events(&alice()).await.pop().unwrap();
        assert_eq!(event.kind, EventKind::Verified);
        assert_eq!(event.detail["user_verified"], user_verifies.to_string());
    }
}

#[tokio::test]
async fn transports_are_those_of_the_browser_and_hybrid_for_a_passkey_that_is_backed_up() {
    for (given, backed_up, mut expected) in [
        (&["usb", "nfc"][..], false, json!(["nfc", "usb"])),
        (&["internal"], false, json!(["internal"])),
        (&["internal"], true, json!(["hybrid", "internal"])),
        (&["internal", "hybrid"], true, json!(["hybrid", "internal"])),
        (&[], true, json!(null)),
        (&[], false, json!(null)),
    ] {
        let world = World::new();
        let mut device = FakeAuthenticator::synced("device");
        device.transports = given.iter().map(|name| (*name).to_owned()).collect();
        device.backed_up = backed_up;
        let (_, passkey) = registered(&world, &mut device).await;
        let mut credential = json!({"type": "public-key", "id": passkey.credential_id.to_string()});
        if !expected.is_null() {
            credential["transports"] = expected.take();
        }
        let begun = world.begin_any(&alice()).await;
        assert_eq!(options(&begun)["allowCredentials"], json!([credential]), "{given:?} {backed_up}");
        world.sign_in(&alice(), &mut device).await;
        let offered = super::parsed(&world.offer(&alice()).await.options);
        assert_eq!(offered["excludeCredentials"], json!([credential]), "{given:?} {backed_up}");
    }
}
