//! The claims of an assertion (RFC 7519, 4), as they are written.

use serde::Deserialize;

use crate::json::{Text, given, read};
use crate::{Assertion, Refusal};

/// Times are integers: RFC 7519 also allows fractions, which no assertion has.
#[derive(Deserialize)]
pub(crate) struct Claims<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    pub(crate) iss: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    aud: Option<Audience<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    pub(crate) sub: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) tenant: Text<'a>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    #[serde(default, deserialize_with = "given")]
    pub(crate) nbf: Option<u64>,
    #[serde(borrow)]
    jti: Text<'a>,
    pub(crate) auth_time: u64,
    #[serde(borrow)]
    amr: Vec<Text<'a>>,
    #[serde(borrow)]
    acr: Text<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    factor: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    pub(crate) nonce: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(#[serde(borrow)] Text<'a>),
    Several(#[serde(borrow)] Vec<Text<'a>>),
}

impl<'a> Claims<'a> {
    /// Reads the claims of an assertion whose signature is right.
    pub(crate) fn from_json(json: &'a [u8]) -> Result<Self, Refusal> {
        read(json).ok_or(Refusal::Claims)
    }

    /// The audience, if it is the only one: an assertion for several hosts could be presented by one of them to
    /// another.
    pub(crate) fn audience(&self) -> Option<&str> {
        match self.aud.as_ref()? {
            Audience::One(one) => Some(one.as_str()),
            Audience::Several(several) => match several.as_slice() {
                [one] => Some(one.as_str()),
                _ => None,
            },
        }
    }

    /// What they say, once they were checked.
    pub(crate) fn into_assertion(self) -> Result<Assertion, Refusal> {
        if self.jti.as_str().is_empty() {
            return Err(Refusal::Claims);
        }
        Ok(Assertion {
            subject: self.sub.ok_or(Refusal::Subject)?.into_owned(),
            tenant: self.tenant.into_owned(),
            id: self.jti.into_owned(),
            issued_at: self.iat,
            expires_at: self.exp,
            auth_time: self.auth_time,
            methods: self.amr.into_iter().map(Text::into_owned).collect(),
            acr: self.acr.as_str().parse().map_err(|_| Refusal::Claims)?,
            factor: self.factor.map(Text::into_owned),
            nonce: self.nonce.map(Text::into_owned),
        })
    }
}
