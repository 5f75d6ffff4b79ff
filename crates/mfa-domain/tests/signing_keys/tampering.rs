//! Somebody can write to the store, but has no key of the vault: they make us neither publish nor sign by a key of theirs.

use std::time::Duration;

use mfa_crypto::AssertionKeys;
use mfa_domain::account::SigningKeyDevice;
use mfa_domain::ports::SigningKeys;
use mfa_domain::{Authenticator, Factor, FactorId, Mfa, Sealed, Undecided};

use super::{ES256, World, ensure, operator, published, signed};

/// Whether nothing is signed and nothing is published.
async fn fails(mfa: &Mfa) -> bool {
    match (mfa.assertion_key().await, mfa.published_keys().await) {
        (Err(Undecided::Store(_)), Err(Undecided::Store(_)))
        | (Err(Undecided::Vault(_)), Err(Undecided::Vault(_))) => true,
        (Ok(Some(_)), Ok(Some(_))) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_public_key_that_was_replaced_in_the_store_is_not_published() {
    let world = World::new();
    let running = world.replica();
    ensure(&running).await;
    let set = published(&running).await;
    let (factor, device) = world.stored().await.remove(0);
    let private = AssertionKeys.generate(ES256).unwrap();
    let public = AssertionKeys.read(ES256, &private).unwrap().public_key();
    let theirs = Authenticator::SigningKey(SigningKeyDevice { public, ..device });
    world.plant(Factor { authenticator: theirs, ..factor.clone() }).await;

    assert!(fails(&world.replica()).await);
    world.wait(Duration::from_mins(1));
    let key = running.assertion_key().await;
    assert!(matches!(key, Err(Undecided::Store(_))), "{key:?}");
    assert_eq!(published(&running).await, set, "what was read before");

    world.plant(factor).await;
    for mfa in [running, world.replica()] {
        assert_eq!(published(&mfa).await, set);
        assert!(world.check(&set, &signed(&mfa).await).is_ok());
    }
}

#[tokio::test]
async fn a_private_key_opens_in_its_own_place_only() {
    let world = World::new();
    let mfa = world.replica();
    ensure(&mfa).await;
    mfa.rotate_signing_key(&operator(), ES256).await.unwrap();
    let mut keys = world.stored().await.into_iter().map(|(factor, _)| factor);
    let (first, second) = (keys.next().unwrap(), keys.next().unwrap());
    let of = |sealed: Option<Sealed>| Factor { sealed, ..first.clone() };
    let plain = AssertionKeys.generate(ES256).unwrap().to_vec();
    let vault_key = first.sealed.as_ref().unwrap().key.clone();
    for (planted, what) in [
        (of(second.sealed.clone()), "that of another key"),
        (of(Some(Sealed { key: vault_key, bytes: plain })), "one that is not sealed"),
        (of(None), "none"),
    ] {
        world.plant(planted).await;
        assert!(fails(&world.replica()).await, "{what}");
        world.plant(first.clone()).await;
        assert!(!fails(&world.replica()).await, "{what}: it is as before");
    }
    world.plant(Factor { id: FactorId::fresh(world.now(), &[9; 10]), ..first }).await;
    assert!(fails(&world.replica()).await, "under another id");
}
