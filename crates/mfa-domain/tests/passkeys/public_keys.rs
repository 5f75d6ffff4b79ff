//! The public key of a passkey is sealed to its factor: whoever can write to the store cannot put another one there.

use mfa_domain::passkey::CredentialId;
use mfa_domain::ports::{AccountStore, Commit, Vault};
use mfa_domain::{
    AccountKey, CodeRejection, EventKind, Factor, FactorId, FactorKind, KeyId, SealContext, Sealed,
    StoredFactor, Undecided, Verdict,
};
use mfa_testkit::{FakeAuthenticator, changes};

use super::{World, alice, bob, created, operator, parsed, signed, user};

impl World {
    async fn factor(&self, key: &AccountKey, id: FactorId) -> Factor {
        self.state(key).await.factor(id).unwrap().clone()
    }

    /// The public key of a passkey as JSON.
    async fn public_key(&self, key: &AccountKey, id: FactorId) -> String {
        let sealed = self.factor(key, id).await.sealed.unwrap();
        let opened = self.test.vault.open(&sealed, &place(key, id)).await.unwrap();
        String::from_utf8(opened.to_vec()).unwrap()
    }

    /// Writes to the store, as somebody without the keys of the vault can.
    async fn plant(&self, key: &AccountKey, id: FactorId, sealed: Option<Sealed>) {
        let factor = Factor { sealed, ..self.factor(key, id).await };
        let commit = changes::change(self.accounts.as_ref(), key, |draft| draft.put(factor)).await;
        assert_eq!(commit.unwrap(), Commit::Won);
    }
}

fn place(account: &AccountKey, factor: FactorId) -> SealContext<'_> {
    SealContext::Factor { account, factor, kind: &FactorKind::Passkey }
}

#[tokio::test]
async fn a_public_key_is_stored_sealed_and_stays_so_when_the_passkey_is_used() {
    let world = World::new();
    let mut device = FakeAuthenticator::security_key("key");
    let offered = world.offer(&alice()).await;
    assert_eq!(world.factor(&alice(), offered.factor.id).await.sealed, None);
    let response = created(&mut device, &offered);
    let id = world.confirm(&alice(), &offered, &response).await.into_result().unwrap().factor.id;
    let registered = world.factor(&alice(), id).await;
    world.sign_in(&alice(), &mut device).await;
    let used = world.factor(&alice(), id).await;

    let key = parsed(&world.public_key(&alice(), id).await)["k"].as_str().unwrap().to_owned();
    for factor in [&registered, &used] {
        assert!(parsed(StoredFactor::of(factor).data.as_str()).get("public_key").is_none());
        let document = StoredFactor::to_document(std::slice::from_ref(factor)).unwrap();
        assert!(!document.contains(&key), "{document}");
        assert!(factor.sealed.is_some());
    }
    assert_ne!(registered.passkey(), used.passkey());
    assert_eq!(registered.sealed, used.sealed);
}

#[tokio::test]
async fn a_passkey_works_before_and_after_its_public_key_is_sealed_with_a_newer_key() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    let id = world.register(&alice(), &mut phone).await;
    let (passkey, public_key) = (world.passkey(&alice(), id).await, world.public_key(&alice(), id).await);
    let newest = KeyId::new("fake-2");
    world.test.vault.rotate(newest.clone());
    world.sign_in(&alice(), &mut phone).await;

    assert!(world.mfa.reseal(&alice(), &operator()).await.unwrap());
    assert!(!world.mfa.reseal(&alice(), &operator()).await.unwrap(), "there is nothing left to do");
    assert_eq!(world.accounts.keys_in_use().await.unwrap(), [newest]);
    world.test.vault.forget_older();
    world.sign_in(&alice(), &mut phone).await;
    assert_eq!(world.passkey(&alice(), id).await, passkey);
    assert_eq!(world.public_key(&alice(), id).await, public_key);
    assert_eq!(world.count(&alice(), EventKind::SecretResealed).await, 1);
}

