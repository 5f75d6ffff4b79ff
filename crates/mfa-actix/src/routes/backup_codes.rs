//! `POST /v1/users/{user}/backup-codes`

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use mfa_domain::mfa::PlainBackupCodes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::shown;
use crate::body::OptionalBody;
use crate::caller::{Caller, User, UserSegment};
use crate::problem::{Problem, ProblemCode};
use crate::proof::{Authorisation, ProofRequest};
use crate::repeat::{RepeatHeader, Repeatable, Reply};
use crate::state::State;

/// New backup codes, shown only once.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "user": "alice@example.com", "backup_codes": ["abcd-efgh-jkmn-pqrs", "0123-4567-89ab-cdef"] }))]
pub(crate) struct BackupCodesAnswer {
    /// Id of the user.
    user: String,
    /// The codes, in groups of four characters. Each can be used once.
    backup_codes: Vec<String>,
}

/// Issue new backup codes
///
/// The old codes become invalid. The user needs a recent verification as `proof`.
#[utoipa::path(
    post, path = "/v1/users/{user}/backup-codes", tag = "factors",
    operation_id = "issue_backup_codes",
    params(UserSegment, RepeatHeader),
    request_body = ref("#/components/schemas/ProofRequest"),
    responses((status = 201, description = "New backup codes, shown only once. The old codes are invalid", body = BackupCodesAnswer)),
    extensions(("x-problems" = json!([ProblemCode::ProofRequired, ProblemCode::NotEnrolled]))),
)]
pub(crate) async fn issue(
    caller: Caller,
    User(key): User,
    Repeatable(OptionalBody(request), repeat): Repeatable<OptionalBody<ProofRequest>>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let authorised = Authorisation::of(&state, &caller, &key, request.given()).await?;
    let reply = |codes: &PlainBackupCodes| {
        let answer = BackupCodesAnswer { user: key.user.as_str().to_owned(), backup_codes: shown(codes) };
        Reply::json(StatusCode::CREATED, &answer).map(Reply::with_secret)
    };
    let issued = repeat
        .answer(&state, &key, &caller.actor(), reply, async |call| {
            state.mfa.issue_backup_codes(&key, call.in_session(authorised.session())).await
        })
        .await;
    issued.map_err(|problem| authorised.explain(problem))
}
