//! Public keys of credentials, as JSON Web Keys (RFC 7517, RFC 7518, RFC 8037).

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::PublicKey;
use mfa_domain::ports::{CredentialRefusal, WebauthnError};
use ring::agreement::{self, ECDH_P256, ECDH_P384, EphemeralPrivateKey, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use webauthn_rs_core::proto::{COSEAlgorithm, COSEKey, COSEKeyType, ECDSACurve};

/// The COSE algorithms of new credentials, the preferred one first: ES256, ES384, RS256. The library cannot register
/// others.
pub(crate) const OFFERED: [i64; 3] = [-7, -35, -257];

/// A public key that signatures can be checked by.
#[derive(Debug)]
pub(crate) enum VerifyingKey {
    /// ES256. An uncompressed point (SEC 1, 2.3.3), as for ES384.
    P256(Vec<u8>),
    /// ES384.
    P384(Vec<u8>),
    /// RS256.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// `EdDSA` with Ed25519.
    Ed25519(Vec<u8>),
}

#[derive(Default, Serialize, Deserialize)]
struct Jwk<'a> {
    kty: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crv: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<&'a str>,
    alg: &'a str,
}

/// The first byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

impl VerifyingKey {
    /// Reads the key of a stored passkey, or the decoy.
    pub(crate) fn stored(json: &str) -> Result<Self, WebauthnError> {
        Self::from_jwk(json)
            .map_err(|refusal| WebauthnError::new(format!("a stored public key cannot be used: {refusal}")))
    }

    /// Reads the key of a passkey of another system, and checks that a signature can be right by it.
    pub(crate) fn imported(json: &str) -> Result<Self, CredentialRefusal> {
        let key = Self::from_jwk(json)?;
        if key.is_usable() { Ok(key) } else { Err(CredentialRefusal::PublicKey) }
    }

    fn from_jwk(json: &str) -> Result<Self, CredentialRefusal> {
        let jwk: Jwk<'_> = serde_json::from_str(json).map_err(|_| CredentialRefusal::PublicKey)?;
        let key = match (jwk.alg, jwk.kty, jwk.crv) {
            ("ES256", "EC", Some("P-256")) => point(jwk.x, jwk.y, 32).map(Self::P256),
            ("ES384", "EC", Some("P-384")) => point(jwk.x, jwk.y, 48).map(Self::P384),
            ("RS256", "RSA", None) => decoded(jwk.n).zip(decoded(jwk.e)).map(|(n, e)| Self::Rsa { n, e }),
            ("EdDSA" | "Ed25519", "OKP", Some("Ed25519")) => decoded(jwk.x).map(Self::Ed25519),
            _ => return Err(CredentialRefusal::Algorithm),
        };
        key.ok_or(CredentialRefusal::PublicKey)
    }

    /// Whether a signature can be right by it. Every check by another one would fail, as if the signature were wrong.
    fn is_usable(&self) -> bool {
        match self {
            Self::P256(point) => is_on_curve(&ECDH_P256, point),
            Self::P384(point) => is_on_curve(&ECDH_P384, point),
            // As the check wants them: odd, without leading zeros, the modulus of 2,048 to 8,192 bits.
            Self::Rsa { n, e } => {
                let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
                let is_minimal = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
                let fit = (256..=1024).contains(&n.len()) && e.len() <= 4 && e.as_slice() != [1];
                fit && [n, e].into_iter().all(|number| is_odd(number) && is_minimal(number))
            }
            // A public key (RFC 8032, 5.1.5).
            Self::Ed25519(key) => key.len() == 32,
        }
    }

    /// Takes the key that the library read from a registration; `None` if it cannot be used.
    pub(crate) fn from_cose(key: &COSEKey) -> Option<Self> {
        match (&key.type_, &key.key) {
            (COSEAlgorithm::ES256, COSEKeyType::EC_EC2(key)) if key.curve == ECDSACurve::SECP256R1 => {
                uncompressed(&key.x, &key.y, 32).map(Self::P256)
            }
            (COSEAlgorithm::ES384, COSEKeyType::EC_EC2(key)) if key.curve == ECDSACurve::SECP384R1 => {
                uncompressed(&key.x, &key.y, 48).map(Self::P384)
            }
            (COSEAlgorithm::RS256, COSEKeyType::RSA(key)) => {
                Some(Self::Rsa { n: trimmed(&key.n), e: trimmed(&key.e) })
            }
            _ => None,
        }
    }

    /// The form in which the domain keeps it.
    pub(crate) fn to_jwk(&self) -> Result<PublicKey, WebauthnError> {
        let base64url = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let of_point = |crv, alg, point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            let (x, y) = (base64url(x), base64url(y));
            serde_json::to_string(&Jwk {
                kty: "EC",
                crv: Some(crv),
                x: Some(&x),
                y: Some(&y),
                alg,
                ..Jwk::default()
            })
        };
        let json = match self {
            Self::P256(point) => of_point("P-256", "ES256", point),
            Self::P384(point) => of_point("P-384", "ES384", point),
            Self::Rsa { n, e } => {
                let (n, e) = (base64url(n), base64url(e));
                serde_json::to_string(&Jwk {
                    kty: "RSA",
                    n: Some(&n),
                    e: Some(&e),
                    alg: "RS256",
                    ..Jwk::default()
                })
            }
            Self::Ed25519(key) => {
                let (x, crv) = (base64url(key), Some("Ed25519"));
                serde_json::to_string(&Jwk { kty: "OKP", crv, x: Some(&x), alg: "EdDSA", ..Jwk::default() })
            }
        };
        json.map(PublicKey::new).map_err(WebauthnError::new)
    }

    /// Whether the signature of the message is right.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let checked = match self {
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::P384(point) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point).verify(message, signature)
            }
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        checked.is_ok()
    }
}

/// Whether it is a point of this curve. An agreement with any other fails.
fn is_on_curve(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    let other = EphemeralPrivateKey::generate(curve, &SystemRandom::new());
    let point = agreement::UnparsedPublicKey::new(curve, point);
    other.is_ok_and(|other| agree_ephemeral(other, &point, |_| ()).is_ok())
}

fn point(x: Option<&str>, y: Option<&str>, size: usize) -> Option<Vec<u8>> {
    let (x, y) = decoded(x).zip(decoded(y))?;
    uncompressed(&x, &y, size)
}

/// A point with coordinates of `size` bytes.
fn uncompressed(x: &[u8], y: &[u8], size: usize) -> Option<Vec<u8>> {
    (x.len() == size && y.len() == size).then(|| [&[UNCOMPRESSED], x, y].concat())
}

fn decoded(base64url: Option<&str>) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(base64url?.as_bytes()).ok()
}

/// A number without leading zeros, as JSON Web Keys and `ring` want it.
fn trimmed(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}
