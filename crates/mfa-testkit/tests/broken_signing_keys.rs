//! Signing keys that are wrong in one way each: the suite must find every one of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::{HEXLOWER, HEXUPPER};
use mfa_domain::ports::{EntropyError, KeyPair, SignerError, SigningKeys};
use mfa_domain::signing::{SigningAlgorithm, SigningPublicKey};
use mfa_testkit::signing_keys::{self, Verify};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What is wrong with signing keys.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    OneKeyForAll,
    PublicKeyOfAnotherAlgorithm,
    AnotherPublicKeyEachTime,
    ReadsTheBeginningOfAKey,
    ReadsAnyBytesOfTheRightLength,
    ReadsKeysOfAnotherAlgorithm,
    SignsTheBeginningOfAMessage,
    ShowsTheKey,
    ShowsTheKeyInHexadecimal,
    ShowsTheKeyInUpperCase,
}

#[test]
fn whatever_is_wrong_with_signing_keys_is_found() {
    for wrong in [
        Wrong::OneKeyForAll,
        Wrong::PublicKeyOfAnotherAlgorithm,
        Wrong::AnotherPublicKeyEachTime,
        Wrong::ReadsTheBeginningOfAKey,
        Wrong::ReadsAnyBytesOfTheRightLength,
        Wrong::ReadsKeysOfAnotherAlgorithm,
        Wrong::SignsTheBeginningOfAMessage,
        Wrong::ShowsTheKey,
        Wrong::ShowsTheKeyInHexadecimal,
        Wrong::ShowsTheKeyInUpperCase,
    ] {
        let found = signing_keys::basic(&BrokenKeys::new(wrong), &verifies);
        assert!(found.is_err(), "the suite does not find {wrong:?}");
    }
    assert_eq!(signing_keys::basic(&BrokenKeys::new(Wrong::Nothing), &verifies), Ok(()));
}

#[test]
fn a_signature_that_verifies_for_another_message_or_key_is_found() {
    let gullible: [Verify<'_>; 2] = [
        &|public, _, signature| signature[..32] == hash(public.id().as_bytes()),
        &|_, message, signature| signature[32..] == hash(message),
    ];
    for verify in gullible {
        assert!(signing_keys::basic(&BrokenKeys::new(Wrong::Nothing), verify).is_err());
    }
}

/// A signature without secrecy: a hash of the public key and one of the message.
fn verifies(public: &SigningPublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    *signature == signed(public, message)
}

fn signed(public: &SigningPublicKey, message: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&hash(public.id().as_bytes()));
    signature[32..].copy_from_slice(&hash(message));
    signature
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A private key is the mark of its algorithm and 32 bytes.
#[derive(Debug)]
struct BrokenKeys {
    wrong: Wrong,
    calls: AtomicU64,
}

struct BrokenKey {
    wrong: Wrong,
    public: SigningPublicKey,
    shown: String,
}

impl BrokenKeys {
    const fn new(wrong: Wrong) -> Self {
        Self { wrong, calls: AtomicU64::new(0) }
    }

    /// Bytes that differ at each call.
    fn fresh(&self) -> [u8; 32] {
        hash(&self.calls.fetch_add(1, Ordering::SeqCst).to_be_bytes())
    }
}

impl SigningKeys for BrokenKeys {
    fn generate(&self, algorithm: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, EntropyError> {
        let secret = if self.wrong == Wrong::OneKeyForAll { [1; 32] } else { self.fresh() };
        Ok(Zeroizing::new([&[mark(algorithm)][..], &secret].concat()))
    }

    fn read(&self, algorithm: SigningAlgorithm, private: &[u8]) -> Result<Arc<dyn KeyPair>, SignerError> {
        let whole = private.len() == 33;
        let marked = private.first() == Some(&mark(algorithm));
        let is_read = match self.wrong {
            Wrong::ReadsTheBeginningOfAKey => marked,
            Wrong::ReadsAnyBytesOfTheRightLength => whole,
            Wrong::ReadsKeysOfAnotherAlgorithm => whole && b"PE".contains(&private[0]),
            _ => whole && marked,
        };
        if !is_read {
            return Err(SignerError::new("not a key"));
        }
        let x = if self.wrong == Wrong::AnotherPublicKeyEachTime { self.fresh() } else { hash(private) };
        let mixed_up = self.wrong == Wrong::PublicKeyOfAnotherAlgorithm;
        let public = if (algorithm == SigningAlgorithm::Es256) == mixed_up {
            SigningPublicKey::Ed25519(x)
        } else {
            SigningPublicKey::P256 { x, y: hash(&x) }
        };
        let shown = match self.wrong {
            Wrong::ShowsTheKey => format!("{private:?}"),
            Wrong::ShowsTheKeyInHexadecimal => HEXLOWER.encode(private),
            Wrong::ShowsTheKeyInUpperCase => HEXUPPER.encode(private),
            _ => String::new(),
        };
        Ok(Arc::new(BrokenKey { wrong: self.wrong, public, shown }))
    }
}

const fn mark(algorithm: SigningAlgorithm) -> u8 {
    match algorithm {
        SigningAlgorithm::Es256 => b'P',
        SigningAlgorithm::EdDsa | SigningAlgorithm::Ed25519 => b'E',
    }
}

impl KeyPair for BrokenKey {
    fn public_key(&self) -> SigningPublicKey {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        let length = match self.wrong {
            Wrong::SignsTheBeginningOfAMessage => message.len().min(100),
            _ => message.len(),
        };
        Ok(signed(&self.public, &message[..length]))
    }
}

impl fmt::Debug for BrokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
