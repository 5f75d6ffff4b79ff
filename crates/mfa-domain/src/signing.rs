//! Signed assertions: what the server says about a verification, so that a host need not trust a response body.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;

mod claims;

pub use claims::{AssertionClaims, InvalidNonce, Nonce};

/// The `typ` of the header of an assertion (RFC 8725, 3.11), so that no other JWT of the same issuer is taken for one.
pub const ASSERTION_TYPE: &str = "mfa-assertion+jwt";

/// How long an assertion may be presented after it was signed.
pub const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);

/// How far `iat` lies back, since hosts whose clock is a little behind refuse an `iat` that is ahead of them.
pub(crate) const ISSUED_BACK: Duration = Duration::from_secs(5);

/// How long a new key is published before it signs, unless there is no other. Hosts that keep the key set for less
/// than this, with a few minutes to spare, never meet a key that they do not know.
pub const PUBLISHED_BEFORE: Duration = Duration::from_mins(10);

/// How long a key stays published after the next one began to sign: far longer than an assertion lives.
pub const PUBLISHED_AFTER: Duration = Duration::from_hours(1);

/// An algorithm of JSON Web Signatures (RFC 7515).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// `ES256`: ECDSA with P-256 and SHA-256 (RFC 7518, 3.4). Every library of hosts knows it.
    #[default]
    Es256,
    /// `EdDSA`: Ed25519 under the name of RFC 8037, which most libraries know.
    EdDsa,
    /// `Ed25519`: the same under the name of RFC 9864, which some libraries demand and others do not know.
    Ed25519,
}

/// The public half of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningPublicKey {
    /// A point of P-256.
    P256 {
        /// The x coordinate, big-endian.
        x: [u8; 32],
        /// The y coordinate, big-endian.
        y: [u8; 32],
    },
    /// An Ed25519 public key (RFC 8032, 5.1.5).
    Ed25519([u8; 32]),
}

/// The name is not an algorithm that signs assertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be ES256, EdDSA or Ed25519")]
pub struct UnknownAlgorithm;

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Ed25519];

    /// The name in headers and key sets.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }
}

impl FromStr for SigningAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name).ok_or(UnknownAlgorithm)
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SigningPublicKey {
    /// The key id: the thumbprint of the key (RFC 7638, with SHA-256; RFC 8037, 2), in unpadded base64url.
    #[must_use]
    pub fn id(&self) -> String {
        // The required members in lexicographic order, without white space (RFC 7638, 3.2).
        let canonical = match self {
            Self::P256 { x, y } => {
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, encoded(x), encoded(y))
            }
            Self::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encoded(x)),
        };
        encoded(&Sha256::digest(canonical))
    }

    /// The public JSON Web Key (RFC 7517) for signatures by `algorithm`. It has no `key_ops`, which some libraries
    /// compare with what they do themselves.
    #[must_use]
    pub fn to_jwk(&self, algorithm: SigningAlgorithm) -> Value {
        let (kid, alg) = (self.id(), algorithm.as_str());
        match self {
            Self::P256 { x, y } => json!({
                "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y), "kid": kid, "alg": alg, "use": "sig",
            }),
            Self::Ed25519(x) => json!({
                "kty": "OKP", "crv": "Ed25519", "x": encoded(x), "kid": kid, "alg": alg, "use": "sig",
            }),
        }
    }
}

fn encoded(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> [u8; 32] {
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 8037, appendix A.3.
    #[test]
    fn the_published_thumbprint_is_the_id() {
        let key = SigningPublicKey::Ed25519(decoded("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
        assert_eq!(key.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_public_key_is_published_in_the_form_that_strict_and_lenient_libraries_take() {
        // The key of RFC 7517, appendix A.1.
        let key = SigningPublicKey::P256 {
            x: decoded("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"),
            y: decoded("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"),
        };
        assert_eq!(
            key.to_jwk(SigningAlgorithm::Es256),
            json!({
                "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key.id(),
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            })
        );
        let other = SigningPublicKey::Ed25519([7; 32]);
        assert_eq!(other.to_jwk(SigningAlgorithm::Ed25519)["alg"], "Ed25519");
        assert_eq!(other.to_jwk(SigningAlgorithm::EdDsa)["alg"], "EdDSA");
    }

    #[test]
    fn algorithms_are_read_back_by_name_and_no_other_name_is_read() {
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        for name in ["", "none", "HS256", "es256", "RS256"] {
            assert_eq!(name.parse::<SigningAlgorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}
