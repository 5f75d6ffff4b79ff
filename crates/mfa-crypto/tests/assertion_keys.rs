//! The signing keys keep the contract. Ed25519 is verified by another library than the one that signs.

use ed25519_dalek::{Signature, VerifyingKey};
use mfa_crypto::AssertionKeys;
use mfa_domain::signing::SigningPublicKey;
use mfa_testkit::{Violation, signing_keys};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

#[test]
fn signing_keys_keep_their_contract() -> Result<(), Violation> {
    signing_keys::basic(&AssertionKeys, &verifies)
}

fn verifies(public: &SigningPublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    match public {
        SigningPublicKey::P256 { x, y } => {
            let point = [&[4_u8][..], x, y].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
        }
        SigningPublicKey::Ed25519(key) => {
            let (key, signature) = (VerifyingKey::from_bytes(key), Signature::from_bytes(signature));
            key.is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
        }
    }
}
