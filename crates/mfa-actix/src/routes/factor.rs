//! `PATCH` and `DELETE /v1/users/{user}/factors/{id}`

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use mfa_domain::{Factor, Label};
use serde::Deserialize;
use utoipa::ToSchema;

use super::admin::done;
use crate::answer::FactorAnswer;
use crate::body::{Body, NoBody};
use crate::caller::{Caller, FactorPath, FactorSegment, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::repeat::{RepeatHeader, Repeatable, Reply};
use crate::state::State;

/// The new label.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameRequest {
    #[schema(schema_with = texts::label)]
    label: String,
}

/// Rename a factor
///
/// If the factor already has this label, nothing changes and no event is recorded.
#[utoipa::path(
    patch, path = "/v1/users/{user}/factors/{id}", tag = "factors",
    operation_id = "rename_factor",
    params(UserSegment, FactorSegment, RepeatHeader),
    request_body = RenameRequest,
    responses((status = 200, description = "The factor with its new label", body = FactorAnswer)),
    extensions(("x-problems" = json!([ProblemCode::NotFound, ProblemCode::ProofRequired]))),
)]
pub(crate) async fn rename(
    caller: Caller,
    User(key): User,
    FactorPath(id): FactorPath,
    Repeatable(Body(request), repeat): Repeatable<Body<RenameRequest>>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let label = Label::new(&request.label).map_err(|error| Problem::invalid("label", error))?;
    let reply = |factor: &Factor| Reply::json(StatusCode::OK, &FactorAnswer::alone(&key.user, factor));
    repeat
        .answer(&state, &key, &caller.actor(), reply, async |call| {
            state.mfa.rename(&key, call, id, &label).await
        })
        .await
}

/// Remove a factor
///
/// Removing an active factor needs a recent verification of the user, or the scope `admin`. Removing the last active
/// factor also removes the backup codes. After removing a passkey, pass `passkeys` of `GET /v1/users/{user}` to the
/// signal methods of the browser, so that authenticators forget it.
#[utoipa::path(
    delete, path = "/v1/users/{user}/factors/{id}", tag = "factors",
    operation_id = "revoke_factor",
    params(UserSegment, FactorSegment, RepeatHeader),
    responses((status = 204, description = "The factor is removed")),
    extensions(("x-problems" = json!([ProblemCode::NotFound, ProblemCode::ProofRequired]))),
)]
pub(crate) async fn revoke(
    caller: Caller,
    User(key): User,
    FactorPath(id): FactorPath,
    Repeatable(NoBody, repeat): Repeatable<NoBody>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    repeat
        .answer(&state, &key, &caller.actor(), done, async |call| state.mfa.revoke(&key, call, id).await)
        .await
}
