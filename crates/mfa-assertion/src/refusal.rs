//! Why an assertion is refused.

use thiserror::Error;

/// Why an assertion is refused. The text names the reason and quotes nothing of the assertion, so it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It has more than 8 KiB.
    #[error("the assertion has more than 8 KiB")]
    TooLong,
    /// It does not have the three parts of the compact serialisation (RFC 7515, 7.1).
    #[error("the assertion is not a JWS in the compact serialisation")]
    NotCompact,
    /// A part is not base64url without padding, or not the only such text for its bytes: white space, padding, bits
    /// that belong to no byte.
    #[error("a part of the assertion is not canonical base64url without padding")]
    Encoding,
    /// The header is not a JSON object with a text as `alg`, or has a member twice (RFC 7515, 4).
    #[error("the header of the assertion cannot be read")]
    Header,
    /// The header has `crit` (RFC 7515, 4.1.11): this crate knows no extension.
    #[error("the assertion demands an extension that is not supported")]
    Critical,
    /// `alg` is none of `ES256`, `EdDSA` and `Ed25519`; `none` and `HS256` belong here (RFC 8725, 3.1).
    #[error("the assertion is signed by an algorithm that is not supported")]
    Algorithm,
    /// `typ` is not exactly `mfa-assertion+jwt` (RFC 8725, 3.11): another token of the same issuer.
    #[error("the token is not an assertion of a verification")]
    Type,
    /// The header has no `kid`, or none that names exactly one usable key of the set.
    #[error("the assertion is signed by a key that is not in the key set")]
    UnknownKey,
    /// `alg` is not the algorithm of the key.
    #[error("the assertion is signed by another algorithm than its key is for")]
    KeyAlgorithm,
    /// The signature is wrong.
    #[error("the signature of the assertion is wrong")]
    Signature,
    /// The claims are no JSON object, have a member twice, lack a required one, or have one of a wrong type.
    #[error("the claims of the assertion cannot be read")]
    Claims,
    /// `iss` is not the expected issuer, or is missing.
    #[error("the assertion is from another issuer")]
    Issuer,
    /// `aud` is not the expected audience alone, or is missing.
    #[error("the assertion is for another audience")]
    Audience,
    /// `tenant` is not the expected tenant.
    #[error("the assertion is about a user of another tenant")]
    Tenant,
    /// `sub` is not the expected user, or is missing.
    #[error("the assertion is about another user")]
    Subject,
    /// A session was expected, and `nonce` is another one or missing.
    #[error("the assertion is bound to another session or to none")]
    Nonce,
    /// No session was expected, and there is a `nonce`. So a host that forgets to check it notices.
    #[error("the assertion is bound to a session, and none is expected")]
    NonceUnexpected,
    /// An assertion that a session has kept was to be verified without the nonce of that session.
    #[error("a kept assertion needs the nonce of its session")]
    NonceRequired,
    /// `exp` has passed (RFC 7519, 4.1.4).
    #[error("the assertion has expired")]
    Expired,
    /// `nbf` has not come (RFC 7519, 4.1.5).
    #[error("the assertion is not valid yet")]
    NotYetValid,
    /// `iat` or `auth_time` lies ahead of the clock.
    #[error("the assertion is dated ahead of the clock")]
    DatedAhead,
}
