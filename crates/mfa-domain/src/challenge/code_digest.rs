//! A code that was sent, as its challenge keeps it.

use data_encoding::BASE64URL_NOPAD;
use otp_core::{Code, Digits};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::ChallengeData;
use crate::{KeyId, Sealed};

/// The digest of a code that was sent. A code of eight digits is found from it in a blink, so it is only kept sealed.
pub(crate) struct CodeDigest(Zeroizing<[u8; 32]>);

/// A challenge that holds no code that this version can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the challenge holds no code that this version can read")]
pub(crate) struct UnreadableCode;

/// What a challenge keeps, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    v: u32,
    key: String,
    sealed: String,
}

impl CodeDigest {
    const VERSION: u32 = 1;

    pub(crate) fn of(code: &Code) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"mfa sent code v1");
        hasher.update(code.as_str());
        Self(Zeroizing::new(hasher.finalize().into()))
    }

    /// What is sealed.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Whether `opened` is the digest of the same code, in constant time.
    pub(crate) fn matches(&self, opened: &[u8]) -> bool {
        self.0.as_slice().ct_eq(opened).into()
    }

    /// The form in which a challenge keeps a sealed code.
    pub(crate) fn keep(sealed: &Sealed) -> Result<ChallengeData, UnreadableCode> {
        let kept = Kept {
            v: Self::VERSION,
            key: sealed.key.to_string(),
            sealed: BASE64URL_NOPAD.encode(&sealed.bytes),
        };
        let json = serde_json::to_vec(&kept).map_err(|_| UnreadableCode)?;
        ChallengeData::new(json).map_err(|_| UnreadableCode)
    }

    /// Reads what [`keep`](Self::keep) wrote.
    pub(crate) fn kept(data: &ChallengeData) -> Result<Sealed, UnreadableCode> {
        let kept: Kept = serde_json::from_slice(data.as_bytes()).map_err(|_| UnreadableCode)?;
        let bytes = BASE64URL_NOPAD.decode(kept.sealed.as_bytes()).map_err(|_| UnreadableCode)?;
        let sealed = Sealed { key: KeyId::new(kept.key), bytes };
        if kept.v == Self::VERSION { Ok(sealed) } else { Err(UnreadableCode) }
    }
}

/// The code that 64 fresh random bits give. No code is more likely than another by more than one in 10^11.
pub(crate) fn code_from_entropy(mut random: u64, digits: Digits) -> Option<Code> {
    let width = usize::from(digits.value());
    random %= 10_u64.pow(u32::from(digits.value()));
    let text = Zeroizing::new(format!("{random:0width$}"));
    random.zeroize();
    Code::parse(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_keeps_its_leading_zeros_and_matches_only_itself() {
        let code = |number: u64, digits| code_from_entropy(number, digits).unwrap();
        assert_eq!(code(7, Digits::EIGHT).as_str(), "00000007");
        assert_eq!(code(1_000_042, Digits::SIX).as_str(), "000042");
        let sent = CodeDigest::of(&code(7, Digits::EIGHT));
        for (other, same) in [
            (code(7, Digits::EIGHT), true),
            (code(8, Digits::EIGHT), false),
            (code(7, Digits::SIX), false),
            (code(100_000_007, Digits::EIGHT), true),
        ] {
            assert_eq!(CodeDigest::of(&other).matches(sent.as_bytes()), same, "{}", other.as_str());
        }
        assert!(!sent.matches(&[]));
    }

    #[test]
    fn what_is_kept_is_read_back_and_nothing_else() {
        let sealed = Sealed { key: KeyId::new("k1"), bytes: vec![0, 255, 7] };
        let kept = CodeDigest::keep(&sealed).unwrap();
        assert_eq!(CodeDigest::kept(&kept), Ok(sealed));
        for other in [
            "",
            "{}",
            r#"{"v":2,"key":"k1","sealed":"AP8H"}"#,
            r#"{"v":1,"key":"k1","sealed":"AP8H","more":1}"#,
            r#"{"v":1,"key":"k1","sealed":"A"}"#,
        ] {
            let data = ChallengeData::new(other).unwrap();
            let read = CodeDigest::kept(&data);
            assert!(read.is_err(), "{other}: {read:?}");
        }
    }
}
