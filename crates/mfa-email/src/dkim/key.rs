//! The key that signs mails.

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

/// A private key that mails are signed with: RSA with 2048, 3072 or 4096 bits, or Ed25519. `Debug` shows only which.
///
/// The library that signs keeps it as it is, so it is not wiped from memory.
pub struct DkimKey(Key);

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// What is no key to sign mails with. It shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidDkimKey {
    /// There is none, or it needs a password.
    #[error("no private key in PEM (PRIVATE KEY or RSA PRIVATE KEY, without a password)")]
    Pem,
    /// DKIM has no such signatures.
    #[error("the key is neither RSA nor Ed25519")]
    Algorithm,
    /// RFC 8301, 3.2 recommends 2048 bits or more, and every mail server can verify up to 4096.
    #[error("an RSA key must have 2048, 3072 or 4096 bits")]
    Strength,
    /// Its parts do not belong together.
    #[error("the key is damaged")]
    Damaged,
}

/// A mail could not be signed.
#[derive(Clone, Copy, Debug, Error)]
#[error("the mail could not be signed")]
pub(crate) struct Unsigned;

impl DkimKey {
    /// Takes a key from the content of a PEM file: RSA in PKCS#8 or PKCS#1, Ed25519 in PKCS#8.
    ///
    /// # Errors
    /// [`InvalidDkimKey`] says what is wrong with it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidDkimKey> {
        let mut der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| InvalidDkimKey::Pem)?;
        let key = Self::from_der(&der);
        der.zeroize();
        let key = key?;
        // Some of what can be wrong with it shows only now.
        key.sign(b"").map_err(|Unsigned| InvalidDkimKey::Damaged)?;
        Ok(key)
    }

    fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, InvalidDkimKey> {
        match der {
            PrivateKeyDer::Pkcs1(der) => rsa(RsaKeyPair::from_der(der.secret_pkcs1_der())),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                // The usual file of a key has no public half that could be compared.
                match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                    Ok(key) => Ok(Self(Key::Ed25519(Box::new(key)))),
                    Err(_) => rsa(RsaKeyPair::from_pkcs8(der)),
                }
            }
            _ => Err(InvalidDkimKey::Algorithm),
        }
    }

    /// What it is called in a record and, with `-sha256`, in a signature.
    pub(super) fn kind(&self) -> &'static str {
        match self.0 {
            Key::Rsa(_) => "rsa",
            Key::Ed25519(_) => "ed25519",
        }
    }

    /// The public key as a record has it: a `SubjectPublicKeyInfo` for RSA, which is what verifiers read, and the bare
    /// key for Ed25519 (RFC 8463, 4.2).
    pub(super) fn public(&self) -> Vec<u8> {
        match &self.0 {
            Key::Rsa(key) => public_key_info(key.public().as_ref()),
            Key::Ed25519(key) => key.public_key().as_ref().to_vec(),
        }
    }

    /// The signature under what is to be signed.
    pub(super) fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, Unsigned> {
        match &self.0 {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                // This padding takes no randomness.
                let random = SystemRandom::new();
                key.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).map_err(|_| Unsigned)?;
                Ok(signature)
            }
            // Of the hash, which is no mistake (RFC 8463, 3).
            Key::Ed25519(key) => Ok(key.sign(digest(&SHA256, signed).as_ref()).as_ref().to_vec()),
        }
    }
}

fn rsa(read: Result<RsaKeyPair, KeyRejected>) -> Result<DkimKey, InvalidDkimKey> {
    // The library has no other way to say why.
    let key = read.map_err(|why| match why.to_string().as_str() {
        "WrongAlgorithm" => InvalidDkimKey::Algorithm,
        "TooSmall" | "TooLarge" | "PrivateModulusLenNotMultipleOf512Bits" => InvalidDkimKey::Strength,
        _ => InvalidDkimKey::Damaged,
    })?;
    // It takes primes of 1024 bits whose product has 2047.
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

/// DER of a value with 256 to 65535 bytes, as all of a key with 2048 to 4096 bits have.
fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[tag, 0x82, high, low], content].concat()
}

impl fmt::Debug for DkimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DkimKey({})", self.kind())
    }
}
