//! Key pairs that sign assertions.

use std::fmt;
use std::sync::Arc;

use mfa_domain::ports::{EntropyError, KeyPair, SignerError, SigningKeys};
use mfa_domain::signing::{SigningAlgorithm, SigningPublicKey};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

/// Makes and reads the key pairs that sign assertions, by ring.
///
/// A private key is a PKCS #8 document (RFC 5958) that contains the public key: version 1 for P-256 (RFC 5915),
/// version 2 for Ed25519 (RFC 8410). A document whose public key does not belong to its private key is refused, so that
/// a damaged key never signs.
///
/// `EdDSA` and `Ed25519` are two names of one algorithm: a key of the one is a key of the other.
///
/// ```
/// use mfa_crypto::AssertionKeys;
/// use mfa_domain::ports::SigningKeys;
/// use mfa_domain::signing::SigningAlgorithm;
///
/// let private = AssertionKeys.generate(SigningAlgorithm::Es256)?;
/// let pair = AssertionKeys.read(SigningAlgorithm::Es256, &private)?;
/// let signature: [u8; 64] = pair.sign(b"what is signed")?;
/// assert_eq!(pair.public_key().to_jwk(SigningAlgorithm::Es256)["crv"], "P-256");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AssertionKeys;

/// A private key that was read. `Debug` shows only the id of its public key.
struct AssertionKey {
    private: PrivateKey,
    public: SigningPublicKey,
}

enum PrivateKey {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKeys for AssertionKeys {
    fn generate(&self, algorithm: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, EntropyError> {
        let random = random();
        let document = match algorithm {
            SigningAlgorithm::Es256 => {
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            }
            SigningAlgorithm::EdDsa | SigningAlgorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
        };
        let document = document.map_err(|_| EntropyError::new("no randomness for a signing key"))?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    fn read(&self, algorithm: SigningAlgorithm, private: &[u8]) -> Result<Arc<dyn KeyPair>, SignerError> {
        let key = match algorithm {
            SigningAlgorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private, &random())
                    .map(PrivateKey::P256)
            }
            SigningAlgorithm::EdDsa | SigningAlgorithm::Ed25519 => {
                Ed25519KeyPair::from_pkcs8(private).map(PrivateKey::Ed25519)
            }
        };
        let private = key.map_err(|reason| unreadable(algorithm, reason))?;
        let public = private.public_key().ok_or_else(|| SignerError::new("not an uncompressed point"))?;
        Ok(Arc::new(AssertionKey { private, public }))
    }
}

impl KeyPair for AssertionKey {
    fn public_key(&self) -> SigningPublicKey {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        let signature = match &self.private {
            PrivateKey::P256(key) => key
                .sign(&random(), message)
                .map_err(|_| SignerError::new("no randomness for a signature by ES256"))?,
            PrivateKey::Ed25519(key) => key.sign(message),
        };
        <[u8; 64]>::try_from(signature.as_ref()).map_err(SignerError::new)
    }
}

impl PrivateKey {
    fn public_key(&self) -> Option<SigningPublicKey> {
        match self {
            Self::P256(key) => point(key.public_key().as_ref()),
            Self::Ed25519(key) => key.public_key().as_ref().try_into().ok().map(SigningPublicKey::Ed25519),
        }
    }
}

/// The coordinates of an uncompressed point: 4, x, y (SEC 1, 2.3.3).
fn point(bytes: &[u8]) -> Option<SigningPublicKey> {
    let [4, coordinates @ ..] = bytes else { return None };
    let (x, y) = coordinates.split_first_chunk()?;
    Some(SigningPublicKey::P256 { x: *x, y: y.try_into().ok()? })
}

/// The generator of the operating system, as in [`SystemEntropy`](mfa_domain::ports::SystemEntropy). It does not enter
/// by the port `Entropy`, since ring takes no generator but its own: one that repeats itself could reveal the private
/// key of ECDSA through two signatures.
fn random() -> SystemRandom {
    SystemRandom::new()
}

/// The reason is one of a few words of ring, and never part of the key.
fn unreadable(algorithm: SigningAlgorithm, reason: KeyRejected) -> SignerError {
    SignerError::new(format!("the private key for {algorithm} cannot be read: {reason}"))
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AssertionKey").field(&self.public.id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use data_encoding::HEXLOWER_PERMISSIVE;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap()
    }

