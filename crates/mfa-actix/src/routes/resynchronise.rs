//! `POST /v1/users/{user}/factors/{id}/resynchronise`

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use mfa_domain::otp_core::Code;
use mfa_domain::{Factor, SubmittedCode, Verdict};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::answer::FactorAnswer;
use crate::body::Body;
use crate::caller::{Caller, FactorPath, FactorSegment, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::rejection::rejected;
use crate::repeat::{RepeatHeader, Repeatable, Reply};
use crate::state::State;

/// Two consecutive codes of a device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResynchroniseRequest {
    #[schema(schema_with = texts::consecutive_codes)]
    codes: [Zeroizing<String>; 2],
}

/// Resynchronise a factor
///
/// Adjusts a factor to a device whose clock or counter is off, by two consecutive codes (RFC 4226, 7.4; RFC 6238, 6).
/// Both codes are used up. A wrong pair costs one attempt. A pending factor stays pending. The last used step or
/// counter never decreases. The call is not a verification of the user.
#[utoipa::path(
    post, path = "/v1/users/{user}/factors/{id}/resynchronise", tag = "factors",
    operation_id = "resynchronise_factor",
    params(UserSegment, FactorSegment, RepeatHeader),
    request_body = ResynchroniseRequest,
    responses((status = 200, description = "The resynchronised factor", body = FactorAnswer)),
    extensions(("x-problems" = json!([
        ProblemCode::MalformedCode, ProblemCode::InvalidCode, ProblemCode::Locked,
        ProblemCode::Disabled, ProblemCode::NotFound,
    ]))),
)]
pub(crate) async fn resynchronise(
    caller: Caller,
    User(key): User,
    FactorPath(id): FactorPath,
    Repeatable(Body(request), repeat): Repeatable<Body<ResynchroniseRequest>>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let [first, second] = consecutive(&request.codes)?;
    let reply = |verdict: &Verdict<Factor>| match verdict {
        Verdict::Accepted(factor) => Reply::json(StatusCode::OK, &FactorAnswer::alone(&key.user, factor)),
        Verdict::Rejected(rejection) => Err(Problem::rejection(*rejection, state.clock.now())),
    };
    let actor = caller.actor();
    repeat
        .answer(&state, &key, &actor, reply, async |call| {
            match state.mfa.resynchronise(&key, call, id, [&first, &second]).await? {
                Verdict::Rejected(rejection) => Err(rejected(&state, &key, &actor, rejection).await),
                accepted @ Verdict::Accepted(_) => Ok(accepted),
            }
        })
        .await
}

/// Parses two codes of an authenticator.
pub(super) fn consecutive([first, second]: &[Zeroizing<String>; 2]) -> Result<[Code; 2], Problem> {
    Ok([one_time_password(first)?, one_time_password(second)?])
}

fn one_time_password(text: &str) -> Result<Code, Problem> {
    match SubmittedCode::parse(text) {
        Ok(SubmittedCode::OneTimePassword(code)) => Ok(code),
        _ => Err(ProblemCode::MalformedCode.into()),
    }
}
