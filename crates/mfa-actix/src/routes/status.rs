//! `GET /v1/users/{user}`

use actix_web::web::{Data, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::FactorAnswer;
use crate::caller::{AnyScope, Caller, User};
use crate::problem::{Problem, ProblemBody};
use crate::state::State;

/// What a user has.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserAnswer {
    /// The host's own id.
    user: String,
    /// Whether there is an active factor.
    enrolled: bool,
    /// The active factors, and those that can still be confirmed.
    factors: Vec<FactorAnswer>,
    backup_codes: BackupCodesAnswer,
    /// Until when no code is evaluated (RFC 3339), if the account is locked.
    locked_until: Option<String>,
    /// Whether factors must be bound anew.
    disabled: bool,
}

/// How many backup codes there are.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackupCodesAnswer {
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
    get, path = "/v1/users/{user}", tag = "users", security(("api_key" = [])),
    params(("user" = String, Path, description = "The host's own id of the user")),
    responses((status = 200, body = UserAnswer), (status = "default", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn status(
    _: Caller<AnyScope>,
    User(key): User,
    state: Data<State>,
) -> Result<Json<UserAnswer>, Problem> {
    let status = state.mfa.status(&key).await?;
    Ok(Json(UserAnswer {
        user: key.user.to_string(),
        enrolled: status.enrolled,
        factors: status.factors.iter().map(FactorAnswer::from).collect(),
        backup_codes: BackupCodesAnswer {
            remaining: status.backup_codes_remaining,
            total: status.backup_codes_total,
            low: status.backup_codes_low,
        },
        locked_until: status.locked_until.map(|until| until.to_string()),
        disabled: status.disabled,
    }))
}
