//! Passkeys as factors.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::account::data::PasskeyUserData;
use crate::passkey::{Aaguid, Attestation, CredentialId, Passkey, PasskeyUser, UserHandle};
use crate::{ChallengeId, Handle};

/// A passkey, or the place for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasskeyDevice {
    /// The browser has been asked to create it.
    Offered(PasskeyOffer),
    /// It is registered.
    Registered(Box<Passkey>),
}

/// What the browser has been asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyOffer {
    /// The challenge that the new credential answers.
    pub first: ChallengeId,
    /// Whether the user chose the label. Otherwise the factor is named after the authenticator.
    pub named: bool,
    /// The user in the options. The account takes over the names when the passkey is registered.
    pub user: PasskeyUser,
}

impl PasskeyDevice {
    /// The credential; `None` while it is only offered.
    #[must_use]
    pub fn passkey(&self) -> Option<&Passkey> {
        match self {
            Self::Registered(passkey) => Some(passkey),
            Self::Offered(_) => None,
        }
    }
}

/// The stored form, as [`Data`](crate::Data).
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum PasskeyData {
    Offered(OfferedData),
    Registered(RegisteredData),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferedData {
    v: u32,
    first: String,
    named: bool,
    user: PasskeyUserData,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisteredData {
    v: u32,
    /// The handle of the credential id. Versions that do not know passkeys release it when the factor is removed.
    handles: [String; 1],
    user_handle: String,
    rp_id: String,
    #[serde(default, skip_serializing_if = "super::stored::is_usual")]
    sign_count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aaguid: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    transports: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    discoverable: Option<bool>,
    user_verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup_eligible: Option<bool>,
    #[serde(default, skip_serializing_if = "super::stored::is_usual")]
    backed_up: bool,
    attestation: AttestationData,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttestationData {
    format: String,
    trusted: bool,
}

impl PasskeyData {
    pub(super) const VERSION: u32 = 1;

    pub(super) fn of(device: &PasskeyDevice) -> Self {
        match device {
            PasskeyDevice::Offered(PasskeyOffer { first, named, user }) => Self::Offered(OfferedData {
                v: Self::VERSION,
                first: first.to_string(),
                named: *named,
                user: PasskeyUserData::of(user),
            }),
            PasskeyDevice::Registered(passkey) => Self::Registered(RegisteredData::of(passkey)),
        }
    }

    pub(super) fn read(json: &str) -> Option<PasskeyDevice> {
        if let Ok(OfferedData { first, named, user, .. }) = serde_json::from_str(json) {
            let (first, user) = (first.parse().ok()?, user.read()?);
            return Some(PasskeyDevice::Offered(PasskeyOffer { first, named, user }));
        }
        let data: RegisteredData = serde_json::from_str(json).ok()?;
        Some(PasskeyDevice::Registered(Box::new(data.read()?)))
    }
}

impl RegisteredData {
    fn of(passkey: &Passkey) -> Self {
        let Passkey { credential_id, user_handle, aaguid, attestation, .. } = passkey;
        Self {
            v: PasskeyData::VERSION,
            handles: [BASE64URL_NOPAD.encode(credential_id.handle().as_bytes())],
            user_handle: user_handle.to_string(),
            rp_id: passkey.rp_id.clone(),
            sign_count: passkey.sign_count,
            aaguid: (!aaguid.is_hidden()).then(|| aaguid.to_string()),
            transports: passkey.transports.clone(),
            discoverable: passkey.discoverable,
            user_verified: passkey.user_verified,
            backup_eligible: passkey.backup_eligible,
            backed_up: passkey.backed_up,
            attestation: AttestationData { format: attestation.format.clone(), trusted: attestation.trusted },
        }
    }

    fn read(self) -> Option<Passkey> {
        let bytes = |text: &String| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let handle = Handle::from_bytes(&bytes(&self.handles[0])?).ok()?;
        let aaguid = self.aaguid.map_or(Some(Aaguid::default()), |text| text.parse().ok())?;
        Some(Passkey {
            credential_id: CredentialId::from_handle(&handle)?,
            user_handle: UserHandle::new(bytes(&self.user_handle)?).ok()?,
            rp_id: self.rp_id,
            sign_count: self.sign_count,
            aaguid,
            transports: self.transports,
            discoverable: self.discoverable,
            user_verified: self.user_verified,
            backup_eligible: self.backup_eligible,
            backed_up: self.backed_up,
            attestation: Attestation { format: self.attestation.format, trusted: self.attestation.trusted },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passkey() -> Passkey {
        Passkey {
            credential_id: CredentialId::new([7; 16]).unwrap(),
            user_handle: UserHandle::new([8; 32]).unwrap(),
            rp_id: "example.com".to_owned(),
            sign_count: 0,
            aaguid: Aaguid::default(),
            transports: Vec::new(),
            discoverable: None,
            user_verified: true,
            backup_eligible: None,
            backed_up: false,
            attestation: Attestation { format: "none".to_owned(), trusted: false },
        }
    }

    #[test]
    fn passkeys_come_back() {
        let full = Passkey {
            sign_count: u32::MAX,
            aaguid: Aaguid([0xab; 16]),
            transports: vec!["hybrid".to_owned(), "internal".to_owned()],
            discoverable: Some(false),
            backup_eligible: Some(true),
            backed_up: true,
            ..passkey()
        };
        let user = PasskeyUser {
            handle: UserHandle::new([0xff; 64]).unwrap(),
            name: "eve@example.com".to_owned(),
            display_name: String::new(),
        };
        let offer = PasskeyOffer { first: ChallengeId::from_entropy([1; 16]), named: true, user };
        for device in [
            PasskeyDevice::Offered(offer),
            PasskeyDevice::Registered(Box::new(passkey())),
            PasskeyDevice::Registered(Box::new(full)),
        ] {
            let json = serde_json::to_string(&PasskeyData::of(&device)).unwrap();
            assert_eq!(PasskeyData::read(&json), Some(device), "{json}");
        }
    }

    #[test]
    fn what_another_program_changed_is_not_read() {
        let json = serde_json::to_string(&PasskeyData::of(&PasskeyDevice::Registered(Box::new(passkey()))));
        let json = json.unwrap();
        for (from, to) in [
            ("\"user_handle\":\"", "\"user_handle\":\"?"),
            ("\"handles\":[\"", "\"handles\":[\"AA"),
            ("\"v\":1", "\"v\":1,\"new\":2"),
            ("\"user_verified\":true,", ""),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json);
            assert_eq!(PasskeyData::read(&changed), None, "{changed}");
        }
    }
}
