//! Hash functions of the HMAC.

use core::fmt;
use core::str::FromStr;

/// The hash function of the HMAC: SHA-1 (RFC 4226), SHA-256 or SHA-512 (RFC 6238, section 1.2).
///
/// SHA-1 is the default because authenticator apps agree on nothing else; see
/// [`compatibility`](crate::uri::compatibility). Collisions of SHA-1 do not weaken HMAC (RFC 4226, appendix
/// B.2).
///
/// ```
/// use otp_core::Algorithm;
///
/// assert_eq!("sha-256".parse(), Ok(Algorithm::Sha256));
/// assert_eq!(Algorithm::Sha256.to_string(), "SHA256");
/// assert!("MD5".parse::<Algorithm>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// HMAC-SHA-1, 20 bytes of key by default.
    #[default]
    Sha1,
    /// HMAC-SHA-256, 32 bytes of key by default.
    Sha256,
    /// HMAC-SHA-512, 64 bytes of key by default.
    Sha512,
}

impl Algorithm {
    /// The name that `otpauth` URIs use: `SHA1`, `SHA256` or `SHA512`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Parses the names in any case, with or without the hyphen (`SHA256`, `sha-256`). Any other name is an
/// error: a default of SHA-1 would give codes that never match.
impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SPELLINGS: [(Algorithm, [&str; 2]); 3] = [
            (Algorithm::Sha1, ["SHA1", "SHA-1"]),
            (Algorithm::Sha256, ["SHA256", "SHA-256"]),
            (Algorithm::Sha512, ["SHA512", "SHA-512"]),
        ];
        SPELLINGS
            .iter()
            .find(|(_, names)| names.iter().any(|name| name.eq_ignore_ascii_case(text)))
            .map(|(algorithm, _)| *algorithm)
            .ok_or(UnknownAlgorithm)
    }
}

/// The name is not one of SHA1, SHA256 and SHA512.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown algorithm: expected SHA1, SHA256 or SHA512")]
pub struct UnknownAlgorithm;
