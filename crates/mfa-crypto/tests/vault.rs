//! What the vault promises to the domain.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use data_encoding::HEXLOWER;
use mfa_crypto::vault::VaultFailure;
use mfa_crypto::{AesGcmVault, KeyRing, KeyRingError};
use mfa_domain::ports::{Entropy, EntropyError, EventPosition, SystemEntropy, Vault, VaultError};
use mfa_domain::{AccountKey, FactorId, FactorKind, KeyId, SealContext, Sealed, TenantId, Timestamp, UserId};
use proptest::prelude::*;
use tokio::runtime::Runtime;

const SECRET: &[u8; 20] = b"a secret of 20 bytes";

#[test]
fn a_secret_opens_in_its_own_place_only() {
    let vault = vault(ring());
    let home = Place::new("acme", "alice", 1, FactorKind::Totp);
    let sealed = vault.sealed(SECRET, &home);
    assert_eq!(vault.opened(&sealed, &home).unwrap(), SECRET);
    for elsewhere in [
        Place::new("acne", "alice", 1, FactorKind::Totp),
        Place::new("acme", "alicf", 1, FactorKind::Totp),
        Place::new("acmea", "lice", 1, FactorKind::Totp),
        Place::new("acme", "alice", 2, FactorKind::Totp),
        Place::new("acme", "alice", 1, FactorKind::Hotp),
    ] {
        let error = vault.opened(&sealed, &elsewhere).unwrap_err();
        assert!(matches!(failure(&error), VaultFailure::NotAuthentic), "{elsewhere:?} {error:?}");
    }
}

#[test]
fn no_bit_of_a_sealed_secret_can_be_changed() {
    let vault = vault(ring());
    let home = Place::home();
    let sealed = vault.sealed(SECRET, &home);
    assert_eq!(sealed.bytes.len(), 1 + 12 + SECRET.len() + 16);
    for bit in 0..sealed.bytes.len() * 8 {
        let mut bytes = sealed.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(vault.opened(&Sealed { bytes, ..sealed.clone() }, &home).is_err(), "bit {bit}");
    }
    for length in 0..sealed.bytes.len() {
        let bytes = sealed.bytes[..length].to_vec();
        assert!(vault.opened(&Sealed { bytes, ..sealed.clone() }, &home).is_err(), "length {length}");
    }
    let bytes = [sealed.bytes.as_slice(), &[0]].concat();
    assert!(vault.opened(&Sealed { bytes, ..sealed.clone() }, &home).is_err());
}

#[test]
fn a_secret_names_its_key_and_no_other_opens_it() {
    let mut ring = ring();
    let old = ring.newest().clone();
    let new = ring.add(&SystemEntropy, Timestamp::default()).unwrap();
    let vault = vault(ring);
    let home = Place::home();
    let sealed = vault.sealed(SECRET, &home);
    assert_eq!(sealed.key, new);

    let error = vault.opened(&Sealed { key: old, ..sealed.clone() }, &home).unwrap_err();
    assert!(matches!(failure(&error), VaultFailure::NotAuthentic));
    for unknown in ["", "k", &new.as_str().to_uppercase()] {
        let error = vault.opened(&Sealed { key: KeyId::new(unknown), ..sealed.clone() }, &home).unwrap_err();
        assert!(matches!(failure(&error), VaultFailure::UnknownKey { source: None, .. }));
    }
}

#[test]
fn the_same_secret_in_the_same_place_is_never_sealed_to_the_same_bytes() {
    let vault = vault(ring());
    let home = Place::home();
    let nonces: std::collections::HashSet<_> =
        (0..1000).map(|_| vault.sealed(SECRET, &home).bytes[1..13].to_vec()).collect();
    assert_eq!(nonces.len(), 1000);
}

/// The layout as databases hold it, worked out with another implementation of AES-256-GCM. What fails
/// here would fail to open every secret that was ever sealed.
#[test]
fn the_layout_stays_as_it_is() {
    #[derive(Debug)]
    struct Fixed;
    impl Entropy for Fixed {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
            buffer.fill(0x2a);
            Ok(())
        }
    }
    let ring = KeyRing::parse(
        r#"
        event_ids = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        [[keys]]
        id = "kawpeltyle2nriu4z5ky3gq4x"
        created_at = 2023-11-14T22:13:20Z
        key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        "#,
    );
    let vault = TestVault(AesGcmVault::new(ring.unwrap()).with_entropy(Arc::new(Fixed)));
    let sealed = vault.sealed(SECRET, &Place::home());
    assert_eq!(
        HEXLOWER.encode(&sealed.bytes),
        "012a2a2a2a2a2a2a2a2a2a2a2afc1f74f7c1fedb6c46e9c589faa32d171d3c3990b96a5cf9bf52e4bf0277271c1ffd267e"
    );
}

