//! `GET /v1/users/{user}`

use actix_web::web::{Data, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{FactorAnswer, PasskeysBody};
use crate::caller::{Caller, User, UserSegment};
use crate::problem::Problem;
use crate::state::State;

/// The factors and state of a user.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user": "alice@example.com",
    "enrolled": true,
    "factors": [{
        "id": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21", "kind": "totp", "label": "Work phone", "state": "active",
        "created_at": "2026-03-01T09:30:00.000Z", "last_used_at": "2026-03-02T08:15:27.000Z",
    }],
    "backup_codes": { "remaining": 9, "total": 10, "low": false },
    "locked_until": null,
    "disabled": false,
    "attempts_left": 5,
}))]
pub(crate) struct UserAnswer {
    /// Id of the user.
    user: String,
    /// Whether the user has an active factor.
    enrolled: bool,
    /// Active factors, and pending ones that have not expired.
    factors: Vec<FactorAnswer>,
    backup_codes: BackupCodesStatus,
    /// End of the lock (RFC 3339): no code is checked before. `null` if the user is not locked.
    #[schema(format = DateTime, required)]
    locked_until: Option<String>,
    /// Whether the factors are disabled after too many wrong codes in a row. An operator must reset the user.
    disabled: bool,
    /// Number of wrong codes in a row until the user is locked or disabled; 100 means 100 or more. No other call
    /// shows it.
    #[schema(minimum = 0, maximum = 100)]
    attempts_left: u32,
    /// The accepted passkeys, to pass to the signal methods of the browser after a change. Absent if no passkey was
    /// ever registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    passkeys: Option<PasskeysBody>,
}

/// Number of backup codes.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackupCodesStatus {
    /// Unused backup codes.
    remaining: usize,
    /// All backup codes of the set, used or not.
    total: usize,
    /// Whether to tell the user to get new backup codes.
    low: bool,
}

/// Show a user
///
/// Shows the factors, backup codes and lock of a user. For an unknown user, the answer is 200 with `enrolled: false`.
/// An API key with any scope can call it.
#[utoipa::path(
    get, path = "/v1/users/{user}", tag = "users",
    operation_id = "show_user",
    params(UserSegment),
    responses((status = 200, description = "The factors and state of the user", body = UserAnswer)),
)]
pub(crate) async fn status(
    _: Caller,
    User(key): User,
    state: Data<State>,
) -> Result<Json<UserAnswer>, Problem> {
    let status = state.mfa.status(&key).await?;
    let factors = status.factors.iter();
    let factors = factors.map(|factor| FactorAnswer::from(factor).ahead(status.ahead.get(&factor.id)));
    Ok(Json(UserAnswer {
        user: key.user.as_str().to_owned(),
        enrolled: status.enrolled,
        factors: factors.collect(),
        backup_codes: BackupCodesStatus {
            remaining: status.backup_codes_remaining,
            total: status.backup_codes_total,
            low: status.backup_codes_low,
        },
        locked_until: status.locked_until.map(|until| until.to_string()),
        disabled: status.disabled,
        attempts_left: status.attempts_left,
        passkeys: status.passkeys.as_ref().map(PasskeysBody::from),
    }))
}
