//! The form in which stores keep factors. Only this file and `document.rs` read and write it.

use data_encoding::BASE64URL_NOPAD;
use otp_core::{Algorithm, Digits};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::address::AddressData;
use super::hotp::HotpData;
use super::passkey::PasskeyData;
use super::signing_key::SigningKeyData;
use super::totp::TotpData;
use super::{Authenticator, Factor, FactorKind, FactorState, UnknownAuthenticator};
use crate::{Data, FactorId, Handle, Label, Sealed, Timestamp};

/// A factor as a store keeps it: everything a store needs to list, index and reseal it, independent of its kind. All
/// fields are plain text, numbers and bytes. A store may keep all factors of an account as one text:
/// [`StoredFactor::to_document`].
///
/// A kind that this version does not know, or whose data a newer version wrote, is read as [`Authenticator::Unknown`]
/// and written back unchanged.
///
/// ```
/// # use mfa_domain::{Authenticator, HotpDevice, Factor, FactorId, FactorState, Label, Timestamp, otp_core::Hotp};
/// use mfa_domain::StoredFactor;
/// # let factor = Factor {
/// #     id: FactorId::fresh(Timestamp::default(), &[0; 10]),
/// #     label: Label::new("Token")?,
/// #     state: FactorState::Active,
/// #     created_at: Timestamp::default(),
/// #     last_used_at: None,
/// #     sealed: None,
/// #     authenticator: Authenticator::Hotp(HotpDevice { hotp: Hotp::default(), counter: 7 }),
/// # };
/// let stored = StoredFactor::of(&factor);
/// assert_eq!(stored.kind, "hotp");
/// assert_eq!(stored.data.as_str(), r#"{"v":1,"counter":7}"#);
/// assert_eq!(stored.read()?, factor);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFactor {
    /// The id as text; unique within the account.
    pub id: String,
    /// The stable name of the kind.
    pub kind: String,
    /// The user's name for the factor.
    pub label: String,
    /// `pending`, `active` or `removed`.
    pub state: String,
    /// When a pending factor expires, in milliseconds since 1970-01-01T00:00:00Z.
    pub expires_at: Option<u64>,
    /// The id of the factor that a pending factor replaces.
    pub replaces: Option<String>,
    /// When its enrolment began, in milliseconds since 1970-01-01T00:00:00Z.
    pub created_at: u64,
    /// When it was last used, in milliseconds since 1970-01-01T00:00:00Z.
    pub last_used_at: Option<u64>,
    /// Its sealed secret, if it has one. A store finds the factors of a key by `sealed.key`.
    pub sealed: Option<Sealed>,
    /// Parameters and progress of its kind.
    pub data: Data,
}

/// A field of a [`StoredFactor`], or a whole document, that no version of the domain has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the stored factors cannot be read ({field})")]
pub struct UnreadableFactor {
    /// The name of the field; `factors` if the whole document is unreadable.
    pub field: &'static str,
}

impl StoredFactor {
    /// Makes the stored form of `factor`.
    #[must_use]
    pub fn of(factor: &Factor) -> Self {
        let (state, expires_at, replaces) = match &factor.state {
            FactorState::Pending { expires_at, replaces } => ("pending", Some(*expires_at), *replaces),
            FactorState::Active => ("active", None, None),
            FactorState::Removed => ("removed", None, None),
        };
        let data = match &factor.authenticator {
            Authenticator::Totp(device) => written(&TotpData::of(device)),
            Authenticator::Hotp(device) => written(&HotpData::of(device)),
            Authenticator::Email(device) => written(&AddressData::of(device)),
            Authenticator::Passkey(device) => written(&PasskeyData::of(device)),
            Authenticator::SigningKey(device) => written(&SigningKeyData::of(device)),
            Authenticator::Unknown(unknown) => unknown.data.clone(),
        };
        Self {
            id: factor.id.to_string(),
            kind: factor.kind().as_str().to_owned(),
            label: factor.label.to_string(),
            state: state.to_owned(),
            expires_at: expires_at.map(Timestamp::unix_millis),
            replaces: replaces.as_ref().map(FactorId::to_string),
            created_at: factor.created_at.unix_millis(),
            last_used_at: factor.last_used_at.map(Timestamp::unix_millis),
            sealed: factor.sealed.clone(),
            data,
        }
    }