#[test]
fn after_a_rotation_old_secrets_open_and_new_ones_take_the_new_key() {
    let mut ring = ring();
    let copy = KeyRing::parse(&ring.to_text()).unwrap();
    let old = ring.newest().clone();
    let vault = vault(copy);
    let home = Place::home();
    let sealed = vault.sealed(SECRET, &home);
    assert_eq!((&sealed.key, vault.0.newest()), (&old, old.clone()));

    let new = ring.add(&SystemEntropy, Timestamp::default()).unwrap();
    vault.0.replace_ring(KeyRing::parse(&ring.to_text()).unwrap()).unwrap();
    assert_eq!(vault.0.newest(), new);
    assert!(vault.0.supersedes(&old) && !vault.0.supersedes(&new));
    assert_eq!(vault.opened(&sealed, &home).unwrap(), SECRET);
    let resealed = vault.sealed(SECRET, &home);
    assert_eq!(resealed.key, new);

    ring.remove(&old).unwrap();
    vault.0.replace_ring(ring).unwrap();
    assert_eq!(vault.opened(&resealed, &home).unwrap(), SECRET);
    let error = vault.opened(&sealed, &home).unwrap_err();
    assert!(matches!(failure(&error), VaultFailure::UnknownKey { id, .. } if *id == old));
}

#[test]
fn the_wrong_ring_is_noticed_before_anything_is_opened() {
    let vault = vault(ring());
    let other = ring().newest().clone();
    let check = |key: &KeyId| RUNTIME.block_on(vault.0.check(key));
    assert!(check(&vault.0.newest()).is_ok());
    assert!(
        matches!(failure(&check(&other).unwrap_err()), VaultFailure::UnknownKey { id, .. } if *id == other)
    );
}

#[test]
fn a_ring_that_was_extended_is_taken_up_while_it_runs_with_one_read() {
    let mut file = ring();
    let ours = KeyRing::parse(&file.to_text()).unwrap();
    file.add(&SystemEntropy, Timestamp::default()).unwrap();
    let replica = vault(KeyRing::parse(&file.to_text()).unwrap());
    let home = Place::home();
    let sealed = replica.sealed(SECRET, &home);

    let reads = Arc::new(AtomicUsize::new(0));
    let (text, count) = (file.to_text(), Arc::clone(&reads));
    let vault = TestVault(AesGcmVault::new(ours).with_reload(move || {
        count.fetch_add(1, Ordering::SeqCst);
        KeyRing::parse(&text)
    }));
    RUNTIME.block_on(async {
        let context = home.context();
        let opened = tokio::join!(
            vault.0.open(&sealed, &context),
            vault.0.open(&sealed, &context),
            vault.0.open(&sealed, &context),
        );
        assert!(opened.0.is_ok() && opened.1.is_ok() && opened.2.is_ok());
    });
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    assert_eq!(vault.0.newest(), *file.newest());
}

#[test]
fn unknown_keys_make_it_read_the_ring_once_a_second_at_most() {
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let ours = ring();
    let newest = ours.newest().clone();
    let vault = TestVault(AesGcmVault::new(ours).with_reload(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, KeyRingError>(ring())
    }));
    let check = |key: &str| RUNTIME.block_on(vault.0.check(&KeyId::new(key)));
    for n in 0..100 {
        let error = check(&format!("k{n}")).unwrap_err();
        assert!(matches!(failure(&error), VaultFailure::UnknownKey { source: None, .. }));
    }
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    assert_eq!(vault.0.newest(), newest, "a ring without the key was not taken up");

    std::thread::sleep(AesGcmVault::RELOAD_INTERVAL);
    assert!(check("k").is_err());
    assert_eq!(reads.load(Ordering::SeqCst), 2);
}

