//! A passkey signs in: of a named user, as a named factor, or naming its owner.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::mfa::{EnrolError, NewPasskey};
use mfa_domain::passkey::{AssertionResponse, CredentialId, UserHandle};
use mfa_domain::policy::StandardLockout;
use mfa_domain::ports::{Clock, CredentialRefusal};
use mfa_domain::{CodeRejection, FactorKind, Policies, PolicyDenial, Verdict, Versioned};
use mfa_testkit::{FakeAuthenticator, TotpUser, submitted};

use super::{REFUSED, World, alice, bob, options, shop, signed, signed_by_any, user};

fn refused<T>(refusal: CredentialRefusal) -> Verdict<T> {
    Verdict::Rejected(CodeRejection::Credential(refusal))
}

#[tokio::test]
async fn any_passkey_of_a_named_user_answers() {
    let world = World::new();
    let (mut phone, mut key) = (FakeAuthenticator::synced("phone"), FakeAuthenticator::security_key("key"));
    let first = world.register(&alice(), &mut phone).await;
    let second = world.add(&alice(), &mut key, &mut phone).await;
    for (device, factor) in [(&mut phone, first), (&mut key, second)] {
        let begun = world.begin_any(&alice()).await;
        assert_eq!(options(&begun)["allowCredentials"].as_array().unwrap().len(), 2);
        assert_eq!((begun.challenge.user.as_ref(), begun.challenge.factor), (Some(&alice().user), None));
        assert_eq!(begun.destination, None);
        let response = signed(device, &begun);
        let answered = world.answer(&begun, &response).await.into_result().unwrap();
        assert_eq!(answered.user, alice().user);
        assert_eq!(answered.verified.verification.factor, Some(factor));
        let used = world.state(&alice()).await.factor(factor).unwrap().last_used_at;
        assert_eq!(used, Some(world.test.clock.now()));
        world.test.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_named_factor_is_answered_by_no_other() {
    let world = World::new();
    let (mut phone, mut laptop) = (FakeAuthenticator::synced("phone"), FakeAuthenticator::synced("laptop"));
    world.register(&alice(), &mut phone).await;
    let named = world.add(&alice(), &mut laptop, &mut phone).await;
    let before = (world.state(&alice()).await, world.events(&alice()).await);
    let begun = world.begin(&alice(), named).await;
    let id = world.passkey(&alice(), named).await.credential_id.to_string();
    assert_eq!(options(&begun)["allowCredentials"][0]["id"], id);
    assert_eq!(options(&begun)["allowCredentials"].as_array().unwrap().len(), 1);
    let response = signed_by_any(&mut phone, &begun);
    assert_eq!(world.answer(&begun, &response).await, refused(CredentialRefusal::Signature));
    assert_eq!((world.state(&alice()).await, world.events(&alice()).await), before);

    let begun = world.begin(&alice(), named).await;
    let response = signed(&mut laptop, &begun);
    let answered = world.answer(&begun, &response).await.into_result().unwrap();
    assert_eq!(answered.verified.verification.factor, Some(named));
}

#[tokio::test]
async fn a_challenge_without_a_user_is_answered_by_a_passkey_that_names_its_owner() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    for key in [alice(), bob()] {
        // The latest is used, so that each answers for its own owner.
        let factor = world.register(&key, &mut phone).await;
        let begun = world.begin_passwordless().await;
        assert_eq!((begun.challenge.user.as_ref(), begun.challenge.factor), (None, None));
        assert_eq!(options(&begun).get("allowCredentials"), None);
        let found = world.mfa.find_challenge(&key.tenant, &shop(), begun.challenge.id).await.unwrap();
        let found = found.into_result().unwrap();
        assert_eq!(found.owner(), None);
        let response = signed(&mut phone, &begun);
        let answered = world.mfa.answer_passkey(&key.tenant, &shop(), found, &response).await.unwrap();
        let answered = answered.into_result().unwrap();
        assert_eq!((&answered.user, answered.verified.verification.factor), (&key.user, Some(factor)));
    }
    let mut key = FakeAuthenticator::security_key("key");
    world.add(&alice(), &mut key, &mut phone).await;
    assert_eq!(key.get(world.begin_passwordless().await.options.as_deref().unwrap()), None);
}

#[tokio::test]
async fn the_user_handle_is_compared_and_may_be_absent_only_if_the_user_is_named() {
    let other = UserHandle::new([7; 32]).unwrap();
    for (named, handle, accepted) in [
        (true, None, true),
        (true, Some(other.clone()), false),
        (false, None, false),
        (false, Some(other), false),
    ] {
        let world = World::new();
        let mut phone = FakeAuthenticator::synced("phone");
        let factor = world.register(&alice(), &mut phone).await;
        let before = world.state(&alice()).await;
        let begun = if named { world.begin_any(&alice()).await } else { world.begin_passwordless().await };
        let response = AssertionResponse { user_handle: handle.clone(), ..signed(&mut phone, &begun) };
        let verdict = world.answer(&begun, &response).await;
        if accepted {
            assert!(matches!(verdict, Verdict::Accepted(_)), "{named} {handle:?}: {verdict:?}");
            continue;
        }
        assert_eq!(verdict, refused(CredentialRefusal::UserHandle), "{named} {handle:?}");
        assert_eq!(world.state(&alice()).await, before, "{named} {handle:?}");
        let event = world.events(&alice()).await.pop().unwrap();
        assert_eq!((event.kind, event.factor), (REFUSED, Some(factor)));
        assert_eq!(event.detail["reason"], "user_handle");
    }
}

#[tokio::test]
async fn with_a_user_named_unknown_foreign_and_fake_credentials_are_one_answer_without_a_trace() {
    let world = World::new();
    let (mut phone, mut bobs) = (FakeAuthenticator::synced("phone"), FakeAuthenticator::synced("bobs"));
    let mut stranger = FakeAuthenticator::synced("stranger");
    world.register(&alice(), &mut phone).await;
    world.register(&bob(), &mut bobs).await;
    World::new().register(&alice(), &mut stranger).await;
    let nobody = user("acme", "nobody");
    let fake = options(&world.begin_any(&nobody).await)["allowCredentials"][0]["id"].clone();
    let fake = data_encoding::BASE64URL_NOPAD.decode(fake.as_str().unwrap().as_bytes()).unwrap();
    let fake = CredentialId::new(fake).unwrap();
    let trails = async || [world.events(&alice()).await, world.events(&bob()).await];

    let before = (world.state(&alice()).await, world.state(&bob()).await, trails().await);
    for key in [alice(), nobody.clone()] {
        let mut verdicts = Vec::new();
        for device in [&mut stranger, &mut bobs] {
            let begun = world.begin_any(&key).await;
            let response = signed_by_any(device, &begun);
            verdicts.push(world.answer(&begun, &response).await);
        }
        let begun = world.begin_any(&key).await;
        let response = AssertionResponse { credential_id: fake.clone(), ..signed_by_any(&mut phone, &begun) };
        verdicts.push(world.answer(&begun, &response).await);
        assert_eq!(verdicts, vec![refused(CredentialRefusal::Signature); 3], "{key:?}");
    }
    assert_eq!((world.state(&alice()).await, world.state(&bob()).await, trails().await), before);
    let stored = world.test.ports.accounts.load(&nobody).await.unwrap();
    assert_eq!(stored, Versioned::default());

    // So a real id and a fake one cannot be told apart either.
    let begun = world.begin_any(&alice()).await;
    let mut response = signed(&mut phone, &begun);
    response.signature[0] ^= 1;
    assert_eq!(world.answer(&begun, &response).await, refused(CredentialRefusal::Signature));
}

#[tokio::test]
async fn without_a_user_a_credential_in_no_account_of_the_tenant_is_told_to_be_unknown() {
    let world = World::new();
    let (mut stranger, mut elsewhere) =
        (FakeAuthenticator::synced("stranger"), FakeAuthenticator::synced("elsewhere"));
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    World::new().register(&alice(), &mut stranger).await;
    world.register(&user("other", "alice"), &mut elsewhere).await;
    let before = (world.state(&alice()).await, world.events(&alice()).await);
    for device in [&mut stranger, &mut elsewhere] {
        let begun = world.begin_passwordless().await;
        let response = signed(device, &begun);
        let verdict = world.answer(&begun, &response).await;
        assert_eq!(verdict, Verdict::Rejected(CodeRejection::UnknownCredential));
        let again = world.answer(&begun, &response).await;
        assert_eq!(again, Verdict::Rejected(CodeRejection::ChallengeOver));
    }
    assert_eq!((world.state(&alice()).await, world.events(&alice()).await), before);
}

#[tokio::test]
async fn a_passkey_is_accepted_while_the_account_is_locked() {
    let world = World::new();
    let app = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    world.type_code(&app).await;
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    for named in [true, false] {
        world.test.clock.advance(Duration::from_secs(30));
        world.fail_codes(&app, 5).await;
        let right = submitted(&app.code(world.test.clock.now()));
        let verdict = world.mfa.verify(&alice(), &shop(), &right, None).await.unwrap();
        assert!(matches!(verdict, Verdict::Rejected(CodeRejection::Locked { .. })), "{verdict:?}");
        let begun = if named { world.begin_any(&alice()).await } else { world.begin_passwordless().await };
        let response = signed(&mut phone, &begun);
        let verdict = world.answer(&begun, &response).await;
        assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_passkey_is_refused_while_the_account_is_disabled() {
    let lockout = StandardLockout { disable_after: 5, ..StandardLockout::default() };
    let world = World::under(Policies { lockout: Arc::new(lockout), ..Policies::default() });
    let app = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    world.type_code(&app).await;
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    let offered = world.offer(&alice()).await;
    let begun = [world.begin_any(&alice()).await, world.begin_passwordless().await];
    world.fail_codes(&app, 5).await;
    assert!(world.mfa.status(&alice()).await.unwrap().disabled);
    let before = (world.state(&alice()).await, world.events(&alice()).await);

    let disabled = Verdict::Rejected(CodeRejection::Disabled);
    for begun in begun {
        let response = signed(&mut phone, &begun);
        assert_eq!(world.answer(&begun, &response).await, disabled);
    }
    // Whoever has the id alone does not learn that it is in an account.
    let begun = world.begin_passwordless().await;
    let mut response = signed(&mut phone, &begun);
    response.signature[0] ^= 1;
    assert_eq!(world.answer(&begun, &response).await, refused(CredentialRefusal::Signature));
    let begun = world.try_begin(&alice(), FactorKind::Passkey).await;
    assert_eq!(begun, Verdict::Rejected(CodeRejection::Disabled));
    let response = super::created(&mut FakeAuthenticator::synced("laptop"), &offered);
    let confirmed = world.confirm(&alice(), &offered, &response).await.into_result().unwrap_err();
    assert_eq!(confirmed, CodeRejection::Disabled);
    let another = world.try_offer(&alice(), NewPasskey::default()).await.unwrap_err();
    assert!(matches!(another, EnrolError::Refused(PolicyDenial::Disabled)), "{another:?}");
    assert_eq!((world.state(&alice()).await, world.events(&alice()).await), before);
}

#[tokio::test]
async fn a_refused_assertion_ends_its_challenge_and_changes_nothing() {
    for refusal in [
        CredentialRefusal::ClientData,
        CredentialRefusal::Type,
        CredentialRefusal::Challenge,
        CredentialRefusal::Origin,
        CredentialRefusal::CrossOrigin,
        CredentialRefusal::RelyingParty,
        CredentialRefusal::UserPresence,
        CredentialRefusal::UserVerification,
        CredentialRefusal::BackupState,
        CredentialRefusal::Signature,
    ] {
        for named in [true, false] {
            let world = World::new();
            let mut phone = FakeAuthenticator::synced("phone");
            world.register(&alice(), &mut phone).await;
            let before = (world.state(&alice()).await, world.events(&alice()).await.len());
            let begun =
                if named { world.begin_any(&alice()).await } else { world.begin_passwordless().await };
            let response = signed(&mut phone, &begun);
            world.webauthn.refuse(refusal);
            assert_eq!(world.answer(&begun, &response).await, refused(refusal));
            world.webauthn.refuse(None);
            let again = world.answer(&begun, &response).await;
            assert_eq!(again, Verdict::Rejected(CodeRejection::ChallengeOver), "{refusal:?}");
            assert_eq!(world.state(&alice()).await, before.0, "{refusal:?}");
            // What anybody can make would fill the trail.
            assert_eq!(world.events(&alice()).await.len(), before.1, "{refusal:?}");
            world.sign_in(&alice(), &mut phone).await;
        }
    }
}
