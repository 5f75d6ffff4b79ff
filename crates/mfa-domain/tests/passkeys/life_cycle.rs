//! The passkeys of a user change, and what browsers are told.

use mfa_domain::mfa::{AcceptedPasskeys, NewPasskey};
use mfa_domain::passkey::CredentialId;
use mfa_domain::ports::CredentialRefusal;
use mfa_domain::{CodeRejection, FactorId, Reason, Verdict};
use mfa_testkit::FakeAuthenticator;

use super::{World, alice, bob, created, label, operator, shop, signed, signed_by_any};

/// The ways in which a passkey goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    Revoked,
    Replaced,
    Reset,
    Erased,
}

const WAYS: [Gone; 4] = [Gone::Revoked, Gone::Replaced, Gone::Reset, Gone::Erased];

impl World {
    /// What browsers are told, by both calls.
    async fn accepted(&self) -> Option<AcceptedPasskeys> {
        let accepted = self.mfa.accepted_passkeys(&alice()).await.unwrap();
        assert_eq!(self.mfa.status(&alice()).await.unwrap().passkeys, accepted);
        accepted
    }

    async fn accepted_ids(&self) -> Vec<CredentialId> {
        self.accepted().await.unwrap().credential_ids
    }

    async fn reset(&self) {
        self.mfa.reset(&alice(), &operator(), &Reason::new("lost").unwrap()).await.unwrap();
    }

    async fn remove(&self, factor: FactorId, way: Gone, device: &mut FakeAuthenticator) {
        match way {
            Gone::Revoked => self.mfa.revoke(&alice(), &operator(), factor).await.unwrap(),
            Gone::Replaced => {
                self.sign_in(&alice(), device).await;
                let new = NewPasskey { replaces: Some(factor), ..NewPasskey::default() };
                let offered = self.try_offer(&alice(), new).await.unwrap();
                let response = created(&mut FakeAuthenticator::synced("new"), &offered);
                self.confirm(&alice(), &offered, &response).await.into_result().unwrap();
            }
            Gone::Reset => self.reset().await,
            Gone::Erased => self.mfa.erase(&alice(), &operator()).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn browsers_are_told_of_each_change() {
    let world = World::new();
    assert_eq!(world.accepted().await, None);
    let (mut phone, mut laptop) = (FakeAuthenticator::synced("phone"), FakeAuthenticator::synced("laptop"));
    let offered = world.offer(&alice()).await;
    assert_eq!(world.accepted().await, None);

    let response = created(&mut phone, &offered);
    let confirmed = world.confirm(&alice(), &offered, &response).await.into_result().unwrap();
    assert_eq!(confirmed.passkeys, world.accepted().await);
    let first = confirmed.passkeys.unwrap();
    assert_eq!((first.rp_id.as_str(), first.user.name.as_str()), ("example.com", "alice"));
    let one = confirmed.factor.id;
    let one_id = response.credential_id;
    assert_eq!(world.accepted_ids().await, std::slice::from_ref(&one_id));

    let two = world.add(&alice(), &mut laptop, &mut phone).await;
    let two_id = world.passkey(&alice(), two).await.credential_id;
    assert_eq!(world.accepted_ids().await, [one_id.clone(), two_id.clone()]);
    world.mfa.rename(&alice(), &shop(), one, &label("Work")).await.unwrap();
    assert_eq!(world.accepted_ids().await, [one_id, two_id.clone()]);
    world.mfa.revoke(&alice(), &operator(), one).await.unwrap();
    assert_eq!(world.accepted_ids().await, [two_id]);
    world.reset().await;
    assert!(world.accepted_ids().await.is_empty());
    assert_eq!(world.accepted().await.unwrap().user, first.user);
    world.mfa.erase(&alice(), &operator()).await.unwrap();
    assert_eq!(world.accepted().await, None);
}

#[tokio::test]
async fn a_removed_passkey_is_refused() {
    for way in WAYS {
        let world = World::new();
        let mut phone = FakeAuthenticator::synced("phone");
        let factor = world.register(&alice(), &mut phone).await;
        let begun = [world.begin_any(&alice()).await, world.begin(&alice(), factor).await];
        let passwordless = world.begin_passwordless().await;
        world.remove(factor, way, &mut phone).await;
        let before = world.events(&alice()).await.len();
        for begun in begun {
            let response = signed(&mut phone, &begun);
            let refused = Verdict::Rejected(CodeRejection::Credential(CredentialRefusal::Signature));
            assert_eq!(world.answer(&begun, &response).await, refused, "{way:?}");
        }
        let response = signed(&mut phone, &passwordless);
        let unknown = Verdict::Rejected(CodeRejection::UnknownCredential);
        assert_eq!(world.answer(&passwordless, &response).await, unknown, "{way:?}");
        assert_eq!(world.events(&alice()).await.len(), before, "{way:?}");
    }
}

#[tokio::test]
async fn the_credential_of_a_removed_passkey_is_free_for_another_user() {
    for way in WAYS {
        let world = World::new();
        let mut phone = FakeAuthenticator::synced("phone");
        let factor = world.register(&alice(), &mut phone).await;
        let id = world.passkey(&alice(), factor).await.credential_id;
        world.remove(factor, way, &mut phone).await;
        let mut bobs = FakeAuthenticator::synced("bobs");
        bobs.next_id = Some(id);
        let factor = world.register(&bob(), &mut bobs).await;
        let begun = world.begin_passwordless().await;
        let response = signed(&mut bobs, &begun);
        let answered = world.answer(&begun, &response).await.into_result().unwrap();
        assert_eq!(
            (answered.user, answered.verified.verification.factor),
            (bob().user, Some(factor)),
            "{way:?}"
        );

        // The old key is not that of the new passkey.
        let begun = world.begin_any(&bob()).await;
        let response = signed_by_any(&mut phone, &begun);
        let refused = Verdict::Rejected(CodeRejection::Credential(CredentialRefusal::Signature));
        assert_eq!(world.answer(&begun, &response).await, refused, "{way:?}");
    }
}

#[tokio::test]
async fn only_an_erasure_changes_the_handle_of_a_user() {
    for way in WAYS {
        let world = World::new();
        let mut phone = FakeAuthenticator::synced("phone");
        let factor = world.register(&alice(), &mut phone).await;
        let before = world.accepted().await.unwrap().user.handle;
        world.remove(factor, way, &mut phone).await;
        if way != Gone::Replaced {
            world.register(&alice(), &mut FakeAuthenticator::synced("next")).await;
        }
        let after = world.accepted().await.unwrap().user.handle;
        assert_eq!(after == before, way != Gone::Erased, "{way:?}");
    }
}

#[tokio::test]
async fn an_erasure_leaves_nothing_of_an_offered_passkey() {
    let world = World::new();
    world.offer(&alice()).await;
    world.mfa.erase(&alice(), &operator()).await.unwrap();
    assert_eq!(world.state(&alice()).await, mfa_domain::Account::default());
    let before = world.events(&alice()).await.len();
    world.mfa.erase(&alice(), &operator()).await.unwrap();
    assert_eq!(world.events(&alice()).await.len(), before, "nothing is left to erase");
}
