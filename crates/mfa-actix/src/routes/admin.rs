//! What operators do: unlock, reset, erase.

use actix_web::HttpResponse;
use actix_web::web::Data;
use mfa_domain::Reason;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::{Body, NoBody};
use crate::caller::{Admin, Caller, User};
use crate::problem::{Problem, ProblemBody};
use crate::state::State;

/// Why it is done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonRequest {
    /// 1 to 256 characters; kept in the audit trail.
    #[schema(example = "Ticket 4711: identity checked by phone")]
    reason: String,
}

/// Lift every lock
///
/// Disabled factors stay disabled: reset instead.
#[utoipa::path(
    post, path = "/v1/users/{user}/unlock", tag = "administration", security(("api_key" = ["admin"])),
    params(("user" = String, Path, description = "The host's own id of the user")),
    request_body = ReasonRequest,
    responses((status = 204), (status = "default", body = ProblemBody, content_type = "application/problem+json")),
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
    params(("user" = String, Path, description = "The host's own id of the user")),
    request_body = ReasonRequest,
    responses((status = 204), (status = "default", body = ProblemBody, content_type = "application/problem+json")),
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
    params(("user" = String, Path, description = "The host's own id of the user")),
    responses((status = 204), (status = "default", body = ProblemBody, content_type = "application/problem+json")),
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
