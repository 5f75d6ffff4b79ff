//! `PATCH` and `DELETE /v1/users/{user}/factors/{id}`

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use mfa_domain::{Factor, Label};
use serde::Deserialize;
use utoipa::ToSchema;

use super::admin::done;
use crate::answer::FactorAnswer;
use crate::body::{Body, OptionalBody};
use crate::caller::{Caller, FactorPath, FactorSegment, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::proof::{Authorisation, Given, ProofRequest};
use crate::repeat::{RepeatHeader, Repeatable, Reply};
use crate::state::State;

/// The new label, and what authorises the change if the policy of the server guards labels.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameRequest {
    #[schema(schema_with = texts::label)]
    label: String,
    #[schema(schema_with = texts::proof, required = false)]
    proof: Option<String>,
    #[schema(schema_with = texts::proof_nonce, required = false)]
    nonce: Option<String>,
    #[schema(schema_with = texts::operators_reason, required = false)]
    reason: Option<String>,
}

/// Rename a factor
///
/// If the factor already has this label, nothing changes and no event is recorded. By default a new label needs no
/// `proof`.
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
    let RenameRequest { label, proof, nonce, reason } = &request;
    let label = Label::new(label).map_err(|error| Problem::invalid("label", error))?;
    let given = Given { proof: proof.as_deref(), nonce: nonce.as_deref(), reason: reason.as_deref() };
    let authorised = Authorisation::of(&state, &caller, &key, given).await?;
    let reply = |factor: &Factor| Reply::json(StatusCode::OK, &FactorAnswer::alone(&key.user, factor));
    let renamed = repeat
        .answer(&state, &key, &caller.actor(), reply, async |call| {
            state.mfa.rename(&key, call.in_session(authorised.session()), id, &label).await
        })
        .await;
    renamed.map_err(|problem| authorised.explain(problem))
}

/// Remove a factor
///
/// Removing an active factor needs a recent verification of the user as `proof`, or the scope `admin`. It also gives up
/// the user's pending factors. Removing the last active factor also removes the backup codes. After removing a passkey,
/// pass `passkeys` of `GET /v1/users/{user}` to the signal methods of the browser, so that authenticators forget it.
/// Let proxies pass on the body: the semantics of a body of `DELETE` are undefined (RFC 9110, 9.3.5), and some proxies
/// and clients drop it. Then the proof is missing: the answer is `proof-required`, and nothing changes.
#[utoipa::path(
    delete, path = "/v1/users/{user}/factors/{id}", tag = "factors",
    operation_id = "revoke_factor",
    params(UserSegment, FactorSegment, RepeatHeader),
    request_body = ref("#/components/schemas/ProofRequest"),
    responses((status = 204, description = "The factor is removed")),
    extensions(("x-problems" = json!([ProblemCode::NotFound, ProblemCode::ProofRequired]))),
)]
pub(crate) async fn revoke(
    caller: Caller,
    User(key): User,
    FactorPath(id): FactorPath,
    Repeatable(OptionalBody(request), repeat): Repeatable<OptionalBody<ProofRequest>>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let authorised = Authorisation::of(&state, &caller, &key, request.given()).await?;
    let revoked = repeat
        .answer(&state, &key, &caller.actor(), done, async |call| {
            state.mfa.revoke(&key, call.in_session(authorised.session()), id).await
        })
        .await;
    revoked.map_err(|problem| authorised.explain(problem))
}
