//! `POST /v1/users/{user}/backup-codes`

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::shown;
use crate::body::NoBody;
use crate::caller::{Caller, Enrol, User};
use crate::problem::{Problem, ProblemBody};
use crate::state::State;

/// Backup codes, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackupCodesAnswer {
    /// In groups of four; each works once.
    #[schema(example = json!(["abcd-efgh-jkmn-pqrs"]))]
    backup_codes: Vec<String>,
}

/// Give out new backup codes
///
/// The old ones are dead. A fresh verification is needed.
#[utoipa::path(
    post, path = "/v1/users/{user}/backup-codes", tag = "factors", security(("api_key" = ["enrol"])),
    params(("user" = String, Path, description = "The host's own id of the user")),
    responses((status = 201, body = BackupCodesAnswer), (status = "default", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn issue(
    caller: Caller<Enrol>,
    User(key): User,
    _: NoBody,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let codes = state.mfa.issue_backup_codes(&key, &caller.actor()).await?;
    Ok(HttpResponse::Created().json(BackupCodesAnswer { backup_codes: shown(&codes) }))
}
