//! Ed25519 signatures (RFC 8032), which anyone with the public key can verify.

use std::fmt;

use async_trait::async_trait;
use data_encoding::BASE32_NOPAD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{SECRET_KEY_LENGTH, Signer};
use mfa_domain::ports::{self, Entropy, EntropyError, Signature, SignatureVerifier, SignerError};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// A signing key.
///
/// It is wiped from memory on drop. `Debug` shows only its id. There is no `Clone` and no `Serialize`.
///
/// ```
/// use mfa_crypto::{PublicKey, SigningKey};
/// use mfa_domain::ports::SystemEntropy;
///
/// let key = SigningKey::generate(&SystemEntropy)?;
/// let signature = key.sign(b"what was signed");
///
/// let elsewhere = PublicKey::from_pem(&key.public_key().to_pem())?;
/// assert!(elsewhere.verify(b"what was signed", &signature));
/// assert!(!elsewhere.verify(b"something else", &signature));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SigningKey(ed25519_dalek::SigningKey);

/// The public key that verifies signatures of a [`SigningKey`]. It is not secret.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

/// The text is not such a key. The error never quotes the text, which may be a key in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not {0} for Ed25519 in PEM")]
pub struct NotAKey(&'static str);

impl SigningKey {
    /// Generates a key.
    ///
    /// # Errors
    /// [`EntropyError`] if no randomness is available.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut secret = Zeroizing::new([0; SECRET_KEY_LENGTH]);
        entropy.fill(secret.as_mut_slice())?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// Reads PKCS #8 (RFC 8410) in PEM, as [`SigningKey::to_pem`] or another program writes it.
    ///
    /// # Errors
    /// [`NotAKey`] if the text is anything else.
    pub fn from_pem(text: &str) -> Result<Self, NotAKey> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(text.trim());
        key.map(Self).map_err(|_| NotAKey("a private key"))
    }

    /// The key as text. Write it to a file that only its owner can read.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        // This fails only for keys that are not 32 bytes long.
        self.0.to_pkcs8_pem(LineEnding::LF).unwrap_or_default()
    }

    /// The public key, which verifies signatures of this key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a message; the same message always gives the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message).to_bytes()
    }
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` (RFC 8410) in PEM, as [`PublicKey::to_pem`] or another program writes
    /// it.
    ///
    /// # Errors
    /// [`NotAKey`] if the text is anything else, or a weak key with which forged signatures verify.
    pub fn from_pem(text: &str) -> Result<Self, NotAKey> {
        let key = ed25519_dalek::VerifyingKey::from_public_key_pem(text.trim());
        let key = key.map_err(|_| NotAKey("a public key"))?;
        if key.is_weak() { Err(NotAKey("a safe public key")) } else { Ok(Self(key)) }
    }

    /// The key as text.
    #[must_use]
    pub fn to_pem(&self) -> String {
        // This fails only for keys that are not 32 bytes long.
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// The fingerprint: `a` and 24 characters (120 bits) of SHA-256 over a domain label and the key.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::new()
            .chain_update(b"mfa-crypto signing key id v1")
            .chain_update(self.0.as_bytes())
            .finalize();
        format!("a{}", BASE32_NOPAD.encode(&digest[..15]).to_ascii_lowercase())
    }

    /// Whether `signature` is a signature of `message` by this key.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

#[async_trait]
impl ports::Signer for SigningKey {
    fn key_id(&self) -> String {
        self.public_key().id()
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        Ok(Self::sign(self, message))
    }
}

impl SignatureVerifier for PublicKey {
    fn key_id(&self) -> String {
        self.id()
    }

    fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        Self::verify(self, message, signature)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public_key().id()).finish()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE;
    use mfa_domain::ports::SystemEntropy;

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn the_published_vector_is_signed_as_published() {
        let secret = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey(ed25519_dalek::SigningKey::from_bytes(&secret));
        let public = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(key.public_key().0.to_bytes(), public);
        let signature = bytes(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert_eq!(key.sign(&[0x72]), signature);
        assert!(key.public_key().verify(&[0x72], &signature));
        assert!(!key.public_key().verify(&[0x73], &signature));
    }

    /// RFC 8410, section 10: keys that other programs write.
    #[test]
    fn the_published_pem_is_read() {
        let private = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
            -----END PUBLIC KEY-----\n";
        let key = SigningKey::from_pem(private).unwrap();
        assert_eq!(key.public_key(), PublicKey::from_pem(public).unwrap());
        assert_eq!(key.public_key().to_pem(), public);
        for wrong in ["", public, "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"] {
            assert!(SigningKey::from_pem(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", private, &public.replace("MCow", "MCox")] {
            assert!(PublicKey::from_pem(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_read_back_and_never_shown() {
        let key = SigningKey::generate(&SystemEntropy).unwrap();
        let read = SigningKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert_eq!(read.sign(b"x"), key.sign(b"x"));
        assert_eq!(format!("{key:?}"), format!("SigningKey({:?})", key.public_key().id()));
        let other = SigningKey::generate(&SystemEntropy).unwrap();
        assert_ne!(other.public_key().id(), key.public_key().id());
        assert!(!other.public_key().verify(b"x", &key.sign(b"x")));
    }

    /// With the point of order one as the key, one signature would be valid for every message.
    #[test]
    fn a_public_key_of_small_order_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let weak = PublicKey(ed25519_dalek::VerifyingKey::from_bytes(&identity).unwrap());
        assert_eq!(PublicKey::from_pem(&weak.to_pem()), Err(NotAKey("a safe public key")));
    }
}