/// Somebody put another ring in the place of ours: what it sealed opens, and what ours sealed still does.
#[test]
fn a_ring_that_lacks_our_keys_does_not_take_their_place() {
    let (ours, theirs) = (ring(), ring());
    let (our_key, their_key) = (ours.newest().clone(), theirs.newest().clone());
    let theirs = theirs.to_text().to_string();
    let vault = AesGcmVault::new(ours).with_reload(move || KeyRing::parse(&theirs));
    let vault = TestVault(vault);
    let check = |key| RUNTIME.block_on(vault.0.check(key));
    assert!(check(&their_key).is_ok());
    assert!(check(&our_key).is_ok());
    assert_eq!(vault.0.newest(), our_key);
}

#[test]
fn ids_of_events_are_the_same_on_every_replica_and_outlast_every_key() {
    let mut file = ring();
    let replica = vault(KeyRing::parse(&file.to_text()).unwrap()).0;
    let first = file.newest().clone();
    let standby = file.add_standby(&SystemEntropy, Timestamp::default()).unwrap();
    file.promote(&standby).unwrap();
    file.add(&SystemEntropy, Timestamp::default()).unwrap();
    file.remove(&first).unwrap();
    let changed = KeyRing::parse(&file.to_text()).unwrap();
    let (other, changed) = (vault(ring()).0, vault(changed).0);
    let [acme, umbrella] = ["acme", "umbrella"].map(|name| TenantId::new(name).unwrap());
    let ids: Vec<_> = (1..=1000).map(|n| replica.event_id(&acme, EventPosition(n))).collect();
    for (id, position) in ids.iter().zip((1..).map(EventPosition)) {
        assert_eq!(changed.event_id(&acme, position), *id);
        assert_eq!(changed.event_position(&acme, *id), Some(position));
        assert_eq!(replica.event_position(&umbrella, *id), None);
        assert_eq!(other.event_position(&acme, *id), None);
    }
    // Of neighbours about as many are in order as not.
    let in_order = ids.windows(2).filter(|two| two[0].to_string() < two[1].to_string()).count();
    assert!((400..600).contains(&in_order), "{in_order} of 999 are in order");
}

/// It has all our keys, so only the ids tell that it is not ours.
#[test]
fn a_ring_with_other_ids_of_events_is_not_taken_up() {
    let mut file = ring();
    let ours = KeyRing::parse(&file.to_text()).unwrap();
    let our_key = file.newest().clone();
    let new = file.add(&SystemEntropy, Timestamp::default()).unwrap();
    let (text, stranger) = (file.to_text(), ring().to_text());
    let secret = |text: &str| text.split('"').nth(1).unwrap().to_owned();
    let theirs = text.replace(&secret(&text), &secret(&stranger));
    let reloaded = theirs.clone();
    let vault = AesGcmVault::new(ours).with_reload(move || KeyRing::parse(&reloaded));
    let id = vault.event_id(&TenantId::new("acme").unwrap(), EventPosition(1));
    // What its new key sealed opens, as by any ring that has the key.
    assert!(RUNTIME.block_on(vault.check(&new)).is_ok());
    assert_eq!(vault.newest(), our_key);
    assert_eq!(vault.replace_ring(KeyRing::parse(&theirs).unwrap()), Err(KeyRingError::OtherEventIds));
    assert_eq!(vault.newest(), our_key);
    assert_eq!(vault.event_id(&TenantId::new("acme").unwrap(), EventPosition(1)), id);
    assert_eq!(vault.replace_ring(file), Ok(()));
    assert_eq!(vault.newest(), new);
}

#[test]
fn why_the_ring_could_not_be_read_anew_is_told_and_the_old_one_stays() {
    let vault = TestVault(AesGcmVault::new(ring()).with_reload(|| Err::<KeyRing, _>(KeyRingError::Empty)));
    let error = RUNTIME.block_on(vault.0.check(&KeyId::new("k"))).unwrap_err();
    let reason = failure(&error).source().and_then(|reason| reason.downcast_ref());
    assert_eq!(reason, Some(&KeyRingError::Empty));
    let home = Place::home();
    assert_eq!(vault.opened(&vault.sealed(SECRET, &home), &home).unwrap(), SECRET);
}

#[test]
fn without_randomness_nothing_is_sealed() {
    #[derive(Debug)]
    struct Dry;
    impl Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError::new("dry"))
        }
    }
    let vault = AesGcmVault::new(ring()).with_entropy(Arc::new(Dry));
    let home = Place::home();
    let error = RUNTIME.block_on(vault.seal(SECRET, &home.context())).unwrap_err();
    assert!(matches!(failure(&error), VaultFailure::Entropy(_)));
}