    /// Parses the factor.
    ///
    /// # Errors
    /// [`UnreadableFactor`] if another program changed a field.
    pub fn read(self) -> Result<Factor, UnreadableFactor> {
        let unreadable = |field| UnreadableFactor { field };
        let state = match self.state.as_str() {
            "active" => FactorState::Active,
            "removed" => FactorState::Removed,
            "pending" => FactorState::Pending {
                expires_at: self.expires_at.and_then(time).ok_or(unreadable("expires_at"))?,
                replaces: match self.replaces {
                    Some(id) => Some(id.parse().map_err(|_| unreadable("replaces"))?),
                    None => None,
                },
            },
            _ => return Err(unreadable("state")),
        };
        let last_used_at = match self.last_used_at {
            Some(at) => Some(time(at).ok_or(unreadable("last_used_at"))?),
            None => None,
        };
        Ok(Factor {
            id: self.id.parse().map_err(|_| unreadable("id"))?,
            label: Label::new(&self.label).map_err(|_| unreadable("label"))?,
            state,
            created_at: time(self.created_at).ok_or(unreadable("created_at"))?,
            last_used_at,
            authenticator: authenticator(&self.kind, self.data).ok_or(unreadable("data"))?,
            sealed: self.sealed,
        })
    }
}

/// The members that the data of every kind have.
#[derive(Deserialize)]
struct Common {
    v: u32,
    /// The handles of the factor, in base64url.
    #[serde(default)]
    handles: Vec<String>,
}

