//! Contract suite for [`SigningKeys`].

use std::collections::HashSet;
use std::sync::Arc;

use data_encoding::{HEXLOWER, HEXUPPER};
use mfa_domain::ports::{KeyPair, SigningKeys};
use mfa_domain::signing::{SigningAlgorithm, SigningPublicKey};
use zeroize::Zeroizing;

use crate::Violation;
use crate::violation::ensure;

/// Whether a signature of a message verifies with a public key.
pub type Verify<'a> = &'a dyn Fn(&SigningPublicKey, &[u8], &[u8; 64]) -> bool;

/// Checks the contract for each algorithm. This crate verifies no signatures: `verify` does, with a library of the
/// caller's choice, at best another one than the adapter signs with.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub fn basic(keys: &dyn SigningKeys, verify: Verify<'_>) -> Result<(), Violation> {
    for algorithm in SigningAlgorithm::ALL {
        let subject = Subject { keys, verify, algorithm };
        subject.check().map_err(|violation| violation.found_by(algorithm.as_str()))?;
    }
    Ok(())
}

/// A private key, and the pair that was read from it.
type Generated = (Zeroizing<Vec<u8>>, Arc<dyn KeyPair>);

struct Subject<'a> {
    keys: &'a dyn SigningKeys,
    verify: Verify<'a>,
    algorithm: SigningAlgorithm,
}

impl Subject<'_> {
    fn check(&self) -> Result<(), Violation> {
        self.no_key_is_generated_twice()?;
        self.a_key_is_read_back()?;
        self.what_is_no_key_of_the_algorithm_is_refused()?;
        self.signatures_verify()?;
        self.debug_hides_the_private_key()
    }

    fn no_key_is_generated_twice(&self) -> Result<(), Violation> {
        let mut ids = HashSet::new();
        for _ in 0..8 {
            let (_, pair) = self.generated()?;
            ensure!(ids.insert(pair.public_key().id()), "the same key was generated twice");
        }
        Ok(())
    }

    fn a_key_is_read_back(&self) -> Result<(), Violation> {
        let (private, pair) = self.generated()?;
        let public = pair.public_key();
        ensure!(
            is_of_p256(&public) == needs_p256(self.algorithm),
            "a key has the public key of another algorithm: {public:?}"
        );
        let again = self.keys.read(self.algorithm, &private)?;
        let read = again.public_key();
        ensure!(read == public, "the public key of one private key was {public:?} and {read:?}");
        ensure!(
            self.verifies(&public, b"message", &again.sign(b"message")?),
            "a signature by a key that was read again does not verify"
        );
        Ok(())
    }

    fn what_is_no_key_of_the_algorithm_is_refused(&self) -> Result<(), Violation> {
        let private = self.keys.generate(self.algorithm)?;
        let refused = |bytes: &[u8]| self.keys.read(self.algorithm, bytes).is_err();
        for length in 0..private.len() {
            ensure!(refused(&private[..length]), "the first {length} bytes of a key were read as a key");
        }
        for length in [1, 32, 64, private.len()] {
            ensure!(refused(&vec![7; length]), "{length} times the byte 7 was read as a key");
        }
        for other in SigningAlgorithm::ALL {
            if needs_p256(other) != needs_p256(self.algorithm) {
                let private = self.keys.generate(other)?;
                ensure!(refused(&private), "a key for {other} was read");
            }
        }
        Ok(())
    }

    fn signatures_verify(&self) -> Result<(), Violation> {
        let (_, pair) = self.generated()?;
        let (_, other) = self.generated()?;
        let (public, other) = (pair.public_key(), other.public_key());
        // In about one signature of 128 by ECDSA, R or S begins with a byte 0, which must not be left out.
        for length in 0..256 {
            let message = vec![b'm'; length];
            ensure!(
                self.verifies(&public, &message, &pair.sign(&message)?),
                "the signature of a message of {length} bytes does not verify"
            );
        }
        let signature = pair.sign(b"message")?;
        ensure!(!self.verifies(&public, b"massage", &signature), "a signature verifies for another message");
        ensure!(!self.verifies(&other, b"message", &signature), "a signature verifies with another key");
        Ok(())
    }

    fn debug_hides_the_private_key(&self) -> Result<(), Violation> {
        // As many bytes are hardly shown by chance.
        const PART: usize = 8;
        let (private, pair) = self.generated()?;
        let shown = format!("{:?} {pair:?}", self.keys);
        let public = encoded(&pair.public_key());
        let is_public = |part: &[u8]| public.windows(PART).any(|of_public| of_public == part);
        for part in private.windows(PART).filter(|part| !is_public(part)) {
            let list = format!("{part:?}");
            let list = list.trim_matches(['[', ']']);
            for text in [list, &HEXLOWER.encode(part), &HEXUPPER.encode(part)] {
                ensure!(!shown.contains(text), "Debug shows bytes of the private key");
            }
        }
        Ok(())
    }

    fn generated(&self) -> Result<Generated, Violation> {
        let private = self.keys.generate(self.algorithm)?;
        let pair = self.keys.read(self.algorithm, &private)?;
        Ok((private, pair))
    }

    fn verifies(&self, public: &SigningPublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
        (self.verify)(public, message, signature)
    }
}

const fn needs_p256(algorithm: SigningAlgorithm) -> bool {
    matches!(algorithm, SigningAlgorithm::Es256)
}

const fn is_of_p256(public: &SigningPublicKey) -> bool {
    matches!(public, SigningPublicKey::P256 { .. })
}

/// A public key as a private key holds it, which may be shown: as a point (SEC 1, 2.3.3), or as RFC 8032 encodes it.
fn encoded(public: &SigningPublicKey) -> Vec<u8> {
    match public {
        SigningPublicKey::P256 { x, y } => [&[4_u8][..], x, y].concat(),
        SigningPublicKey::Ed25519(key) => key.to_vec(),
    }
}
