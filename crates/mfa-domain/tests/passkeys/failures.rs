//! A port fails: nothing is accepted.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mfa_domain::mfa::NewPasskey;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError};
use mfa_domain::{
    Challenge, ChallengeId, CodeRejection, EventKind, KeyId, Policies, Progress, Undecided, Verdict, Version,
    Versioned,
};
use mfa_store_memory::MemoryChallenges;
use mfa_testkit::{FakeAuthenticator, Fault};

use super::{World, alice, bob, created, shop, signed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Put,
    Get,
    Swap,
}

/// A store of challenges of which one operation fails.
#[derive(Debug, Default)]
struct Flaky {
    inner: MemoryChallenges,
    fails: Mutex<Option<Operation>>,
}

impl Flaky {
    fn set(&self, fails: Option<Operation>) {
        *self.fails.lock().unwrap() = fails;
    }

    fn fail_on(&self, operation: Operation) -> Result<(), StoreError> {
        let fails = *self.fails.lock().unwrap() == Some(operation);
        if fails { Err(StoreError::new("told to fail")) } else { Ok(()) }
    }
}

#[async_trait]
impl ChallengeStore for Flaky {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        self.fail_on(Operation::Put)?;
        self.inner.put(challenge).await
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        self.fail_on(Operation::Get)?;
        self.inner.get(id).await
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        self.fail_on(Operation::Swap)?;
        self.inner.swap(id, expected, next).await
    }
}

fn world() -> (World, Arc<Flaky>) {
    let challenges = Arc::new(Flaky::default());
    (World::on(challenges.clone(), Policies::default()), challenges)
}

#[tokio::test]
async fn whatever_fails_under_an_answer_accepts_nothing() {
    for named in [true, false] {
        for fault in [Fault::Load, Fault::Commit, Fault::LostAnswer, Fault::Conflict] {
            let (world, _) = world();
            let mut phone = FakeAuthenticator::synced("phone");
            world.register(&alice(), &mut phone).await;
            let begun =
                if named { world.begin_any(&alice()).await } else { world.begin_passwordless().await };
            let response = signed(&mut phone, &begun);
            world.accounts.set(fault);
            let answered = world.try_answer(begun.challenge.id, &response).await;
            assert!(answered.is_err(), "{fault:?}: {answered:?}");
            world.accounts.set(None);
            let again = world.answer(&begun, &response).await;
            assert_eq!(again, Verdict::Rejected(CodeRejection::ChallengeOver), "{fault:?}");
            // What was recorded though its answer was lost is recorded once.
            let verified = usize::from(fault == Fault::LostAnswer);
            assert_eq!(world.count(&alice(), EventKind::Verified).await, verified, "{fault:?}");
            world.sign_in(&alice(), &mut phone).await;
        }
        for operation in [Operation::Get, Operation::Swap] {
            let (world, challenges) = world();
            let mut phone = FakeAuthenticator::synced("phone");
            world.register(&alice(), &mut phone).await;
            let begun =
                if named { world.begin_any(&alice()).await } else { world.begin_passwordless().await };
            let response = signed(&mut phone, &begun);
            challenges.set(Some(operation));
            let answered = world.try_answer(begun.challenge.id, &response).await;
            assert!(matches!(answered, Err(Undecided::Store(_))), "{operation:?}: {answered:?}");
            assert_eq!(world.count(&alice(), EventKind::Verified).await, 0, "{operation:?}");
            challenges.set(None);
            let verdict = world.answer(&begun, &response).await;
            assert!(matches!(verdict, Verdict::Accepted(_)), "{operation:?}: {verdict:?}");
        }
    }
}

