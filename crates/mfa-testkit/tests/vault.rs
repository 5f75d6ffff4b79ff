//! The fake vault keeps the contract of a vault.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use mfa_domain::account::CallId;
use mfa_domain::ports::{EventPosition, Vault};
use mfa_domain::{
    AccountKey, EventId, FactorId, FactorKind, KeyId, SealContext, Sealed, TenantId, Timestamp, UserId,
};
use mfa_testkit::FakeVault;

fn account(user: &str) -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new(user).unwrap())
}

#[test]
fn an_id_of_an_event_is_one_of_its_tenant_alone() {
    let vault = FakeVault::default();
    let [ours, theirs] = ["acme", "umbrella"].map(|name| TenantId::new(name).unwrap());
    let id = vault.event_id(&ours, EventPosition(17));
    assert_eq!(vault.event_position(&ours, id), Some(EventPosition(17)));
    assert_eq!(vault.event_position(&theirs, id), None);
    assert_eq!(vault.event_position(&ours, EventId::from_block([7; 16])), None);
}

#[tokio::test]
async fn a_secret_opens_in_its_place_only_and_as_long_as_its_key_is_known() {
    let vault = FakeVault::default();
    let (alice, bob) = (account("alice"), account("bob"));
    let factor = FactorId::fresh(Timestamp::default(), &[1; 10]);
    let context = SealContext::Factor { account: &alice, factor, kind: &FactorKind::Totp };
    let secret = [7; 64];

    let sealed = vault.seal(&secret, &context).await.unwrap();
    assert_ne!(sealed, vault.seal(&secret, &context).await.unwrap());
    vault.rotate(KeyId::new("fake-2"));
    assert_eq!(*vault.open(&sealed, &context).await.unwrap(), secret);

    let other_factor = FactorId::fresh(Timestamp::default(), &[2; 10]);
    for moved in [
        SealContext::Factor { account: &bob, factor, kind: &FactorKind::Totp },
        SealContext::Factor { account: &alice, factor: other_factor, kind: &FactorKind::Totp },
        SealContext::Factor { account: &alice, factor, kind: &FactorKind::Hotp },
        SealContext::Answer { account: &alice, call: CallId([0; 32]) },
    ] {
        assert!(vault.open(&sealed, &moved).await.is_err(), "{moved:?}");
    }
    for altered in 0..sealed.bytes.len() {
        let mut sealed = sealed.clone();
        sealed.bytes[altered] ^= 1;
        assert!(vault.open(&sealed, &context).await.is_err(), "byte {altered}");
    }
    let renamed = Sealed { key: KeyId::new("fake-2"), ..sealed.clone() };
    assert!(vault.open(&renamed, &context).await.is_err());

    vault.forget_older();
    assert!(vault.open(&sealed, &context).await.is_err());
}
