//! Parts of answers that several calls share.

use mfa_domain::mfa::PlainBackupCodes;
use mfa_domain::{Factor, FactorState, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Kind of factor: `totp`, `hotp` or `email`.
    kind: String,
    /// The user's name for the factor.
    label: String,
    /// `pending` until the first code confirms the factor, then `active`.
    state: String,
    /// Start of the enrolment (RFC 3339).
    #[schema(format = DateTime)]
    created_at: String,
    /// When a code of this factor was last accepted (RFC 3339); `null` if never.
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
        }
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