#[tokio::test]
async fn whatever_fails_under_a_registration_activates_nothing() {
    for (fault, expected) in [
        (Fault::Load, None),
        (Fault::Commit, Some(CodeRejection::ChallengeOver)),
        (Fault::Conflict, Some(CodeRejection::ChallengeOver)),
        (Fault::LostAnswer, Some(CodeRejection::AlreadyActive)),
    ] {
        let (world, _) = world();
        let offered = world.offer(&alice()).await;
        let response = created(&mut FakeAuthenticator::synced("phone"), &offered);
        world.accounts.set(fault);
        let confirmed = world.mfa.confirm_passkey(&alice(), &shop(), offered.factor.id, &response).await;
        assert!(confirmed.is_err(), "{fault:?}: {confirmed:?}");
        world.accounts.set(None);
        let enrolled = world.mfa.status(&alice()).await.unwrap().enrolled;
        assert_eq!(enrolled, fault == Fault::LostAnswer, "{fault:?}");
        let again = world.confirm(&alice(), &offered, &response).await.into_result();
        assert_eq!(again.err(), expected, "{fault:?}");
    }
    for operation in [Operation::Get, Operation::Swap] {
        let (world, challenges) = world();
        let offered = world.offer(&alice()).await;
        let response = created(&mut FakeAuthenticator::synced("phone"), &offered);
        challenges.set(Some(operation));
        let confirmed = world.mfa.confirm_passkey(&alice(), &shop(), offered.factor.id, &response).await;
        assert!(matches!(confirmed, Err(Undecided::Store(_))), "{operation:?}: {confirmed:?}");
        assert!(!world.mfa.status(&alice()).await.unwrap().enrolled, "{operation:?}");
        challenges.set(None);
        world.confirm(&alice(), &offered, &response).await.into_result().unwrap();
    }
}

#[tokio::test]
async fn what_fails_under_an_offer_offers_nothing() {
    let (world, challenges) = world();
    // The first offer also stores the relying party.
    world.offer(&bob()).await;
    let try_it = async || world.mfa.enrol_passkey(&alice(), &shop(), NewPasskey::default()).await;
    for fault in [Fault::Load, Fault::Commit, Fault::Conflict] {
        world.accounts.set(fault);
        let offered = try_it().await;
        assert!(offered.is_err(), "{fault:?}: {offered:?}");
    }
    world.accounts.set(None);
    challenges.set(Some(Operation::Put));
    let offered = try_it().await;
    assert!(offered.is_err(), "{offered:?}");
    challenges.set(None);
    world.webauthn.fail(true);
    let offered = try_it().await;
    assert!(offered.is_err(), "{offered:?}");
    world.webauthn.fail(false);
    assert_eq!(world.state(&alice()).await, mfa_domain::Account::default());
    try_it().await.unwrap();
}

/// The configuration is broken, or the key is gone that sealed the ceremony.
#[tokio::test]
async fn a_ceremony_that_cannot_be_finished_accepts_nothing() {
    for lost_key in [true, false] {
        let (world, _) = world();
        let mut phone = FakeAuthenticator::synced("phone");
        world.register(&alice(), &mut phone).await;
        let begun = world.begin_any(&alice()).await;
        let response = signed(&mut phone, &begun);
        world.sign_in(&alice(), &mut phone).await;
        let offered = world.offer(&alice()).await;
        let created = created(&mut FakeAuthenticator::synced("laptop"), &offered);
        if lost_key {
            world.test.vault.rotate(KeyId::new("fake-2"));
            world.test.vault.forget_older();
        } else {
            world.webauthn.fail(true);
        }
        let answered = world.try_answer(begun.challenge.id, &response).await;
        let confirmed = world.mfa.confirm_passkey(&alice(), &shop(), offered.factor.id, &created).await;
        if lost_key {
            assert!(matches!(answered, Err(Undecided::Vault(_))), "{answered:?}");
            assert!(matches!(confirmed, Err(Undecided::Vault(_))), "{confirmed:?}");
        } else {
            assert!(matches!(answered, Err(Undecided::Webauthn(_))), "{answered:?}");
            assert!(matches!(confirmed, Err(Undecided::Webauthn(_))), "{confirmed:?}");
        }
        world.webauthn.fail(false);
        if lost_key {
            // Nothing was taken: with the key, the same response would do.
            let again = world.try_answer(begun.challenge.id, &response).await;
            assert!(matches!(again, Err(Undecided::Vault(_))), "{again:?}");
        } else {
            let again = world.answer(&begun, &response).await;
            assert_eq!(again, Verdict::Rejected(CodeRejection::ChallengeOver));
            let again = world.confirm(&alice(), &offered, &created).await.into_result().unwrap_err();
            assert_eq!(again, CodeRejection::ChallengeOver);
        }
        assert_eq!(world.count(&alice(), EventKind::Verified).await, 1);
        assert_eq!(world.count(&alice(), EventKind::FactorActivated).await, 1);
    }
}
