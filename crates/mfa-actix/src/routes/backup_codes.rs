//! `POST /v1/users/{user}/backup-codes`

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::shown;
use crate::body::NoBody;
use crate::caller::{Caller, Enrol, User, UserSegment};
use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// Backup codes, shown this once.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "backup_codes": ["abcd-efgh-jkmn-pqrs", "0123-4567-89ab-cdef"] }))]
pub(crate) struct BackupCodesAnswer {
    /// In groups of four; each works once.
    backup_codes: Vec<String>,
}

/// Give out new backup codes
///
/// The old ones are dead. A fresh verification is needed.
#[utoipa::path(
    post, path = "/v1/users/{user}/backup-codes", tag = "factors", security(("api_key" = ["enrol"])),
    params(UserSegment),
    responses((status = 201, description = "New backup codes, shown this once; the old ones are dead", body = BackupCodesAnswer)),
    extensions(("x-problems" = json!([ProblemCode::ProofRequired, ProblemCode::NotEnrolled]))),
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