fn authenticator(kind: &str, data: Data) -> Option<Authenticator> {
    let common: Common = serde_json::from_str(data.as_str()).ok()?;
    match (FactorKind::from_name(kind), common.v) {
        (FactorKind::Totp, TotpData::VERSION) => {
            let data: TotpData = serde_json::from_str(data.as_str()).ok()?;
            Some(Authenticator::Totp(data.read()?))
        }
        (FactorKind::Hotp, HotpData::VERSION) => {
            let data: HotpData = serde_json::from_str(data.as_str()).ok()?;
            Some(Authenticator::Hotp(data.read()?))
        }
        (FactorKind::Email, AddressData::VERSION) => {
            let data: AddressData = serde_json::from_str(data.as_str()).ok()?;
            Some(Authenticator::Email(data.read()?))
        }
        (FactorKind::Passkey, PasskeyData::VERSION) => {
            Some(Authenticator::Passkey(PasskeyData::read(data.as_str())?))
        }
        (FactorKind::SigningKey, SigningKeyData::VERSION) => {
            let data: SigningKeyData = serde_json::from_str(data.as_str()).ok()?;
            Some(Authenticator::SigningKey(data.read()?))
        }
        (kind, _) => {
            let handle =
                |text: &String| Handle::from_bytes(&BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok();
            let handles = common.handles.iter().map(handle).collect::<Option<_>>()?;
            Some(Authenticator::Unknown(UnknownAuthenticator { kind, data, handles }))
        }
    }
}

fn written(data: &impl Serialize) -> Data {
    // Only numbers and texts, so this cannot fail; an empty text would be unreadable.
    Data::new(serde_json::to_string(data).unwrap_or_default())
}

/// A time; `None` beyond [`Timestamp::MAX`], which is never written.
fn time(millis: u64) -> Option<Timestamp> {
    let time = Timestamp::from_unix_millis(millis);
    (time.unix_millis() == millis).then_some(time)
}

pub(super) fn algorithm() -> String {
    Algorithm::default().name().to_owned()
}

pub(super) fn is_usual_algorithm(name: &str) -> bool {
    name == Algorithm::default().name()
}

pub(super) fn digits() -> u8 {
    Digits::default().value()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
pub(super) fn is_usual_digits(value: &u8) -> bool {
    *value == digits()
}

pub(super) fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use otp_core::{Hotp, Period, Totp};

    use super::*;
    use crate::KeyId;
    use crate::account::{Drift, HotpDevice, TotpDevice};

    fn factor(authenticator: Authenticator) -> Factor {
        Factor {
            id: FactorId::fresh(Timestamp::default(), &[1; 10]),
            label: Label::new("Token").unwrap(),
            state: FactorState::Active,
            created_at: Timestamp::from_unix_millis(1),
            last_used_at: Some(Timestamp::MAX),
            sealed: Some(Sealed { key: KeyId::new("k1"), bytes: vec![1, 2, 3] }),
            authenticator,
        }
    }

    #[test]
    fn what_is_usual_takes_no_room_and_everything_else_comes_back() {
        let usual = Authenticator::Totp(TotpDevice::new(Totp::default()));
        let rare = Authenticator::Totp(TotpDevice {
            totp: Totp::new(Algorithm::Sha512, Digits::EIGHT, Period::new(60).unwrap()).with_t0(9),
            last_step: Some(u64::MAX),
            drift: Drift { steps: i16::MIN, leaning: i8::MAX },
        });
        let token = HotpDevice { hotp: Hotp::new(Algorithm::Sha256, Digits::SEVEN), counter: u64::MAX };
        for (authenticator, data) in [
            (usual, r#"{"v":1}"#),
            (
                rare,
                r#"{"v":1,"algorithm":"SHA512","digits":8,"period":60,"t0":9,"last_step":18446744073709551615,"drift":-32768,"leaning":127}"#,
            ),
            (
                Authenticator::Hotp(token),
                r#"{"v":1,"algorithm":"SHA256","digits":7,"counter":18446744073709551615}"#,
            ),
        ] {
            let factor = factor(authenticator);
            let stored = StoredFactor::of(&factor);
            assert_eq!(stored.data.as_str(), data);
            assert_eq!(stored.read(), Ok(factor));
        }
    }

    #[test]
    fn a_field_that_cannot_be_read_is_named() {
        let stored = StoredFactor::of(&factor(Authenticator::Totp(TotpDevice::new(Totp::default()))));
        let pending = || StoredFactor { state: "pending".to_owned(), ..stored.clone() };
        let changed: [(&str, StoredFactor); 7] = [
            ("id", StoredFactor { id: "alice".to_owned(), ..stored.clone() }),
            ("label", StoredFactor { label: String::new(), ..stored.clone() }),
            ("state", StoredFactor { state: "revoked".to_owned(), ..stored.clone() }),
            ("expires_at", pending()),
            ("replaces", StoredFactor { expires_at: Some(0), replaces: Some("x".to_owned()), ..pending() }),
            ("created_at", StoredFactor { created_at: u64::MAX, ..stored.clone() }),
            ("last_used_at", StoredFactor { last_used_at: Some(u64::MAX), ..stored.clone() }),
        ];
        for (field, stored) in changed {
            assert_eq!(stored.read(), Err(UnreadableFactor { field }));
        }
        for data in [
            "",
            "no JSON",
            "[]",
            "{}",
            r#"{"v":-1}"#,
            r#"{"v":1,"counter":1}"#,
            r#"{"v":1,"algorithm":"MD5"}"#,
            r#"{"v":1,"digits":9}"#,
            r#"{"v":1,"digits":262}"#,
            r#"{"v":1,"period":0}"#,
            r#"{"v":1,"t0":-1}"#,
            r#"{"v":1,"drift":32768}"#,
            r#"{"v":1,"leaning":128}"#,
            r#"{"v":1,"last_step":-1}"#,
        ] {
            let stored = StoredFactor { data: Data::new(data), ..stored.clone() };
            assert_eq!(stored.read(), Err(UnreadableFactor { field: "data" }), "{data}");
        }
    }

    #[test]
    fn what_a_newer_version_wrote_is_unknown_and_comes_back_byte_for_byte() {
        let known = StoredFactor::of(&factor(Authenticator::Totp(TotpDevice::new(Totp::default()))));
        for (kind, data) in [
            ("totp", r#"{ "v": 2, "new": [1.50, {"a": null}] }"#),
            ("passkey", r#"{"v":2,"handles":["Y3JlZGVudGlhbDoB"]}"#),
            ("", r#"{"v":1}"#),
        ] {
            let stored = StoredFactor { kind: kind.to_owned(), data: Data::new(data), ..known.clone() };
            let factor = stored.clone().read().unwrap();
            assert!(matches!(factor.authenticator, Authenticator::Unknown(_)), "{factor:?}");
            assert!(factor.is_active() && factor.digits().is_none());
            let written = StoredFactor::of(&factor);
            assert_eq!((written.data.as_str(), &written), (data, &stored));
            let handles =
                if kind == "passkey" { vec![Handle::new("credential", &[1]).unwrap()] } else { vec![] };
            assert_eq!(factor.handles(), handles);
        }
        let wrong = Data::new(r#"{"v":2,"handles":["?"]}"#);
        let wrong = StoredFactor { kind: "passkey".to_owned(), data: wrong, ..known };
        assert_eq!(wrong.read(), Err(UnreadableFactor { field: "data" }));
    }
}