    fn reason(algorithm: SigningAlgorithm, private: &[u8]) -> String {
        AssertionKeys.read(algorithm, private).unwrap_err().source().unwrap().to_string()
    }

    /// RFC 8032, section 7.1, test 2, in the form of RFC 8410, section 10.3.
    #[test]
    fn the_published_vector_of_ed25519_is_signed_as_published() {
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let private = bytes(&format!(
            "3051020101300506032b657004220420\
             4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb812100{public}"
        ));
        let signature = bytes(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Ed25519] {
            let pair = AssertionKeys.read(algorithm, &private).unwrap();
            assert_eq!(pair.public_key(), SigningPublicKey::Ed25519(bytes(public).try_into().unwrap()));
            assert_eq!(pair.sign(&[0x72]).unwrap().as_slice(), signature);
        }
    }

    /// RFC 6979, appendix A.2.5: the key pair, in the form of RFC 5915.
    #[test]
    fn the_published_key_of_p256_is_read() {
        let (x, y) = (
            "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
            "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
        );
        let private = bytes(&format!(
            "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420\
             c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721a14403420004{x}{y}"
        ));
        let pair = AssertionKeys.read(SigningAlgorithm::Es256, &private).unwrap();
        let [x, y] = [x, y].map(|hex| bytes(hex).try_into().unwrap());
        assert_eq!(pair.public_key(), SigningPublicKey::P256 { x, y });
    }

    #[test]
    fn a_key_with_one_wrong_bit_is_refused() {
        for algorithm in SigningAlgorithm::ALL {
            let private = AssertionKeys.generate(algorithm).unwrap();
            assert!(AssertionKeys.read(algorithm, &private).is_ok());
            for place in 0..private.len() {
                let mut damaged = private.clone();
                damaged[place] ^= 1;
                assert!(AssertionKeys.read(algorithm, &damaged).is_err(), "{algorithm}, byte {place}");
            }
            assert!(AssertionKeys.read(algorithm, &[private.as_slice(), &[0]].concat()).is_err());
        }
    }

    #[test]
    fn an_error_names_the_reason_and_shows_nothing_of_the_key() {
        let p256 = AssertionKeys.generate(SigningAlgorithm::Es256).unwrap();
        assert_eq!(
            reason(SigningAlgorithm::EdDsa, &p256),
            "the private key for EdDSA cannot be read: WrongAlgorithm"
        );
        assert_eq!(
            reason(SigningAlgorithm::Es256, &p256[1..]),
            "the private key for ES256 cannot be read: InvalidEncoding"
        );
    }

    #[test]
    fn debug_shows_the_id_of_the_public_key_alone() {
        for algorithm in SigningAlgorithm::ALL {
            let private = AssertionKeys.generate(algorithm).unwrap();
            let pair = AssertionKeys.read(algorithm, &private).unwrap();
            assert_eq!(format!("{pair:?}"), format!("AssertionKey({:?})", pair.public_key().id()));
        }
    }

    #[test]
    fn only_an_uncompressed_point_has_coordinates() {
        let mut bytes = [7; 65];
        assert_eq!(point(&bytes), None, "an unknown form");
        bytes[0] = 4;
        assert_eq!(point(&bytes), Some(SigningPublicKey::P256 { x: [7; 32], y: [7; 32] }));
        for length in [0, 1, 33, 64] {
            assert_eq!(point(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(point(&[bytes.as_slice(), &[7]].concat()), None, "66 bytes");
    }
}
