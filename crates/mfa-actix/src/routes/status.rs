//! `GET /v1/users/{user}`

use actix_web::web::{Data, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::FactorAnswer;
use crate::caller::{Caller, User, UserSegment};
use crate::problem::Problem;
use crate::state::State;

/// What a user has.
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
    /// The host's own id.
    user: String,
    /// Whether there is an active factor.
    enrolled: bool,
    /// The active factors, and those that can still be confirmed.
    factors: Vec<FactorAnswer>,
    backup_codes: BackupCodesStatus,
    /// Until when no code is evaluated (RFC 3339), if the account is locked.
    #[schema(format = DateTime, required)]
    locked_until: Option<String>,
    /// Whether factors must be bound anew.
    disabled: bool,
    /// How many wrong codes in a row are evaluated before the account is locked or disabled; 100 stands for any larger number.
    /// For the host: no refusal tells it.
    #[schema(minimum = 0, maximum = 100)]
    attempts_left: u32,
}

/// How many backup codes there are.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackupCodesStatus {
    /// Not spent.
    remaining: usize,
    /// In the set.
    total: usize,
    /// Whether the user should be told to get new ones.
    low: bool,
}

/// What a user has
///
/// A user never seen is `enrolled: false`, not 404. Any scope will do.
#[utoipa::path(
    get, path = "/v1/users/{user}", tag = "users",
    operation_id = "show_user",
    params(UserSegment),
    responses((status = 200, description = "What the user has", body = UserAnswer)),
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
    }))
}
