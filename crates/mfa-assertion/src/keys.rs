//! The public keys of an issuer.

use data_encoding::BASE64URL_NOPAD;
use ring::error::Unspecified;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::Refusal;
use crate::json::{Text, given, present, read};
use crate::jws::Algorithm;

/// The most bytes of a key set; a key has about 250.
const MAX_LENGTH: usize = 64 * 1024;

/// Bytes of a coordinate of P-256 (RFC 7518, 6.2.1.2), and of a public key of Ed25519 (RFC 8032, 5.1.5).
const COORDINATE: usize = 32;

/// The first byte of an uncompressed point (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A key set (RFC 7517, 5) of an issuer.
///
/// Only public keys with `use: "sig"` and a `kid` are kept that this crate can check signatures by: P-256 for
/// `ES256`, and Ed25519 for `EdDSA` and `Ed25519`. A key with `alg` checks signatures of that name only. Other keys
/// are ignored, and so are all usable keys that share a `kid`.
///
/// ```
/// use mfa_assertion::KeySet;
/// let keys = KeySet::from_json(
///     r#"{"keys": [{
///         "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "2027-01",
///         "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
///         "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
///     }]}"#,
/// )?;
/// assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["2027-01"]);
/// # Ok::<(), mfa_assertion::InvalidKeySet>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

/// The text is not a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidKeySet {
    /// It has more than 64 KiB.
    #[error("the key set has more than 64 KiB")]
    TooLong,
    /// It is not a JSON object with an array `keys`, or has a member twice.
    #[error("the text is not a JSON object with an array `keys`")]
    Malformed,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Jwk<'a> {
    #[serde(borrow)]
    kty: Text<'a>,
    #[serde(borrow)]
    kid: Text<'a>,
    #[serde(borrow, rename = "use")]
    purpose: Text<'a>,
    #[serde(borrow)]
    crv: Text<'a>,
    #[serde(borrow)]
    x: Text<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    y: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    alg: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    key_ops: Option<Vec<Text<'a>>>,
    /// Whether there is a private key: one that was published signs nothing that counts.
    #[serde(default, deserialize_with = "present")]
    d: bool,
}

/// A usable key, in the form that signatures are checked by.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    id: String,
    algorithms: &'static [Algorithm],
    public: UnparsedPublicKey<Vec<u8>>,
}

impl KeySet {
    /// Reads what an issuer publishes at `/.well-known/jwks.json`.
    ///
    /// # Errors
    /// If the text is not a key set. A key set without a usable key is none; see [`is_empty`](Self::is_empty).
    pub fn from_json(json: &str) -> Result<Self, InvalidKeySet> {
        if json.len() > MAX_LENGTH {
            return Err(InvalidKeySet::TooLong);
        }
        let set: Set<'_> = read(json.as_bytes()).ok_or(InvalidKeySet::Malformed)?;
        let usable: Vec<Key> = set.keys.iter().filter_map(|jwk| Key::from_jwk(jwk.get())).collect();
        let alone = |key: &&Key| usable.iter().filter(|other| other.id == key.id).count() == 1;
        Ok(Self(usable.iter().filter(alone).cloned().collect()))
    }

    /// Whether no key is usable, so that every assertion is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids (`kid`) of the usable keys, in the order of the set.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == kid)
    }
}

impl Key {
    fn from_jwk(json: &str) -> Option<Self> {
        let jwk: Jwk<'_> = read(json.as_bytes())?;
        let verifies = |operation: &Text<'_>| operation.as_str() == "verify";
        let verifies = jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(verifies));
        if jwk.d || jwk.purpose.as_str() != "sig" || !verifies {
            return None;
        }
        let (kty, crv, alg) = (jwk.kty.as_str(), jwk.crv.as_str(), jwk.alg.as_ref().map(Text::as_str));
        let (algorithms, public) = match (kty, crv) {
            ("EC", "P-256") => {
                let (x, y) = (coordinate(&jwk.x)?, coordinate(jwk.y.as_ref()?)?);
                let point = [[UNCOMPRESSED].as_slice(), &x, &y].concat();
                (of_p256(alg)?, UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point))
            }
            ("OKP", "Ed25519") => (of_ed25519(alg)?, UnparsedPublicKey::new(&ED25519, coordinate(&jwk.x)?)),
            _ => return None,
        };
        Some(Self { id: jwk.kid.into_owned(), algorithms, public })
    }

    /// Checks a signature.
    pub(crate) fn verify(&self, by: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        if !self.algorithms.contains(&by) {
            return Err(Refusal::KeyAlgorithm);
        }
        self.public.verify(message, signature).map_err(|Unspecified| Refusal::Signature)
    }
}

fn of_p256(alg: Option<&str>) -> Option<&'static [Algorithm]> {
    match alg {
        None | Some("ES256") => Some(&[Algorithm::Es256]),
        Some(_) => None,
    }
}

fn of_ed25519(alg: Option<&str>) -> Option<&'static [Algorithm]> {
    match alg {
        None => Some(&[Algorithm::EdDsa, Algorithm::Ed25519]),
        Some("EdDSA") => Some(&[Algorithm::EdDsa]),
        Some("Ed25519") => Some(&[Algorithm::Ed25519]),
        Some(_) => None,
    }
}

fn coordinate(text: &Text<'_>) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_str().as_bytes()).ok().filter(|bytes| bytes.len() == COORDINATE)
}
