//! The claims of an assertion, and its compact form.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use super::{ASSERTION_LIFETIME, ASSERTION_TYPE, ISSUED_BACK, SigningAlgorithm, encoded};
use crate::{AccountKey, Timestamp, Verification};

/// What an assertion says.
#[derive(Clone, Copy, Debug)]
pub struct AssertionClaims<'a> {
    /// `iss`: who says it.
    pub issuer: &'a str,
    /// `aud`: whom it is for.
    pub audience: &'a str,
    /// `tenant` and `sub`: who was verified.
    pub account: &'a AccountKey,
    /// `auth_time`, `amr`, `acr` and `factor`: how and when.
    pub verification: &'a Verification,
    /// `nonce`: the session of the host that it is bound to.
    pub nonce: Option<&'a Nonce>,
}

/// The host's value for one session, as the `nonce` of `OpenID` Connect (Core, 2): an assertion carries it, so that an assertion for
/// one session proves nothing in another. 1 to 255 visible ASCII characters.
///
/// Use a value that nobody can guess and that identifies the session, such as a hash of the session id; not the
/// session id itself, since hosts log assertions.
///
/// ```
/// use mfa_domain::signing::Nonce;
/// let nonce: Nonce = "f5x_8sBvWq3".parse()?;
/// assert_eq!(nonce.as_str(), "f5x_8sBvWq3");
/// assert!("two words".parse::<Nonce>().is_err());
/// # Ok::<(), mfa_domain::signing::InvalidNonce>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(String);

/// The text is not a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be 1 to 255 visible ASCII characters")]
pub struct InvalidNonce;

impl Nonce {
    /// The most characters.
    pub const MAX_LENGTH: usize = 255;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Nonce {
    type Err = InvalidNonce;

    fn from_str(text: &str) -> Result<Self, InvalidNonce> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        let valid = fits && text.bytes().all(|byte| byte.is_ascii_graphic());
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidNonce) }
    }
}

/// Shows nothing: a host may have used its session id.
impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
    auth_time: u64,
    amr: &'a [&'a str],
    acr: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<String>,
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

impl AssertionClaims<'_> {
    /// The first two parts of the compact form (RFC 7515, 7.1), which the signature is over. `jti` are random bytes.
    ///
    /// # Errors
    /// Never: all members are texts and numbers.
    pub(crate) fn signing_input(
        &self,
        algorithm: SigningAlgorithm,
        kid: &str,
        jti: [u8; 16],
        now: Timestamp,
    ) -> Result<String, serde_json::Error> {
        let Self { issuer, audience, account, verification, nonce } = self;
        let header = Header { alg: algorithm.as_str(), kid, typ: ASSERTION_TYPE };
        let payload = Payload {
            iss: issuer,
            aud: audience,
            sub: account.user.as_str(),
            iat: now.minus(ISSUED_BACK).unix_seconds(),
            exp: now.plus(ASSERTION_LIFETIME).unix_seconds(),
            jti: encoded(&jti),
            auth_time: verification.at.unix_seconds(),
            amr: verification.amr,
            acr: verification.assurance.as_str(),
            factor: verification.factor.map(|id| id.to_string()),
            tenant: account.tenant.as_str(),
            nonce: nonce.map(Nonce::as_str),
        };
        let part = |json: Vec<u8>| encoded(&json);
        Ok(format!("{}.{}", part(serde_json::to_vec(&header)?), part(serde_json::to_vec(&payload)?)))
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Assurance, FactorId, TenantId, UserId};

    #[test]
    fn an_assertion_says_who_was_verified_how_when_and_for_whom() {
        let account = AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap());
        let at = Timestamp::from_unix_millis(1_000_000_900);
        let factor = FactorId::fresh(at, &[1; 10]);
        let verification = Verification {
            at,
            factor: Some(factor),
            kind: "totp".to_owned(),
            amr: &["otp"],
            user_verified: false,
            phishing_resistant: false,
            assurance: Assurance::Medium,
        };
        let nonce = "n-1".parse().unwrap();
        let claims = AssertionClaims {
            issuer: "https://mfa.example.com",
            audience: "acme",
            account: &account,
            verification: &verification,
            nonce: Some(&nonce),
        };
        let signed = |claims: AssertionClaims<'_>| {
            let input = claims.signing_input(SigningAlgorithm::Es256, "k1", [0xff; 16], at).unwrap();
            let parts: Vec<Value> = input
                .split('.')
                .map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap())
                .map(|json| serde_json::from_slice(&json).unwrap())
                .collect();
            parts
        };
        let parts = signed(claims);
        assert_eq!(parts[0], json!({ "alg": "ES256", "kid": "k1", "typ": "mfa-assertion+jwt" }));
        assert_eq!(
            parts[1],
            json!({
                "iss": "https://mfa.example.com", "aud": "acme", "sub": "alice", "tenant": "acme",
                "iat": 999_995, "exp": 1_000_060, "auth_time": 1_000_000, "jti": "_____________________w",
                "amr": ["otp"], "acr": "medium", "factor": factor.to_string(), "nonce": "n-1",
            })
        );
        let by_code = Verification { factor: None, ..verification.clone() };
        let parts = signed(AssertionClaims { verification: &by_code, nonce: None, ..claims });
        assert_eq!((parts[1].get("factor"), parts[1].get("nonce")), (None, None));
    }

    #[test]
    fn a_nonce_is_visible_ascii_and_is_never_shown() {
        for valid in ["a", "~!\"\\{", &"n".repeat(255)] {
            assert_eq!(valid.parse::<Nonce>().unwrap().as_str(), valid);
        }
        for wrong in ["", " ", "a b", "a\n", "é", &"n".repeat(256)] {
            assert_eq!(wrong.parse::<Nonce>(), Err(InvalidNonce), "{wrong}");
        }
        assert_eq!(format!("{:?}", "secret".parse::<Nonce>()), "Ok(Nonce(..))");
    }
}
