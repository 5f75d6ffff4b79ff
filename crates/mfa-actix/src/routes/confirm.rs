//! `POST /v1/users/{user}/factors/{id}/confirm`

use actix_web::web::{Data, Json};
use mfa_domain::SubmittedCode;
use mfa_domain::mfa::Confirmation;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::answer::{FactorAnswer, shown};
use crate::body::Body;
use crate::caller::{Caller, Enrol, FactorPath, User};
use crate::problem::{Problem, ProblemBody, ProblemCode};
use crate::state::State;

/// The first code of a factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmRequest {
    /// As the authenticator shows it.
    #[schema(value_type = String, example = "123456")]
    code: Zeroizing<String>,
}

/// The factor is active.
#[derive(Serialize, ToSchema)]
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
    params(("user" = String, Path, description = "The host's own id of the user"), ("id" = String, Path, description = "The factor")),
    request_body = ConfirmRequest,
    responses((status = 200, body = ConfirmAnswer), (status = "default", body = ProblemBody, content_type = "application/problem+json")),
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
