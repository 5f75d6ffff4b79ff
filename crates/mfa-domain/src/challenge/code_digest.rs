//! The stored form of a sent code.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::ChallengeData;
use crate::{KeyId, Sealed, SentCode};

/// The digest of a sent code. A code of ten digits can be found from it in seconds, so it is only stored sealed.
pub(crate) struct CodeDigest(Zeroizing<[u8; 32]>);

/// The sealed part of a challenge: the digest of its code, or the state of its ceremony.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeptSecret {
    /// Sealed for the challenge: the bytes of the [`CodeDigest`], or the state.
    pub(crate) sealed: Sealed,
    /// How many times the code was resent.
    pub(crate) resends: u32,
}

/// The sealed part of a challenge cannot be read by this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this version cannot read the sealed part of the challenge")]
pub(crate) struct UnreadableSecret;

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    v: u32,
    key: String,
    sealed: String,
    resends: u32,
}

impl CodeDigest {
    pub(crate) fn of(code: &SentCode) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"mfa sent code v1");
        hasher.update(code.as_str());
        Self(Zeroizing::new(hasher.finalize().into()))
    }

    /// The bytes to seal.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Whether `opened` is the digest of the same code. Compares in constant time.
    pub(crate) fn matches(&self, opened: &[u8]) -> bool {
        self.0.as_slice().ct_eq(opened).into()
    }
}

impl KeptSecret {
    const VERSION: u32 = 1;

    /// Makes the data of the challenge.
    pub(crate) fn to_data(&self) -> Result<ChallengeData, UnreadableSecret> {
        let Self { sealed, resends } = self;
        let form = Form {
            v: Self::VERSION,
            key: sealed.key.to_string(),
            sealed: BASE64URL_NOPAD.encode(&sealed.bytes),
            resends: *resends,
        };
        let json = serde_json::to_vec(&form).map_err(|_| UnreadableSecret)?;
        ChallengeData::new(json).map_err(|_| UnreadableSecret)
    }

    /// Parses the data of [`to_data`](Self::to_data).
    pub(crate) fn from_data(data: &ChallengeData) -> Result<Self, UnreadableSecret> {
        let form: Form = serde_json::from_slice(data.as_bytes()).map_err(|_| UnreadableSecret)?;
        let bytes = BASE64URL_NOPAD.decode(form.sealed.as_bytes()).map_err(|_| UnreadableSecret)?;
        if form.v != Self::VERSION {
            return Err(UnreadableSecret);
        }
        Ok(Self { sealed: Sealed { key: KeyId::new(form.key), bytes }, resends: form.resends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_matches_only_itself_whatever_number_of_digits_others_have() {
        let digest = |code: &str| CodeDigest::of(&SentCode::parse(code).unwrap());
        let sent = digest("00000007");
        for (other, same) in [
            ("00000007", true),
            ("0000 0007", true),
            ("00000008", false),
            ("000007", false),
            ("0000000007", false),
        ] {
            assert_eq!(digest(other).matches(sent.as_bytes()), same, "{other}");
        }
        assert!(!sent.matches(&[]));
    }

    #[test]
    fn what_is_kept_is_read_back_and_nothing_else() {
        let kept =
            KeptSecret { sealed: Sealed { key: KeyId::new("k1"), bytes: vec![0, 255, 7] }, resends: 3 };
        let data = kept.to_data().unwrap();
        assert_eq!(data.as_bytes(), br#"{"v":1,"key":"k1","sealed":"AP8H","resends":3}"#);
        assert_eq!(KeptSecret::from_data(&data), Ok(kept));
        for other in [
            "",
            "{}",
            r#"{"v":2,"key":"k1","sealed":"AP8H","resends":3}"#,
            r#"{"v":1,"key":"k1","sealed":"AP8H","resends":3,"more":1}"#,
            r#"{"v":1,"key":"k1","sealed":"AP8H","resends":-1}"#,
            r#"{"v":1,"key":"k1","sealed":"AP8H"}"#,
            r#"{"v":1,"key":"k1","sealed":"A","resends":3}"#,
        ] {
            let data = ChallengeData::new(other).unwrap();
            let read = KeptSecret::from_data(&data);
            assert!(read.is_err(), "{other}: {read:?}");
        }
    }
}
