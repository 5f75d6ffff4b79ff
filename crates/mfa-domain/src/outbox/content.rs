//! The sealed content of a message.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Address, FactorId, FactorKind, Purpose, SentCode};

/// A code and its recipient, to be written.
pub(crate) struct Content<'a> {
    pub(crate) kind: FactorKind,
    pub(crate) factor: FactorId,
    pub(crate) purpose: Purpose,
    pub(crate) to: &'a Address,
    pub(crate) code: &'a SentCode,
}

/// A code and its recipient, as read.
pub(crate) struct OpenContent {
    pub(crate) kind: FactorKind,
    pub(crate) factor: FactorId,
    pub(crate) purpose: Purpose,
    pub(crate) to: Address,
    pub(crate) code: SentCode,
}

/// The format version that this version writes and reads.
const VERSION: u32 = 1;

/// The content of a message cannot be read by this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this version cannot read the content of the message")]
pub(crate) struct UnreadableContent;

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    v: u32,
    kind: String,
    factor: String,
    purpose: String,
    to: Zeroizing<String>,
    code: Zeroizing<String>,
}

impl Content<'_> {
    /// The bytes to seal.
    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, UnreadableContent> {
        let Self { kind, factor, purpose, to, code } = self;
        let form = Form {
            v: VERSION,
            kind: kind.as_str().to_owned(),
            factor: factor.to_string(),
            purpose: purpose.as_str().to_owned(),
            to: Zeroizing::new(to.expose().to_owned()),
            code: Zeroizing::new(code.as_str().to_owned()),
        };
        // Large enough to never be reallocated, which would leave a copy of the content in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        serde_json::to_writer(&mut *bytes, &form).map_err(|_| UnreadableContent)?;
        Ok(bytes)
    }
}

impl OpenContent {
    /// Parses the bytes of [`Content::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, UnreadableContent> {
        let form: Form = serde_json::from_slice(bytes).map_err(|_| UnreadableContent)?;
        if form.v != VERSION {
            return Err(UnreadableContent);
        }
        Ok(Self {
            kind: FactorKind::from_name(&form.kind),
            factor: form.factor.parse().map_err(|_| UnreadableContent)?,
            purpose: form.purpose.parse().map_err(|_| UnreadableContent)?,
            to: Address::new(&form.to).map_err(|_| UnreadableContent)?,
            code: SentCode::parse(&form.code).map_err(|_| UnreadableContent)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn it_is_read_back_and_nothing_else_is() {
        let to = &Address::new("\"e\\\"v\"@example.com").unwrap();
        let code = &SentCode::parse("00123456").unwrap();
        let factor = FactorId::fresh(Timestamp::default(), &[1; 10]);
        let content = Content { kind: FactorKind::Email, factor, purpose: Purpose::Enrol, to, code };
        let bytes = content.to_bytes().unwrap();
        let read = OpenContent::from_bytes(&bytes).unwrap();
        assert_eq!((read.kind, read.factor, read.purpose), (FactorKind::Email, factor, Purpose::Enrol));
        assert_eq!((read.to.expose(), read.code.as_str()), (to.expose(), code.as_str()));
        let text = str::from_utf8(&bytes).unwrap();
        for (old, new) in [("\"v\":1", "\"v\":2"), ("00123456", "1"), ("enrol", "enrole"), ("{", "{\"x\":1,")]
        {
            let other = text.replacen(old, new, 1);
            assert_ne!(other, text);
            assert!(OpenContent::from_bytes(other.as_bytes()).is_err(), "{other}");
        }
    }
}
