//! `PATCH` and `DELETE /v1/users/{user}/factors/{id}`

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use mfa_domain::Label;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::FactorAnswer;
use crate::body::{Body, NoBody};
use crate::caller::{Caller, Enrol, FactorPath, FactorSegment, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// A new label.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameRequest {
    #[schema(schema_with = texts::label)]
    label: String,
}

/// Rename a factor
///
/// With the label that it has, nothing changes and nothing is recorded.
#[utoipa::path(
    patch, path = "/v1/users/{user}/factors/{id}", tag = "factors", security(("api_key" = ["enrol"])),
    params(UserSegment, FactorSegment),
    request_body = RenameRequest,
    responses((status = 200, description = "The factor with its new label", body = FactorAnswer)),
    extensions(("x-problems" = json!([ProblemCode::NotFound, ProblemCode::ProofRequired]))),
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
    params(UserSegment, FactorSegment),
    responses((status = 204, description = "The factor is gone")),
    extensions(("x-problems" = json!([ProblemCode::NotFound, ProblemCode::ProofRequired]))),
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