/// The forger has a passkey of the same credential id somewhere else: in another factor of the user, of another user,
/// or in another tenant.
#[tokio::test]
async fn a_public_key_from_another_place_is_an_error_and_accepts_nothing() {
    for owner in [alice(), bob(), user("other", "alice")] {
        let world = World::new();
        let id = CredentialId::new([9; 16]).unwrap();
        let (mut forger, mut phone) =
            (FakeAuthenticator::synced("forger"), FakeAuthenticator::synced("phone"));
        (forger.next_id, phone.next_id) = (Some(id.clone()), Some(id));
        // It names no user when it signs.
        forger.discoverable = false;
        let theirs = world.register(&owner, &mut forger).await;
        let moved = world.factor(&owner, theirs).await.sealed.unwrap();
        let planted = world.public_key(&owner, theirs).await;
        world.mfa.revoke(&owner, &operator(), theirs).await.unwrap();
        let own = world.register(&alice(), &mut phone).await;
        let right = world.factor(&alice(), own).await.sealed;

        // Not sealed, but as if.
        let plain = Sealed { key: moved.key.clone(), bytes: planted.clone().into_bytes() };
        for planted in [moved, plain] {
            world.plant(&alice(), own, Some(planted)).await;
            let (state, events) = (world.state(&alice()).await, world.events(&alice()).await.len());
            let (one, two) = (world.begin_any(&alice()).await, world.begin(&alice(), own).await);
            let passwordless = world.begin_passwordless().await;
            for (begun, response) in [
                (&one, signed(&mut forger, &one)),
                (&two, signed(&mut phone, &two)),
                (&passwordless, signed(&mut phone, &passwordless)),
            ] {
                let answered = world.try_answer(begun.challenge.id, &response).await;
                assert!(matches!(answered, Err(Undecided::Vault(_))), "{owner:?}: {answered:?}");
            }
            assert_eq!(world.state(&alice()).await, state, "{owner:?}");
            assert_eq!(world.events(&alice()).await.len(), events, "{owner:?}");
        }
        world.plant(&alice(), own, right).await;
        world.sign_in(&alice(), &mut phone).await;

        // Sealed for this factor, the same public key would have accepted the forger.
        let sealed = world.test.vault.seal(planted.as_bytes(), &place(&alice(), own)).await.unwrap();
        world.plant(&alice(), own, Some(sealed)).await;
        world.sign_in(&alice(), &mut forger).await;
    }
}

#[tokio::test]
async fn a_passkey_without_a_public_key_is_an_error_and_accepts_nothing() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    let id = world.register(&alice(), &mut phone).await;
    world.plant(&alice(), id, None).await;
    let (state, events) = (world.state(&alice()).await, world.events(&alice()).await.len());
    for begun in [world.begin_any(&alice()).await, world.begin_passwordless().await] {
        let response = signed(&mut phone, &begun);
        let answered = world.try_answer(begun.challenge.id, &response).await;
        assert!(matches!(answered, Err(Undecided::Store(_))), "{answered:?}");
    }
    assert_eq!(world.state(&alice()).await, state);
    assert_eq!(world.events(&alice()).await.len(), events);
}

/// The ceremony is sealed with a key that is still there, the public key is not.
#[tokio::test]
async fn a_public_key_whose_key_is_lost_is_an_error_and_accepts_nothing() {
    let world = World::new();
    let mut phone = FakeAuthenticator::synced("phone");
    world.register(&alice(), &mut phone).await;
    world.test.vault.rotate(KeyId::new("fake-2"));
    world.test.vault.forget_older();
    let (state, events) = (world.state(&alice()).await, world.events(&alice()).await.len());
    for begun in [world.begin_any(&alice()).await, world.begin_passwordless().await] {
        let response = signed(&mut phone, &begun);
        let answered = world.try_answer(begun.challenge.id, &response).await;
        assert!(matches!(answered, Err(Undecided::Vault(_))), "{answered:?}");
        let again = world.answer(&begun, &response).await;
        assert_eq!(again, Verdict::Rejected(CodeRejection::ChallengeOver));
    }
    assert_eq!(world.state(&alice()).await, state);
    assert_eq!(world.events(&alice()).await.len(), events);
}