#[test]
fn a_layout_of_a_later_version_is_told_from_a_forgery() {
    let vault = vault(ring());
    let home = Place::home();
    let mut sealed = vault.sealed(SECRET, &home);
    sealed.bytes[0] = 2;
    assert!(matches!(failure(&vault.opened(&sealed, &home).unwrap_err()), VaultFailure::Malformed));
}

/// A copy of the database, the log or a panic message must not give a secret or a key away.
#[test]
fn nothing_that_is_stored_or_printed_holds_a_secret() {
    let ring = ring();
    let text = ring.to_text();
    let (event_ids, key) = (text.split('"').nth(1).unwrap(), text.rsplit('"').nth(1).unwrap());
    let vault = vault(KeyRing::parse(&text).unwrap());
    let home = Place::home();
    let sealed = vault.sealed(SECRET, &home);
    assert!(!sealed.bytes.windows(4).any(|window| SECRET.windows(4).any(|part| part == window)));

    let elsewhere = Place::new("acme", "mallory", 1, FactorKind::Totp);
    let error = vault.opened(&sealed, &elsewhere).unwrap_err();
    let shown = format!("{:?} {ring:?} {sealed:?} {error} {error:?} {}", vault.0, failure(&error));
    assert!(shown.contains(ring.newest().as_str()));
    for secret in [key, event_ids, str::from_utf8(SECRET).unwrap(), "97, 32, 115"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #[test]
    fn every_secret_is_read_back(bytes in prop::collection::vec(any::<u8>(), 0..=128), place: Place) {
        let vault = vault(ring());
        let sealed = vault.sealed(&bytes, &place);
        prop_assert_eq!(vault.opened(&sealed, &place).unwrap(), bytes);
    }

    #[test]
    fn two_places_never_open_each_others_secrets(a: Place, b: Place) {
        let vault = vault(ring());
        let sealed = vault.sealed(SECRET, &a);
        prop_assert_eq!(vault.opened(&sealed, &b).is_ok(), a == b);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let vault = vault(ring());
        let sealed = Sealed { key: vault.0.newest(), bytes };
        prop_assert!(vault.opened(&sealed, &Place::home()).is_err());
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

#[derive(Debug)]
struct TestVault(AesGcmVault);

impl TestVault {
    fn sealed(&self, secret: &[u8], place: &Place) -> Sealed {
        RUNTIME.block_on(self.0.seal(secret, &place.context())).unwrap()
    }

    fn opened(&self, sealed: &Sealed, place: &Place) -> Result<Vec<u8>, VaultError> {
        RUNTIME.block_on(self.0.open(sealed, &place.context())).map(|secret| secret.to_vec())
    }
}

fn ring() -> KeyRing {
    KeyRing::generate(&SystemEntropy, Timestamp::from_unix_seconds(1_700_000_000)).unwrap()
}

fn vault(ring: KeyRing) -> TestVault {
    TestVault(AesGcmVault::new(ring))
}

fn failure(error: &VaultError) -> &VaultFailure {
    error.source().unwrap().downcast_ref().unwrap()
}

/// Where a secret belongs.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    account: AccountKey,
    factor: FactorId,
    kind: FactorKind,
}

impl Place {
    fn home() -> Self {
        Self::new("acme", "alice", 1, FactorKind::Totp)
    }

    fn new(tenant: &str, user: &str, factor: u8, kind: FactorKind) -> Self {
        let account = AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap());
        Self { account, factor: FactorId::fresh(Timestamp::default(), &[factor; 10]), kind }
    }

    const fn context(&self) -> SealContext<'_> {
        SealContext::Factor { account: &self.account, factor: self.factor, kind: &self.kind }
    }
}

impl Arbitrary for Place {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    /// Few and short, so that two of them are often nearly the same.
    fn arbitrary_with((): ()) -> Self::Strategy {
        let kind = prop_oneof![Just(FactorKind::Totp), Just(FactorKind::Hotp)];
        ("[a-b]{1,3}", "[a-b]{1,3}", 0..2_u8, kind)
            .prop_map(|(tenant, user, factor, kind)| Self::new(&tenant, &user, factor, kind))
            .boxed()
    }
}
