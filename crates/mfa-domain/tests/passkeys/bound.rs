//! A ceremony is bound to its caller, tenant, user and factor, and counts once.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::policy::StandardEnrolment;
use mfa_domain::ports::CredentialRefusal;
use mfa_domain::{
    Actor, ChallengeKind, CodeRejection, EventKind, FactorId, FactorKind, Policies, SentCode, TenantId,
    Timestamp, Verdict,
};
use mfa_testkit::FakeAuthenticator;
use tokio::task::JoinSet;

use super::{World, alice, bob, created, shop, signed, user};

#[tokio::test]
async fn a_registration_is_of_its_caller_tenant_user_and_factor() {
    let world = World::new();
    let (one, other) = (world.offer(&alice()).await, world.offer(&alice()).await);
    let mut phone = FakeAuthenticator::synced("phone");
    let response = created(&mut phone, &one);
    for (key, actor, factor, expected) in [
        (alice(), Actor::user("forum"), one.factor.id, CodeRejection::UnknownChallenge),
        (bob(), shop(), one.factor.id, CodeRejection::UnknownFactor),
        (user("other", "alice"), shop(), one.factor.id, CodeRejection::UnknownFactor),
        (alice(), shop(), other.factor.id, CodeRejection::Credential(CredentialRefusal::Challenge)),
    ] {
        let confirmed = world.mfa.confirm_passkey(&key, &actor, factor, &response).await.unwrap();
        assert_eq!(confirmed.into_result().unwrap_err(), expected, "{key:?} {actor}");
        assert!(!world.mfa.status(&key).await.unwrap().enrolled, "{key:?} {actor}");
    }
    world.confirm(&alice(), &one, &response).await.into_result().unwrap();
}

#[tokio::test]
async fn a_registration_counts_once() {
    let world = World::new();
    let offered = world.offer(&alice()).await;
    let response = created(&mut FakeAuthenticator::synced("phone"), &offered);
    world.confirm(&alice(), &offered, &response).await.into_result().unwrap();
    let before = (world.state(&alice()).await, world.events(&alice()).await);
    let again = world.confirm(&alice(), &offered, &response).await.into_result().unwrap_err();
    assert_eq!(again, CodeRejection::AlreadyActive);
    assert_eq!((world.state(&alice()).await, world.events(&alice()).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_registrations_with_one_response_exactly_one_counts() {
    let world = World::new();
    let offered = world.offer(&alice()).await;
    let response = created(&mut FakeAuthenticator::synced("phone"), &offered);
    let replicas = [world.replica(), world.replica()];
    let mut calls = JoinSet::new();
    for number in 0..32 {
        let (mfa, factor, response) =
            (Arc::clone(&replicas[number % 2]), offered.factor.id, response.clone());
        calls.spawn(async move { mfa.confirm_passkey(&alice(), &shop(), factor, &response).await.unwrap() });
    }
    let mut accepted = 0;
    for verdict in calls.join_all().await {
        match verdict {
            Verdict::Accepted(confirmation) => {
                accepted += 1;
                assert!(confirmation.backup_codes.is_some());
            }
            Verdict::Rejected(CodeRejection::AlreadyActive | CodeRejection::ChallengeOver) => {}
            Verdict::Rejected(rejection) => panic!("{rejection}"),
        }
    }
    assert_eq!(accepted, 1);
    assert_eq!(world.count(&alice(), EventKind::FactorActivated).await, 1);
    assert_eq!(world.count(&alice(), EventKind::BackupCodesIssued).await, 1);
}

#[tokio::test]
async fn a_registration_ends_with_its_challenge() {
    let enrolment =
        StandardEnrolment { pending_lifetime: Duration::from_hours(1), ..StandardEnrolment::default() };
    let world = World::under(Policies { enrolment: Arc::new(enrolment), ..Policies::default() });
    let offered = world.offer(&alice()).await;
    let response = created(&mut FakeAuthenticator::synced("phone"), &offered);
    world.test.clock.advance(Duration::from_mins(10));
    let late = world.confirm(&alice(), &offered, &response).await.into_result().unwrap_err();
    assert_eq!(late, CodeRejection::ChallengeOver);

    let cancelled = world.offer(&alice()).await;
    let response = created(&mut FakeAuthenticator::synced("phone"), &cancelled);
    let id = cancelled.challenge.id;
    world.mfa.cancel_challenge(&alice().tenant, &shop(), id).await.unwrap().into_result().unwrap();
    let late = world.confirm(&alice(), &cancelled, &response).await.into_result().unwrap_err();
    assert_eq!(late, CodeRejection::ChallengeOver);
}

#[tokio::test]
async fn a_challenge_is_of_its_caller_and_tenant_and_no_code_answers_it() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    for begun in [world.begin_any(&alice()).await, world.begin_passwordless().await] {
        let (id, response) = (begun.challenge.id, signed(&mut phone, &begun));
        assert_eq!(begun.challenge.kind, ChallengeKind::WebauthnAuthentication);
        for (tenant, actor) in
            [(alice().tenant, Actor::user("forum")), (TenantId::new("other").unwrap(), shop())]
        {
            let answered = world.mfa.answer_passkey(&tenant, &actor, id, &response).await.unwrap();
            assert_eq!(answered, Verdict::Rejected(CodeRejection::UnknownChallenge), "{actor}");
        }
        let code = SentCode::parse("12345678").unwrap();
        let answered = world.mfa.answer_challenge(&alice().tenant, &shop(), id, &code).await.unwrap();
        assert_eq!(answered, Verdict::Rejected(CodeRejection::UnknownChallenge));
        let resent = world.mfa.resend_challenge(&alice().tenant, &shop(), id).await.unwrap();
        assert_eq!(resent, Verdict::Rejected(CodeRejection::UnknownChallenge));
        assert!(matches!(world.answer(&begun, &response).await, Verdict::Accepted(_)));
    }
}

#[tokio::test]
async fn an_assertion_answers_no_registration() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    world.sign_in(&alice(), &mut phone).await;
    let offered = world.offer(&alice()).await;
    let begun = world.begin_any(&alice()).await;
    let response = signed(&mut phone, &begun);
    let answered = world.try_answer(offered.challenge.id, &response).await.unwrap();
    assert_eq!(answered, Verdict::Rejected(CodeRejection::UnknownChallenge));
    let response = created(&mut FakeAuthenticator::synced("laptop"), &offered);
    world.confirm(&alice(), &offered, &response).await.into_result().unwrap();
}

#[tokio::test]
async fn a_challenge_that_is_over_is_not_answered() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    let over = Verdict::Rejected(CodeRejection::ChallengeOver);

    let begun = world.begin_any(&alice()).await;
    let response = signed(&mut phone, &begun);
    assert!(matches!(world.answer(&begun, &response).await, Verdict::Accepted(_)));
    assert_eq!(world.answer(&begun, &response).await, over, "answered");

    let begun = world.begin_passwordless().await;
    let response = signed(&mut phone, &begun);
    let id = begun.challenge.id;
    world.mfa.cancel_challenge(&alice().tenant, &shop(), id).await.unwrap().into_result().unwrap();
    assert_eq!(world.answer(&begun, &response).await, over, "cancelled");

    let begun = world.begin_any(&alice()).await;
    let response = signed(&mut phone, &begun);
    world.test.clock.advance(Duration::from_mins(10));
    assert_eq!(world.answer(&begun, &response).await, over, "expired");
    assert_eq!(world.count(&alice(), EventKind::Verified).await, 1);
}

