//! What several calls answer with.

use mfa_domain::mfa::PlainBackupCodes;
use mfa_domain::{Factor, FactorState, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A factor. It never holds the secret.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Factor, example = json!({
    "id": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21", "kind": "totp", "label": "Work phone", "state": "active",
    "created_at": "2026-03-01T09:30:00.000Z", "last_used_at": "2026-03-02T08:15:27.000Z",
}))]
pub(crate) struct FactorAnswer {
    /// Whose it is, where the factor is the whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Its id.
    id: String,
    /// `totp`, `hotp` or `email`.
    kind: String,
    /// What the user calls it.
    label: String,
    /// `pending` until a first code confirms it, then `active`.
    state: String,
    /// When its enrolment began (RFC 3339).
    #[schema(format = DateTime)]
    created_at: String,
    /// When a code of it was last accepted (RFC 3339).
    #[schema(format = DateTime, required)]
    last_used_at: Option<String>,
    /// Where its codes are sent, masked, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// Until when a pending factor can be confirmed (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// In the answer about a user: before when no code is accepted (RFC 3339), since one was while a clock was ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    ahead_until: Option<String>,
}

/// Something that works, but not well.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Warning {
    /// A stable name for programs.
    pub(crate) code: String,
    /// A sentence for people.
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
    /// The factor as the whole answer.
    pub(crate) fn alone(user: &UserId, factor: &Factor) -> Self {
        Self { user: Some(user.as_str().to_owned()), ..Self::from(factor) }
    }

    pub(crate) fn ahead(self, until: Option<&Timestamp>) -> Self {
        Self { ahead_until: until.map(Timestamp::to_string), ..self }
    }
}

/// Backup codes as they are shown, in groups of four.
pub(crate) fn shown(codes: &PlainBackupCodes) -> Vec<String> {
    codes.codes().iter().map(|code| code.to_display().to_string()).collect()
}
