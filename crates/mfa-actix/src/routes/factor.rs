//! `PATCH` and `DELETE /v1/users/{user}/factors/{id}`

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use mfa_domain::Label;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::FactorAnswer;
use crate::body::{Body, NoBody};
use crate::caller::{Caller, Enrol, FactorPath, User};
use crate::problem::{Problem, ProblemBody};
use crate::state::State;

/// A new label.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameRequest {
    /// 1 to 64 characters.
    #[schema(example = "Old phone")]
    label: String,
}

/// Rename a factor
#[utoipa::path(
    patch, path = "/v1/users/{user}/factors/{id}", tag = "factors", security(("api_key" = ["enrol"])),
    params(("user" = String, Path, description = "The host's own id of the user"), ("id" = String, Path, description = "The factor")),
    request_body = RenameRequest,
    responses((status = 200, body = FactorAnswer), (status = "default", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn rename(
    caller: Caller<Enrol>,
    User(key): User,
    FactorPath(id): FactorPath,
    Body(request): Body<RenameRequest>,
    state: Data<State>,
) -> Result<Json<FactorAnswer>, Problem> {
    let label = Label::new(&request.label).map_err(|error| Problem::invalid("label", error))?;
    let factor = state.mfa.rename(&key, &caller.actor(), id, &label).await?;
    Ok(Json(FactorAnswer::from(&factor)))
}

/// Remove a factor
///
/// Without the scope `admin`, an active factor needs a fresh verification. With the last active
/// factor the backup codes go too.
#[utoipa::path(
    delete, path = "/v1/users/{user}/factors/{id}", tag = "factors", security(("api_key" = ["enrol"])),
    params(("user" = String, Path, description = "The host's own id of the user"), ("id" = String, Path, description = "The factor")),
    responses((status = 204), (status = "default", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn revoke(
    caller: Caller<Enrol>,
    User(key): User,
    FactorPath(id): FactorPath,
    _: NoBody,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    state.mfa.revoke(&key, &caller.actor(), id).await?;
    Ok(HttpResponse::NoContent().finish())
}
