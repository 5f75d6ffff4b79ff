//! Passkeys from elsewhere: of a newer version, and imported.

use mfa_domain::mfa::EnrolError;
use mfa_domain::passkey::{CredentialId, PublicKey, UserHandle};
use mfa_domain::ports::{Commit, CredentialRefusal, NewCredential};
use mfa_domain::{
    Authenticator, CodeRejection, Data, EventKind, FactorId, PasskeyDevice, PolicyDenial, Reason,
    StoredFactor, Verdict,
};
use mfa_testkit::{FakeAuthenticator, TotpUser, changes};

use super::{World, alice, bob, created, label, operator, options, shop, signed, signed_by_any};

/// Makes a stored passkey one of a newer version.
async fn by_a_newer_version(world: &World, factor: FactorId) {
    let known = world.state(&alice()).await.factor(factor).unwrap().clone();
    let stored = StoredFactor::of(&known);
    let mut data: serde_json::Value = serde_json::from_str(stored.data.as_str()).unwrap();
    data["v"] = 2.into();
    let newer = StoredFactor { data: Data::new(data.to_string()), ..stored }.read().unwrap();
    assert!(matches!(newer.authenticator, Authenticator::Unknown(_)));
    let commit = changes::change(world.accounts.as_ref(), &alice(), |draft| draft.put(newer)).await;
    assert_eq!(commit.unwrap(), Commit::Won);
}

#[tokio::test]
async fn a_passkey_of_a_newer_version_is_not_called_unknown_and_not_forgotten() {
    let world = World::new();
    let (mut phone, mut laptop) = (FakeAuthenticator::synced("phone"), FakeAuthenticator::synced("laptop"));
    world.register(&alice(), &mut phone).await;
    let factor = world.add(&alice(), &mut laptop, &mut phone).await;
    let id = world.passkey(&alice(), factor).await.credential_id;
    by_a_newer_version(&world, factor).await;

    // The page would have the authenticator delete an unknown one.
    let begun = world.begin_passwordless().await;
    let answer = world.answer(&begun, &signed_by_any(&mut laptop, &begun)).await;
    let refused = CodeRejection::Credential(CredentialRefusal::Signature);
    assert_eq!(answer, Verdict::Rejected(refused));
    let accepted = world.mfa.accepted_passkeys(&alice()).await.unwrap().unwrap();
    assert!(accepted.credential_ids.contains(&id), "{accepted:?}");
    world.sign_in(&alice(), &mut phone).await;
    let offered = world.offer(&alice()).await;
    assert!(offered.options.contains(&id.to_string()), "it is not excluded: {}", offered.options);
}

/// What an operator knows of a passkey of another system: of the same authenticator, registered in another world.
async fn exported(device: &mut FakeAuthenticator) -> NewCredential {
    let elsewhere = World::new();
    let factor = elsewhere.register(&alice(), device).await;
    let passkey = elsewhere.passkey(&alice(), factor).await;
    let stored = elsewhere.state(&alice()).await.factor(factor).unwrap().clone();
    let place = mfa_domain::SealContext::Factor { account: &alice(), factor, kind: &stored.kind() };
    let key = elsewhere.test.ports.vault.open(&stored.sealed.unwrap(), &place).await.unwrap();
    NewCredential { passkey, public_key: PublicKey::new(String::from_utf8(key.to_vec()).unwrap()) }
}

#[tokio::test]
async fn an_imported_passkey_signs_in_and_its_backup_eligibility_is_learned_once() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    let mut credential = exported(&mut phone).await;
    credential.passkey.backup_eligible = None;
    let reason = Reason::new("moved from another system").unwrap();
    let import = |actor, credential| {
        let (world, reason) = (&world, &reason);
        async move { world.mfa.import_passkey(&alice(), &actor, label("Phone"), credential, reason).await }
    };
    let refused = import(shop(), credential.clone()).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::OperatorsOnly)), "{refused:?}");
    let elsewhere = NewCredential {
        passkey: mfa_domain::Passkey { rp_id: "example.org".to_owned(), ..credential.passkey.clone() },
        ..credential.clone()
    };
    let refused = import(operator(), elsewhere).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::KindNotAdmitted)), "{refused:?}");

    let factor = import(operator(), credential.clone()).await.unwrap();
    assert!(factor.is_active());
    assert_eq!(world.count(&alice(), EventKind::FactorImported).await, 1);
    let refused = import(operator(), credential.clone()).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::DuplicateCredential)), "{refused:?}");

    for _ in 0..2 {
        world.sign_in(&alice(), &mut phone).await;
    }
    assert_eq!(world.count(&alice(), EventKind::BackupEligibilityRecorded).await, 1);
    assert_eq!(world.passkey(&alice(), factor.id).await.backup_eligible, Some(true));
    let begun = world.begin_passwordless().await;
    assert_eq!(options(&begun).get("allowCredentials"), None);
    let answer = world.answer(&begun, &signed(&mut phone, &begun)).await.into_result().unwrap();
    assert_eq!(answer.user, alice().user);
    // Further passkeys have the same user handle: the authenticator then knows one user, not two.
    let accepted = world.mfa.accepted_passkeys(&alice()).await.unwrap().unwrap();
    assert_eq!(accepted.user.handle, credential.passkey.user_handle);

    let taken = world.mfa.import_passkey(&bob(), &operator(), label("Phone"), credential, &reason).await;
    assert!(matches!(taken, Err(EnrolError::Undecided(mfa_domain::Undecided::HandleTaken))), "{taken:?}");
}

