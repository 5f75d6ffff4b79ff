//! Parts of answers that several calls share.

use mfa_domain::mfa::{AcceptedPasskeys, PlainBackupCodes};
use mfa_domain::{Factor, FactorState, Passkey, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::problem::{Problem, ProblemCode};

/// A factor, without its secret.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Factor, example = json!({
    "id": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21", "kind": "totp", "label": "Work phone", "state": "active",
    "created_at": "2026-03-01T09:30:00.000Z", "last_used_at": "2026-03-02T08:15:27.000Z",
}))]
pub(crate) struct FactorAnswer {
    /// Id of the user. Only where the factor is the whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Id of the factor.
    id: String,
    /// Kind of factor: `totp`, `hotp`, `email` or `passkey`.
    kind: String,
    /// The user's name for the factor.
    label: String,
    /// `pending` until the first code or the new passkey confirms the factor, then `active`.
    state: String,
    /// Start of the enrolment (RFC 3339).
    #[schema(format = DateTime)]
    created_at: String,
    /// When a code or passkey of this factor was last accepted (RFC 3339); `null` if never.
    #[schema(format = DateTime, required)]
    last_used_at: Option<String>,
    /// Masked address that codes are sent to. Only for `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// End of the time to confirm a pending factor (RFC 3339). Only for pending factors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Time before which the factor accepts no code (RFC 3339), because it accepted one while a server's clock was
    /// ahead. Only in `GET /v1/users/{user}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    ahead_until: Option<String>,
    /// What is known of the passkey. Only for a confirmed `passkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    passkey: Option<PasskeyBody>,
}

/// A passkey, as its authenticator and browser described it.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Passkey)]
pub(crate) struct PasskeyBody {
    /// Id of the credential (base64url).
    credential_id: String,
    /// Model of the authenticator (AAGUID). Absent if the browser hides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    aaguid: Option<String>,
    /// How browsers reach the authenticator, such as `internal`, `hybrid` or `usb`. Empty if unknown.
    transports: Vec<String>,
    /// Whether it can be used without a user name. Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    discoverable: Option<bool>,
    /// Whether the user was verified by a PIN or a biometric when it was registered.
    user_verified: bool,
    /// Whether it can be on several devices. Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_eligible: Option<bool>,
    /// Whether it was backed up when it was last used.
    backed_up: bool,
    /// Signature counter; 0 if the authenticator has none.
    sign_count: u32,
    /// Format of the attestation statement; `none` without one.
    attestation: String,
    /// Whether the attestation leads to a trusted root.
    attested: bool,
}

/// The accepted passkeys of a user, for the signal methods of browsers.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct PasskeysBody {
    /// Id of the relying party.
    rp_id: String,
    /// The user as authenticators know them (base64url).
    user_id: String,
    /// Name of the account.
    name: String,
    /// Name of the person; that of the account if none was given.
    display_name: String,
    /// Ids of the active passkeys (base64url).
    accepted_credential_ids: Vec<String>,
}

/// Options for `navigator.credentials`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct WebauthnBody {
    /// The member `publicKey` of the options, with bytes in base64url (Web Authentication Level 3, 5.4 and 5.5).
    #[serde(rename = "publicKey")]
    #[schema(value_type = Object)]
    public_key: Box<RawValue>,
}

/// A drawback to know about. The call succeeded.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Warning {
    /// Stable name of the warning, for programs.
    pub(crate) code: String,
    /// Text for people.
    pub(crate) message: String,
}

impl From<&Factor> for FactorAnswer {
    fn from(factor: &Factor) -> Self {
        let (state, expires_at) = match factor.state {
            FactorState::Pending { expires_at, .. } => ("pending", Some(expires_at.to_string())),
            FactorState::Active => ("active", None),
            FactorState::Removed => ("removed", None),
        };
        Self {
            user: None,
            id: factor.id.to_string(),
            kind: factor.kind().as_str().to_owned(),
            label: factor.label.to_string(),
            state: state.to_owned(),
            created_at: factor.created_at.to_string(),
            last_used_at: factor.last_used_at.map(|at| at.to_string()),
            destination: factor.address().map(|address| address.destination.clone()),
            expires_at,
            ahead_until: None,
            passkey: factor.passkey().map(PasskeyBody::from),
        }
    }
}

impl From<&Passkey> for PasskeyBody {
    fn from(passkey: &Passkey) -> Self {
        let aaguid = passkey.aaguid;
        Self {
            credential_id: passkey.credential_id.to_string(),
            aaguid: (!aaguid.is_hidden()).then(|| aaguid.to_string()),
            transports: passkey.transports.clone(),
            discoverable: passkey.discoverable,
            user_verified: passkey.user_verified,
            backup_eligible: passkey.backup_eligible,
            backed_up: passkey.backed_up,
            sign_count: passkey.sign_count,
            attestation: passkey.attestation.format.clone(),
            attested: passkey.attestation.trusted,
        }
    }
}

impl From<&AcceptedPasskeys> for PasskeysBody {
    fn from(AcceptedPasskeys { rp_id, user, credential_ids }: &AcceptedPasskeys) -> Self {
        let display_name = if user.display_name.is_empty() { &user.name } else { &user.display_name };
        Self {
            rp_id: rp_id.clone(),
            user_id: user.handle.to_string(),
            name: user.name.clone(),
            display_name: display_name.clone(),
            accepted_credential_ids: credential_ids.iter().map(ToString::to_string).collect(),
        }
    }
}

impl WebauthnBody {
    /// The options as the domain made them.
    pub(crate) fn new(options: &str) -> Result<Self, Problem> {
        let public_key = RawValue::from_string(options.to_owned()).map_err(|_| ProblemCode::Internal)?;
        Ok(Self { public_key })
    }
}

impl FactorAnswer {
    /// The factor as the whole answer, with the id of its user.
    pub(crate) fn alone(user: &UserId, factor: &Factor) -> Self {
        Self { user: Some(user.as_str().to_owned()), ..Self::from(factor) }
    }

    pub(crate) fn ahead(self, until: Option<&Timestamp>) -> Self {
        Self { ahead_until: until.map(Timestamp::to_string), ..self }
    }
}

/// The backup codes as shown to the user: in groups of four characters.
pub(crate) fn shown(codes: &PlainBackupCodes) -> Vec<String> {
    codes.codes().iter().map(|code| code.to_display().to_string()).collect()
}
