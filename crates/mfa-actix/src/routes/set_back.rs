//! `POST /v1/users/{user}/factors/{id}/set-back`

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use mfa_domain::Factor;

use super::admin::ReasonRequest;
use crate::answer::FactorAnswer;
use crate::body::Body;
use crate::caller::{Caller, FactorPath, FactorSegment, User, UserSegment};
use crate::problem::{Problem, ProblemCode};
use crate::repeat::{RepeatHeader, Repeatable, Reply};
use crate::state::State;

/// Set back a factor that is ahead
///
/// If a factor accepted a code while a server's clock was ahead, it refuses all codes before `ahead_until`, shown by
/// `GET /v1/users/{user}`. After this call it accepts codes again, from the first step after the current window. A
/// factor that is not ahead does not change.
#[utoipa::path(
    post, path = "/v1/users/{user}/factors/{id}/set-back", tag = "administration",
    operation_id = "set_back_factor",
    params(UserSegment, FactorSegment, RepeatHeader),
    request_body = ReasonRequest,
    responses((status = 200, description = "The factor, which is no longer ahead", body = FactorAnswer)),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn set_back(
    caller: Caller,
    User(key): User,
    FactorPath(id): FactorPath,
    Repeatable(Body(request), repeat): Repeatable<Body<ReasonRequest>>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let reason = request.reason()?;
    let reply = |factor: &Factor| Reply::json(StatusCode::OK, &FactorAnswer::alone(&key.user, factor));
    repeat
        .answer(&state, &key, &caller.actor(), reply, async |call| {
            state.mfa.set_back(&key, call, id, &reason).await
        })
        .await
}