#[tokio::test]
async fn a_public_key_that_no_assertion_can_be_checked_by_is_refused_by_name_and_changes_nothing() {
    let world = World::new();
    let credential = exported(&mut FakeAuthenticator::synced("phone")).await;
    let reason = Reason::new("moved").unwrap();
    for (key, expected) in [
        ("", CredentialRefusal::PublicKey),
        ("-----BEGIN PUBLIC KEY-----", CredentialRefusal::PublicKey),
        (r#"{"alg":"fake"}"#, CredentialRefusal::PublicKey),
        (r#"{"alg":"ES512"}"#, CredentialRefusal::Algorithm),
    ] {
        let bad = NewCredential { public_key: PublicKey::new(key), ..credential.clone() };
        let refused = world.mfa.import_passkey(&alice(), &operator(), label("Phone"), bad, &reason).await;
        assert!(matches!(&refused, Err(EnrolError::Credential(why)) if *why == expected), "{refused:?}");
        assert_eq!(world.state(&alice()).await, mfa_domain::Account::default(), "{key}");
        assert!(world.events(&alice()).await.is_empty(), "{key}");
        assert_eq!(world.mfa.relying_party_in_use().await.unwrap(), None, "{key}");
    }
}

/// To authenticators the user would be two, and the handle of one could become that of somebody else.
#[tokio::test]
async fn a_passkey_that_was_offered_before_one_with_another_user_handle_was_imported_is_refused() {
    let world = World::new();
    let app = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    world.type_code(&app).await;
    let offered = world.offer(&alice()).await;
    let mut credential = exported(&mut FakeAuthenticator::synced("phone")).await;
    credential.passkey.user_handle = UserHandle::new([7; 32]).unwrap();
    let reason = Reason::new("moved").unwrap();
    world
        .mfa
        .import_passkey(&alice(), &operator(), label("Phone"), credential.clone(), &reason)
        .await
        .unwrap();

    let before = world.state(&alice()).await;
    let mut laptop = FakeAuthenticator::synced("laptop");
    let response = created(&mut laptop, &offered);
    let refused = world.confirm(&alice(), &offered, &response).await.into_result().unwrap_err();
    assert_eq!(refused, CodeRejection::Credential(CredentialRefusal::UserHandle));
    assert_eq!(world.state(&alice()).await, before);
    assert_eq!(world.events(&alice()).await.pop().unwrap().detail["reason"], "user_handle");

    // A new offer has the handle of the imported one.
    let factor = world.register(&alice(), &mut laptop).await;
    let handle = credential.passkey.user_handle;
    assert_eq!(world.passkey(&alice(), factor).await.user_handle, handle);
    assert_eq!(world.mfa.accepted_passkeys(&alice()).await.unwrap().unwrap().user.handle, handle);
}

#[tokio::test]
async fn user_handles_and_ids_of_every_length_are_imported() {
    for (handle, id) in [(1, 1), (16, 16), (64, 1023)] {
        let world = World::new();
        let mut credential = exported(&mut FakeAuthenticator::synced("phone")).await;
        credential.passkey.user_handle = UserHandle::new(vec![7; handle]).unwrap();
        credential.passkey.credential_id = CredentialId::new(vec![8; id]).unwrap();
        let reason = Reason::new("moved").unwrap();
        let factor = world
            .mfa
            .import_passkey(&alice(), &operator(), label("Old"), credential.clone(), &reason)
            .await
            .unwrap();
        assert_eq!(world.passkey(&alice(), factor.id).await, credential.passkey);
        let stored = world.state(&alice()).await.factor(factor.id).unwrap().clone();
        assert!(matches!(stored.authenticator, Authenticator::Passkey(PasskeyDevice::Registered(_))));
    }
}
