//! Calls of operators: unlock, reset, erase.

use actix_web::HttpResponse;
use actix_web::web::Data;
use mfa_domain::Reason;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::{Body, NoBody};
use crate::caller::{Caller, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::repeat::{RepeatHeader, Repeatable, Reply};
use crate::state::State;

/// The reason for the change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonRequest {
    #[schema(schema_with = texts::reason)]
    reason: String,
}

/// Unlock a user
///
/// Lifts every lock. If the factors are disabled, the call answers `disabled`; reset the user instead.
#[utoipa::path(
    post, path = "/v1/users/{user}/unlock", tag = "administration",
    operation_id = "unlock_user",
    params(UserSegment, RepeatHeader),
    request_body = ReasonRequest,
    responses((status = 204, description = "The user is not locked")),
    extensions(("x-problems" = json!([ProblemCode::Disabled]))),
)]
pub(crate) async fn unlock(
    caller: Caller,
    User(key): User,
    Repeatable(Body(request), repeat): Repeatable<Body<ReasonRequest>>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let reason = request.reason()?;
    repeat
        .answer(&state, &key, &caller.actor(), done, async |call| state.mfa.unlock(&key, call, &reason).await)
        .await
}

/// Reset a user
///
/// Removes all factors and backup codes. The user can then enrol again.
#[utoipa::path(
    post, path = "/v1/users/{user}/reset", tag = "administration",
    operation_id = "reset_user",
    params(UserSegment, RepeatHeader),
    request_body = ReasonRequest,
    responses((status = 204, description = "All factors and backup codes are removed")),
)]
pub(crate) async fn reset(
    caller: Caller,
    User(key): User,
    Repeatable(Body(request), repeat): Repeatable<Body<ReasonRequest>>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let reason = request.reason()?;
    repeat
        .answer(&state, &key, &caller.actor(), done, async |call| state.mfa.reset(&key, call, &reason).await)
        .await
}

/// Erase a user
///
/// Deletes everything about the user except the audit trail, which records the erasure.
#[utoipa::path(
    delete, path = "/v1/users/{user}", tag = "administration",
    operation_id = "erase_user",
    params(UserSegment, RepeatHeader),
    responses((status = 204, description = "Only the audit trail is left")),
)]
pub(crate) async fn erase(
    caller: Caller,
    User(key): User,
    Repeatable(NoBody, repeat): Repeatable<NoBody>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    repeat.answer(&state, &key, &caller.actor(), done, async |call| state.mfa.erase(&key, call).await).await
}

#[expect(clippy::trivially_copy_pass_by_ref, clippy::unnecessary_wraps, reason = "a reply function")]
pub(super) fn done((): &()) -> Result<Reply, Problem> {
    Ok(Reply::done())
}

impl ReasonRequest {
    pub(super) fn reason(&self) -> Result<Reason, Problem> {
        Reason::new(&self.reason).map_err(|error| Problem::invalid("reason", error))
    }
}
