//! The crate `jsonwebtoken`, as a host in Rust may use it. Ring checks its signatures: of its own back ends, one is
//! several times slower and the other needs a C compiler.

use std::collections::HashMap;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, signature};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

/// Checks assertions of one issuer for one audience.
#[derive(Debug)]
pub struct JsonWebToken {
    keys: HashMap<String, DecodingKey>,
    validation: Validation,
}

/// What an assertion says.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "they are named after the claims")]
pub struct Claims {
    pub sub: String,
    pub tenant: String,
    pub jti: String,
    pub iat: u64,
    pub exp: u64,
    pub auth_time: u64,
    pub amr: Vec<String>,
    pub acr: String,
    pub factor: Option<String>,
    pub nonce: Option<String>,
}

impl JsonWebToken {
    /// Reads a key set (RFC 7517). `algorithm` is `ES256` or `EdDSA`.
    #[must_use]
    pub fn new(key_set: &str, algorithm: &str, issuer: &str, audience: &str) -> Self {
        // It fails only if it was done before.
        let _ = PROVIDER.install_default();
        let set: JwkSet = serde_json::from_str(key_set).expect("a key set");
        let keys = set.keys.iter().map(|jwk| {
            let id = jwk.common.key_id.clone().expect("a kid");
            (id, DecodingKey::from_jwk(jwk).expect("a key"))
        });
        let mut validation = Validation::new(algorithm.parse().expect("an algorithm that the crate knows"));
        validation.leeway = 5;
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self { keys: keys.collect(), validation }
    }

    /// Checks an assertion about a user in a session.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, assertion: &str, subject: &str, nonce: &str) -> Result<Claims, String> {
        let header = decode_header(assertion).map_err(|error| error.to_string())?;
        let key = header.kid.as_deref().and_then(|kid| self.key(kid)).ok_or("an unknown key")?;
        self.verify_by(key, assertion, subject, nonce)
    }

    /// As [`verify`](Self::verify), with the key that signed it.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_by(
        &self,
        key: &DecodingKey,
        assertion: &str,
        subject: &str,
        nonce: &str,
    ) -> Result<Claims, String> {
        let decoded =
            decode::<Claims>(assertion, key, &self.validation).map_err(|error| error.to_string())?;
        let (header, claims) = (decoded.header, decoded.claims);
        if header.typ.as_deref() != Some("mfa-assertion+jwt") {
            Err("another type".to_owned())
        } else if claims.sub != subject {
            Err("another user".to_owned())
        } else if claims.nonce.as_deref() != Some(nonce) {
            Err("another session".to_owned())
        } else {
            Ok(claims)
        }
    }

    /// The key with this id.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&DecodingKey> {
        self.keys.get(kid)
    }
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: by_ring,
    key_utils: KeyUtils::new_unimplemented(),
};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as jsonwebtoken calls it")]
fn by_ring(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let ring: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::EdDSA => &ED25519,
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(ByRing { algorithm: *algorithm, ring, key: key.clone() }))
}

struct ByRing {
    algorithm: Algorithm,
    ring: &'static dyn VerificationAlgorithm,
    key: DecodingKey,
}

impl signature::Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let key = self.key.try_get_as_bytes().map_err(|_| signature::Error::new())?;
        let key = UnparsedPublicKey::new(self.ring, key);
        key.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
