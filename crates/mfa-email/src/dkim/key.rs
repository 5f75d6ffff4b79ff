//! Private keys for DKIM.

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use zeroize::Zeroize;

/// A private key that signs mails: RSA with 2048, 3072 or 4096 bits, or Ed25519. `Debug` prints only the
/// algorithm.
///
/// The key is not wiped from memory on drop, because the signing library does not support it.
pub struct DkimKey(Key);

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A private key that cannot sign mails. The message shows nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidDkimKey {
    /// There is no private key, or it is encrypted.
    #[error("no unencrypted private key in PEM format (PRIVATE KEY or RSA PRIVATE KEY)")]
    Pem,
    /// DKIM does not define signatures with this algorithm.
    #[error("the key is neither RSA nor Ed25519")]
    Algorithm,
    /// RFC 8301, 3.2 recommends at least 2048 bits. Verifiers must support up to 4096 bits.
    #[error("an RSA key must have 2048, 3072 or 4096 bits")]
    Strength,
    /// The numbers of the key are inconsistent.
    #[error("the key is damaged")]
    Damaged,
}

/// A mail could not be signed.
#[derive(Clone, Copy, Debug, Error)]
#[error("the mail could not be signed")]
pub(crate) struct Unsigned;

impl DkimKey {
    /// Reads a key from the content of a PEM file: RSA in PKCS#8 or PKCS#1, Ed25519 in PKCS#8.
    ///
    /// # Errors
    /// [`InvalidDkimKey`] if it is not such a key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidDkimKey> {
        let mut der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| InvalidDkimKey::Pem)?;
        let key = Self::from_der(&der);
        der.zeroize();
        let key = key?;
        // Some defects of a key only show when it signs.
        key.sign(b"").map_err(|Unsigned| InvalidDkimKey::Damaged)?;
        Ok(key)
    }

    fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, InvalidDkimKey> {
        match der {
            PrivateKeyDer::Pkcs1(der) => rsa(RsaKeyPair::from_der(der.secret_pkcs1_der())),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                // Most key files contain no public half to compare with.
                match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                    Ok(key) => Ok(Self(Key::Ed25519(Box::new(key)))),
                    Err(_) => rsa(RsaKeyPair::from_pkcs8(der)),
                }
            }
            _ => Err(InvalidDkimKey::Algorithm),
        }
    }

    /// The algorithm as DNS records name it; with `-sha256` appended, as signatures name it.
    pub(super) fn kind(&self) -> &'static str {
        match self.0 {
            Key::Rsa(_) => "rsa",
            Key::Ed25519(_) => "ed25519",
        }
    }

    /// The public key as DNS records hold it: for RSA a `SubjectPublicKeyInfo`, which verifiers read; for
    /// Ed25519 the bare key (RFC 8463, 4.2).
    pub(super) fn public(&self) -> Vec<u8> {
        match &self.0 {
            Key::Rsa(key) => public_key_info(key.public().as_ref()),
            Key::Ed25519(key) => key.public_key().as_ref().to_vec(),
        }
    }

    /// Signs `signed`.
    pub(super) fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, Unsigned> {
        match &self.0 {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                // PKCS#1 v1.5 padding uses no randomness.
                let random = SystemRandom::new();
                key.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).map_err(|_| Unsigned)?;
                Ok(signature)
            }
            // Ed25519 signs the SHA-256 hash, not the text (RFC 8463, 3).
            Key::Ed25519(key) => Ok(key.sign(digest(&SHA256, signed).as_ref()).as_ref().to_vec()),
        }
    }
}

fn rsa(read: Result<RsaKeyPair, KeyRejected>) -> Result<DkimKey, InvalidDkimKey> {
    // The library reports the reason only as text.
    let key = read.map_err(|why| match why.to_string().as_str() {
        "WrongAlgorithm" => InvalidDkimKey::Algorithm,
        "TooSmall" | "TooLarge" | "PrivateModulusLenNotMultipleOf512Bits" => InvalidDkimKey::Strength,
        _ => InvalidDkimKey::Damaged,
    })?;
    // The library accepts primes of 1024 bits whose product has 2047 bits.
    let modulus = PublicKeyComponents::<Vec<u8>>::from(key.public()).n;
    if modulus.len() < 256 || (modulus.len() == 256 && modulus[0] < 0x80) {
        return Err(InvalidDkimKey::Strength);
    }
    Ok(DkimKey(Key::Rsa(Box::new(key))))
}

/// A `SubjectPublicKeyInfo` in DER around an `RSAPublicKey` (RFC 3279, 2.3.1).
fn public_key_info(key: &[u8]) -> Vec<u8> {
    const RSA_ENCRYPTION: [u8; 15] = *b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    // No bit of the last byte is unused.
    let bits = wrap(BIT_STRING, &[&[0], key].concat());
    wrap(SEQUENCE, &[&RSA_ENCRYPTION, bits.as_slice()].concat())
}

/// Encodes a value of 256 to 65535 bytes in DER. Every part of a key with 2048 to 4096 bits has such a
/// length.
fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[tag, 0x82, high, low], content].concat()
}

impl fmt::Debug for DkimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DkimKey({})", self.kind())
    }
}
