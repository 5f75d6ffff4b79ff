//! `POST /v1/users/{user}/factors/{id}/confirm`

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use mfa_domain::mfa::Confirmation;
use mfa_domain::otp_core::Code;
use mfa_domain::passkey::RegistrationResponse;
use mfa_domain::{SubmittedCode, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{OneOfBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};
use zeroize::Zeroizing;

use super::resynchronise::consecutive;
use crate::answer::{FactorAnswer, PasskeysBody, shown};
use crate::body::Body;
use crate::caller::{Caller, FactorPath, FactorSegment, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::rejection::rejected;
use crate::repeat::{RepeatHeader, Repeatable, Reply};
use crate::state::State;

/// The first code of a factor, two consecutive ones, or a new passkey: either `code`, `codes` or `credential`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmRequest {
    code: Option<Zeroizing<String>>,
    codes: Option<[Zeroizing<String>; 2]>,
    credential: Option<Box<RawValue>>,
}

impl PartialSchema for ConfirmRequest {
    fn schema() -> RefOr<Schema> {
        let either = OneOfBuilder::new()
            .item(texts::alone("code", texts::first_code()))
            .item(texts::alone("codes", texts::consecutive_codes()))
            .item(texts::alone("credential", texts::new_credential()));
        let text = "The first code of a factor, two consecutive ones, or a new passkey: either `code`, `codes` or \
                    `credential`.";
        either.description(Some(text)).into()
    }
}

impl ToSchema for ConfirmRequest {}

/// The confirmed factor.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user": "alice@example.com",
    "factor": {
        "id": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21", "kind": "totp", "label": "Work phone", "state": "active",
        "created_at": "2026-03-01T09:30:00.000Z", "last_used_at": "2026-03-01T09:31:12.000Z",
    },
    "backup_codes": ["abcd-efgh-jkmn-pqrs", "0123-4567-89ab-cdef"],
}))]
pub(crate) struct ConfirmAnswer {
    /// Id of the user.
    user: String,
    factor: FactorAnswer,
    /// Backup codes of the user, shown only once. Only with the user's first active factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_codes: Option<Vec<String>>,
    /// The accepted passkeys, to pass to the signal methods of the browser. Only for `passkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    passkeys: Option<PasskeysBody>,
}

/// Confirm a factor
///
/// Activates a pending factor by its first code. Two consecutive codes are searched in a much larger window; send
/// them for a device whose clock or counter is off. The codes are used up. A wrong code or pair costs one attempt. A
/// `passkey` is activated by what `navigator.credentials.create()` returned; a refused one costs no attempt, but ends
/// the challenge: enrol again.
/// For an active factor, the answer is `already-active` with any code: if the answer to the first call was lost, the
/// factor is active, and you can issue new backup codes.
#[utoipa::path(
    post, path = "/v1/users/{user}/factors/{id}/confirm", tag = "factors",
    operation_id = "confirm_factor",
    params(UserSegment, FactorSegment, RepeatHeader),
    request_body = ConfirmRequest,
    responses((status = 200, description = "The factor is active", body = ConfirmAnswer)),
    extensions(("x-problems" = json!([
        ProblemCode::MalformedCode, ProblemCode::InvalidCode, ProblemCode::Locked,
        ProblemCode::Disabled, ProblemCode::NotFound, ProblemCode::AlreadyActive,
        ProblemCode::InvalidCredential, ProblemCode::UserVerificationRequired,
        ProblemCode::UnsupportedCredential, ProblemCode::HandleTaken, ProblemCode::ChallengeOver,
    ]))),
)]
pub(crate) async fn confirm(
    caller: Caller,
    User(key): User,
    FactorPath(id): FactorPath,
    Repeatable(Body(request), repeat): Repeatable<Body<ConfirmRequest>>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let submitted = Submitted::of(&request)?;
    let reply = |verdict: &Verdict<Confirmation>| match verdict {
        Verdict::Accepted(Confirmation { factor, backup_codes, passkeys }) => {
            let backup_codes = backup_codes.as_ref().map(shown);
            let secret = backup_codes.is_some();
            let answer = ConfirmAnswer {
                user: key.user.as_str().to_owned(),
                factor: FactorAnswer::from(factor),
                backup_codes,
                passkeys: passkeys.as_ref().map(PasskeysBody::from),
            };
            let reply = Reply::json(StatusCode::OK, &answer)?;
            Ok(if secret { reply.with_secret() } else { reply })
        }
        Verdict::Rejected(rejection) => Err(Problem::rejection(*rejection, state.clock.now())),
    };
    let actor = caller.actor();
    repeat
        .answer(&state, &key, &actor, reply, async |call| {
            let verdict = match &submitted {
                Submitted::One(code) => state.mfa.confirm(&key, call, id, code).await?,
                Submitted::Two([first, second]) => state.mfa.confirm(&key, call, id, [first, second]).await?,
                Submitted::Passkey(response) => state.mfa.confirm_passkey(&key, call, id, response).await?,
            };
            match verdict {
                Verdict::Rejected(rejection) => Err(rejected(&state, &key, &actor, rejection).await),
                accepted @ Verdict::Accepted(_) => Ok(accepted),
            }
        })
        .await
}

/// What a request confirms the factor by.
enum Submitted {
    One(SubmittedCode),
    Two([Code; 2]),
    Passkey(RegistrationResponse),
}

impl Submitted {
    fn of(request: &ConfirmRequest) -> Result<Self, Problem> {
        match (&request.code, &request.codes, &request.credential) {
            (Some(code), None, None) => {
                Ok(Self::One(SubmittedCode::parse(code).map_err(|_| ProblemCode::MalformedCode)?))
            }
            (None, Some(codes), None) => Ok(Self::Two(consecutive(codes)?)),
            (None, None, Some(credential)) => {
                Ok(Self::Passkey(RegistrationResponse::from_json(credential.get())?))
            }
            (None, None, None) => {
                Err(Problem::invalid("code", "is missing; give either code, codes or credential"))
            }
            (Some(_), Some(_), _) => Err(Problem::invalid("codes", "must be left out if code is given")),
            (_, _, Some(_)) => {
                Err(Problem::invalid("credential", "must be left out if code or codes is given"))
            }
        }
    }
}
