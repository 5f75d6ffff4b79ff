//! `POST /v1/users/{user}/factors/{id}/confirm`

use actix_web::web::{Data, Json};
use mfa_domain::SubmittedCode;
use mfa_domain::mfa::Confirmation;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::answer::{FactorAnswer, shown};
use crate::body::Body;
use crate::caller::{Caller, Enrol, FactorPath, FactorSegment, User, UserSegment};
use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// The first code of a factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmRequest {
    /// As the authenticator shows it.
    #[schema(value_type = String, min_length = 6, max_length = 64, example = "123456")]
    code: Zeroizing<String>,
}

/// The factor is active.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "factor": {
        "id": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21", "kind": "totp", "label": "Work phone", "state": "active",
        "created_at": "2026-03-01T09:30:00.000Z", "last_used_at": "2026-03-01T09:31:12.000Z",
    },
    "backup_codes": ["abcd-efgh-jkmn-pqrs", "0123-4567-89ab-cdef"],
}))]
pub(crate) struct ConfirmAnswer {
    factor: FactorAnswer,
    /// With the first active factor of a user: their backup codes, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_codes: Option<Vec<String>>,
}

/// Confirm a factor by its first code
///
/// That code is used up by it. A wrong one costs an attempt.
#[utoipa::path(
    post, path = "/v1/users/{user}/factors/{id}/confirm", tag = "factors", security(("api_key" = ["enrol"])),
    params(UserSegment, FactorSegment),
    request_body = ConfirmRequest,
    responses((status = 200, description = "The factor is active", body = ConfirmAnswer)),
    extensions(("x-problems" = json!([
        ProblemCode::MalformedCode, ProblemCode::InvalidCode, ProblemCode::Locked,
        ProblemCode::Disabled, ProblemCode::NotFound,
    ]))),
)]
pub(crate) async fn confirm(
    caller: Caller<Enrol>,
    User(key): User,
    FactorPath(id): FactorPath,
    Body(request): Body<ConfirmRequest>,
    state: Data<State>,
) -> Result<Json<ConfirmAnswer>, Problem> {
    let code = SubmittedCode::parse(&request.code).map_err(|_| ProblemCode::MalformedCode)?;
    match state.mfa.confirm(&key, &caller.actor(), id, &code).await? {
        Confirmation::Confirmed { factor, backup_codes } => Ok(Json(ConfirmAnswer {
            factor: FactorAnswer::from(&factor),
            backup_codes: backup_codes.as_ref().map(shown),
        })),
        Confirmation::Rejected(rejection) => {
            Err(Problem::rejection(rejection, state.mfa.ports().clock.now()))
        }
    }
}
