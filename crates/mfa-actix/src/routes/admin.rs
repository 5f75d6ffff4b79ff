//! What operators do: unlock, reset, erase.

use actix_web::HttpResponse;
use actix_web::web::Data;
use mfa_domain::Reason;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::{Body, NoBody};
use crate::caller::{Admin, Caller, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// Why it is done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonRequest {
    #[schema(schema_with = texts::reason)]
    reason: String,
}

/// Lift every lock
///
/// Disabled factors stay disabled: reset instead.
#[utoipa::path(
    post, path = "/v1/users/{user}/unlock", tag = "administration", security(("api_key" = ["admin"])),
    params(UserSegment),
    request_body = ReasonRequest,
    responses((status = 204, description = "No lock is left")),
    extensions(("x-problems" = json!([ProblemCode::Disabled]))),
)]
pub(crate) async fn unlock(
    caller: Caller<Admin>,
    User(key): User,
    Body(request): Body<ReasonRequest>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    state.mfa.unlock(&key, &caller.actor(), &request.reason()?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Remove every factor and backup code
///
/// The user can then enrol anew.
#[utoipa::path(
    post, path = "/v1/users/{user}/reset", tag = "administration", security(("api_key" = ["admin"])),
    params(UserSegment),
    request_body = ReasonRequest,
    responses((status = 204, description = "No factor and no backup code is left")),
)]
pub(crate) async fn reset(
    caller: Caller<Admin>,
    User(key): User,
    Body(request): Body<ReasonRequest>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    state.mfa.reset(&key, &caller.actor(), &request.reason()?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Erase a user
///
/// Everything goes but the audit trail, which says so.
#[utoipa::path(
    delete, path = "/v1/users/{user}", tag = "administration", security(("api_key" = ["admin"])),
    params(UserSegment),
    responses((status = 204, description = "Nothing is left but the audit trail")),
)]
pub(crate) async fn erase(
    caller: Caller<Admin>,
    User(key): User,
    _: NoBody,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    state.mfa.erase(&key, &caller.actor()).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl ReasonRequest {
    fn reason(&self) -> Result<Reason, Problem> {
        Reason::new(&self.reason).map_err(|error| Problem::invalid("reason", error))
    }
}
