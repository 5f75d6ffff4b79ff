//! `POST /v1/users/{user}/factors/{id}/set-back`

use actix_web::web::{Data, Json};

use super::admin::ReasonRequest;
use crate::answer::FactorAnswer;
use crate::body::Body;
use crate::caller::{Admin, Caller, FactorPath, FactorSegment, User, UserSegment};
use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// Let a factor that is ahead take codes again
///
/// A code that was accepted while a server's clock was ahead makes all earlier ones dead; `ahead_until` in the answer about
/// the user says until when. After this the factor takes the codes of the steps after its present window. Any other
/// factor stays as it is.
#[utoipa::path(
    post, path = "/v1/users/{user}/factors/{id}/set-back", tag = "administration", security(("api_key" = ["admin"])),
    params(UserSegment, FactorSegment),
    request_body = ReasonRequest,
    responses((status = 200, description = "The factor, no longer ahead", body = FactorAnswer)),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn set_back(
    caller: Caller<Admin>,
    User(key): User,
    FactorPath(id): FactorPath,
    Body(request): Body<ReasonRequest>,
    state: Data<State>,
) -> Result<Json<FactorAnswer>, Problem> {
    let factor = state.mfa.set_back(&key, &caller.actor(), id, &request.reason()?).await?;
    Ok(Json(FactorAnswer::from(&factor)))
}
