//! All factors of an account as one JSON document.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Factor, StoredFactor, UnreadableFactor};
use crate::{Data, KeyId, Sealed};

/// A factor in the document. Its sealed secret is in base64. An unknown member is an error, since the next login
/// would drop it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    id: String,
    kind: String,
    label: String,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    created_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    data: Box<RawValue>,
}

impl StoredFactor {
    /// All factors of an account as one JSON array, for a store that keeps them as a document. It is plain text that
    /// operators may read.
    ///
    /// ```
    /// use mfa_domain::StoredFactor;
    /// assert_eq!(StoredFactor::to_document(&[])?, "[]");
    /// assert_eq!(StoredFactor::from_document("[]")?, []);
    /// # Ok::<(), mfa_domain::account::UnreadableFactor>(())
    /// ```
    ///
    /// # Errors
    /// [`UnreadableFactor`] if the [data](crate::Data) of a factor is not JSON.
    pub fn to_document(factors: &[Factor]) -> Result<String, UnreadableFactor> {
        let members = factors.iter().map(|factor| Member::of(Self::of(factor)));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        serde_json::to_string(&members).map_err(|_| UnreadableFactor { field: "data" })
    }

    /// The ids of the keys that seal the secrets of these factors. A store that keeps them beside the document need
    /// not read it to find secrets to reseal.
    #[must_use]
    pub fn sealed_with(factors: &[Factor]) -> BTreeSet<&KeyId> {
        factors.iter().filter_map(|factor| Some(&factor.sealed.as_ref()?.key)).collect()
    }

    /// Parses a document into its factors, in order.
    ///
    /// # Errors
    /// [`UnreadableFactor`] if another program changed the document.
    pub fn from_document(document: &str) -> Result<Vec<Factor>, UnreadableFactor> {
        let members: Vec<Member> =
            serde_json::from_str(document).map_err(|_| UnreadableFactor { field: "factors" })?;
        let factors: Vec<Factor> =
            members.into_iter().map(|member| member.read()?.read()).collect::<Result<_, _>>()?;
        let is_there_twice =
            |place: usize| factors[..place].iter().any(|factor| factor.id == factors[place].id);
        if (1..factors.len()).any(is_there_twice) {
            return Err(UnreadableFactor { field: "id" });
        }
        Ok(factors)
    }
}

impl Member {
    fn of(factor: StoredFactor) -> Result<Self, UnreadableFactor> {
        let (key, secret) = factor.sealed.map(|Sealed { key, bytes }| (key, bytes)).unzip();
        let data = RawValue::from_string(factor.data.as_str().to_owned());
        Ok(Self {
            id: factor.id,
            kind: factor.kind,
            label: factor.label,
            state: factor.state,
            expires_at: factor.expires_at,
            replaces: factor.replaces,
            created_at: factor.created_at,
            last_used_at: factor.last_used_at,
            key: key.map(|key: KeyId| key.to_string()),
            secret: secret.map(|bytes: Vec<u8>| BASE64.encode(&bytes)),
            data: data.map_err(|_| UnreadableFactor { field: "data" })?,
        })
    }

    fn read(self) -> Result<StoredFactor, UnreadableFactor> {
        let unreadable = UnreadableFactor { field: "secret" };
        let sealed = match (self.key, self.secret) {
            (Some(key), Some(secret)) => {
                let bytes = BASE64.decode(secret.as_bytes()).map_err(|_| unreadable)?;
                Some(Sealed { key: KeyId::new(key), bytes })
            }
            (None, None) => None,
            _ => return Err(unreadable),
        };
        Ok(StoredFactor {
            id: self.id,
            kind: self.kind,
            label: self.label,
            state: self.state,
            expires_at: self.expires_at,
            replaces: self.replaces,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            sealed,
            data: Data::new(Box::<str>::from(self.data)),
        })
    }
}

#[cfg(test)]
mod tests {
    use otp_core::{Hotp, Totp};

    use super::*;
    use crate::account::{Authenticator, FactorState, HotpDevice, TotpDevice};
    use crate::{FactorId, Label, Timestamp};

    fn factors() -> [Factor; 3] {
        let at = Timestamp::from_unix_millis;
        let id = |n| FactorId::fresh(at(1), &[n; 10]);
        let sealed = Sealed { key: KeyId::new("k1"), bytes: vec![0xff, 0, 7] };
        let phone = Factor {
            id: id(1),
            label: Label::new("\"Zoë's\" \\ phone").unwrap(),
            state: FactorState::Pending { expires_at: at(9), replaces: Some(id(2)) },
            created_at: at(1),
            last_used_at: None,
            sealed: Some(sealed),
            authenticator: Authenticator::Totp(TotpDevice::new(Totp::default())),
        };
        let token = HotpDevice { hotp: Hotp::default(), counter: u64::MAX };
        let token = Factor {
            id: id(2),
            state: FactorState::Active,
            last_used_at: Some(Timestamp::MAX),
            sealed: None,
            authenticator: Authenticator::Hotp(token),
            ..phone.clone()
        };
        let newer = StoredFactor {
            id: id(3).to_string(),
            kind: "dna_sample".to_owned(),
            data: Data::new(r#"{ "v":2, "b": [1.50, null], "a": "x" }"#),
            ..StoredFactor::of(&token)
        };
        [phone, token, newer.read().unwrap()]
    }

    #[test]
    fn factors_come_back_in_their_order_and_what_a_newer_version_wrote_byte_for_byte() {
        let document = StoredFactor::to_document(&factors()).unwrap();
        let read = StoredFactor::from_document(&document).unwrap();
        assert_eq!(read, factors());
        // `Data` compares JSON values, so compare the text too.
        assert_eq!(StoredFactor::to_document(&read).unwrap(), document);
        assert!(document.contains(r#""data":{ "v":2, "b": [1.50, null], "a": "x" }"#), "{document}");
        assert!(document.contains(r#""key":"k1","secret":"/wAH""#), "{document}");
        assert_eq!(StoredFactor::sealed_with(&read).into_iter().collect::<Vec<_>>(), [&KeyId::new("k1")]);
    }

    #[test]
    fn what_was_changed_past_the_program_is_named() {
        let document = StoredFactor::to_document(&factors()).unwrap();
        for (field, from, to) in [
            ("factors", "[", "{"),
            ("factors", "\"state\":\"active\",", ""),
            ("factors", "\"created_at\":1", "\"created_at\":-1"),
            ("factors", "\"label\"", "\"new\":1,\"label\""),
            ("secret", "/wAH", "?"),
            ("secret", "\"secret\":\"/wAH\",", ""),
            ("secret", "\"key\":\"k1\",", ""),
            ("state", "\"active\"", "\"asleep\""),
        ] {
            let changed = document.replacen(from, to, 1);
            assert_ne!(changed, document);
            assert_eq!(StoredFactor::from_document(&changed), Err(UnreadableFactor { field }), "{from}");
        }
        let [phone, ..] = factors();
        let twice = StoredFactor::to_document(&[phone.clone(), phone]).unwrap();
        assert_eq!(StoredFactor::from_document(&twice), Err(UnreadableFactor { field: "id" }));
    }
}
