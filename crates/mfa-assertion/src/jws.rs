//! The compact serialisation of a JSON Web Signature (RFC 7515, 7.1), and its header.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use crate::Refusal;
use crate::json::{Text, given, present, read};

/// Far more than an assertion has; the parts are decoded before the signature is checked.
const MAX_LENGTH: usize = 8 * 1024;

/// The `typ` of assertions. Media types are compared without regard to case and may have a prefix (RFC 7515, 4.1.9),
/// but our issuer writes exactly this.
const ASSERTION_TYPE: &str = "mfa-assertion+jwt";

/// The three parts, not decoded yet.
pub(crate) struct Jws<'a> {
    /// What the signature is over: header, dot, claims.
    pub(crate) signed: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

/// What a header says about the signature.
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: String,
}

/// An algorithm that assertions are signed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// ECDSA with P-256 and SHA-256 (RFC 7518, 3.4).
    Es256,
    /// Ed25519 under the name of RFC 8037.
    EdDsa,
    /// The same under the name of RFC 9864.
    Ed25519,
}

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow)]
    alg: Text<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    kid: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    typ: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

impl<'a> Jws<'a> {
    /// Divides the text.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_LENGTH {
            return Err(Refusal::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::NotCompact)?;
        match signed.split_once('.') {
            Some((header, claims)) if !claims.contains('.') => Ok(Self { signed, header, claims, signature }),
            _ => Err(Refusal::NotCompact),
        }
    }

    /// Reads the header. Nothing in it but `kid` chooses the key: `jwk`, `jku` and `x5u` are a forger's own (RFC
    /// 8725, 3.10).
    pub(crate) fn header(&self) -> Result<Header, Refusal> {
        let json = decoded(self.header)?;
        let parameters: Parameters<'_> = read(&json).ok_or(Refusal::Header)?;
        if parameters.crit {
            return Err(Refusal::Critical);
        }
        let algorithm = Algorithm::named(parameters.alg.as_str()).ok_or(Refusal::Algorithm)?;
        if parameters.typ.is_none_or(|typ| typ.as_str() != ASSERTION_TYPE) {
            return Err(Refusal::Type);
        }
        let kid = parameters.kid.ok_or(Refusal::UnknownKey)?.into_owned();
        Ok(Header { algorithm, kid })
    }

    /// Decodes the claims. Call it only after the signature was checked.
    pub(crate) fn claims(&self) -> Result<Vec<u8>, Refusal> {
        decoded(self.claims)
    }

    /// Decodes the signature.
    pub(crate) fn signature(&self) -> Result<Vec<u8>, Refusal> {
        decoded(self.signature)
    }
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            "Ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }
}

/// The encoding takes one text for given bytes only: it refuses bits at the end that belong to no byte.
fn decoded(part: &str) -> Result<Vec<u8>, Refusal> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Refusal::Encoding)
}