#[tokio::test]
async fn an_assertion_of_another_challenge_is_refused_and_ends_this_one() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    let (one, other) = (world.begin_any(&alice()).await, world.begin_any(&alice()).await);
    let response = signed(&mut phone, &one);
    let refused = Verdict::Rejected(CodeRejection::Credential(CredentialRefusal::Challenge));
    assert_eq!(world.answer(&other, &response).await, refused);
    let right = signed(&mut phone, &other);
    assert_eq!(world.answer(&other, &right).await, Verdict::Rejected(CodeRejection::ChallengeOver));
    assert!(matches!(world.answer(&one, &response).await, Verdict::Accepted(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_answers_with_one_assertion_exactly_one_counts() {
    let world = World::new();
    let mut phone = FakeAuthenticator::security_key("key");
    phone.discoverable = true;
    world.register(&alice(), &mut phone).await;
    let replicas = [world.replica(), world.replica()];
    for begun in [world.begin_any(&alice()).await, world.begin_passwordless().await] {
        let before = world.count(&alice(), EventKind::Verified).await;
        let (id, response) = (begun.challenge.id, signed(&mut phone, &begun));
        let mut calls = JoinSet::new();
        for number in 0..64 {
            let (mfa, response) = (Arc::clone(&replicas[number % 2]), response.clone());
            calls.spawn(
                async move { mfa.answer_passkey(&alice().tenant, &shop(), id, &response).await.unwrap() },
            );
        }
        let verdicts = calls.join_all().await;
        let over = Verdict::Rejected(CodeRejection::ChallengeOver);
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == over).count(), 63);
        assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted(_))).count(), 1);
        assert_eq!(world.count(&alice(), EventKind::Verified).await, before + 1);
        assert_eq!(world.count(&alice(), EventKind::PossibleClone).await, 0);
    }
}

#[tokio::test]
async fn a_challenge_for_a_factor_needs_an_active_passkey_of_the_user() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    let bobs = world.register(&bob(), &mut FakeAuthenticator::synced("bobs")).await;
    world.sign_in(&alice(), &mut phone).await;
    let pending = world.offer(&alice()).await.factor.id;
    let begun = world.try_begin(&alice(), pending).await;
    assert_eq!(begun, Verdict::Rejected(CodeRejection::UnknownFactor));
    for factor in [bobs, FactorId::fresh(Timestamp::default(), &[1; 10])] {
        let step = world.mfa.first_step(&alice(), &shop(), factor).await.unwrap();
        assert_eq!(step.into_result().unwrap_err(), CodeRejection::UnknownFactor);
    }
    // Another relying party cannot use it, so its options would ask for nothing that can answer.
    world.edit(&bob(), bobs, |passkey| passkey.rp_id = "example.org".to_owned()).await;
    let begun = world.try_begin(&bob(), bobs).await;
    assert_eq!(begun, Verdict::Rejected(CodeRejection::UnknownFactor));
    // The call for codes sends none.
    let begun = world.mfa.begin_challenge(&alice(), &shop(), FactorKind::Passkey).await.unwrap();
    assert_eq!(begun, Verdict::Rejected(CodeRejection::UnknownFactor));
}
