//! `POST /v1/challenges/{id}/verify`

use actix_web::web::{Data, Json};
use mfa_domain::mfa::PasskeyVerified;
use mfa_domain::passkey::AssertionResponse;
use mfa_domain::signing::Nonce;
use mfa_domain::{AccountKey, SentCode, Verdict};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{OneOfBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};
use zeroize::Zeroizing;

use super::charged;
use crate::assertions::{Unsigned, nonce};
use crate::body::Body;
use crate::caller::{Caller, ChallengePath, ChallengeSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::routes::verify::{VerifiedAnswer, count};
use crate::state::State;

/// The answer to a challenge: `code` for a sent code, `credential` for a passkey.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerRequest {
    code: Option<Zeroizing<String>>,
    credential: Option<Box<RawValue>>,
    nonce: Option<String>,
}

impl PartialSchema for AnswerRequest {
    fn schema() -> RefOr<Schema> {
        let either = OneOfBuilder::new()
            .item(texts::only("code", texts::sent_code()).property("nonce", texts::nonce()))
            .item(texts::only("credential", texts::used_credential()).property("nonce", texts::nonce()));
        let text = "The answer to a challenge: `code` for a sent code, `credential` for a passkey.";
        either.description(Some(text)).into()
    }
}

impl ToSchema for AnswerRequest {}

/// Answer a challenge
///
/// If several calls send a right code at the same time, exactly one gets 200. A wrong code costs an attempt of the
/// user, and five wrong codes (the default) end the challenge. A code of 6 to 10 digits with the wrong number of
/// digits is a wrong code; any other number of digits is `malformed-code` and costs no attempt.
///
/// A `credential`, right or wrong, ends its challenge: one call gets a verdict, the others `challenge-over`. A refused
/// one costs no attempt, and passkeys are accepted while the user is locked.
///
/// If the challenge was begun with a `nonce`, the assertion carries that one; another one is refused.
#[utoipa::path(
    post, path = "/v1/challenges/{id}/verify", tag = "challenges",
    operation_id = "answer_challenge",
    params(ChallengeSegment),
    request_body = AnswerRequest,
    responses((
        status = 200, description = "The answer is accepted and used up", body = VerifiedAnswer,
        example = json!({
            "user": "alice@example.com", "verified": true, "factor": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21",
            "kind": "email", "amr": ["otp"], "auth_time": "2026-03-01T09:31:00.000Z",
            "assertion": "eyJhbGciOiJFUzI1NiIs…",
        }),
    )),
    extensions(("x-problems" = json!([
        ProblemCode::MalformedCode, ProblemCode::InvalidCode, ProblemCode::InvalidCredential,
        ProblemCode::UnknownCredential, ProblemCode::UserVerificationRequired, ProblemCode::PasskeyChanged,
        ProblemCode::Locked, ProblemCode::Disabled, ProblemCode::NotEnrolled, ProblemCode::NotFound,
        ProblemCode::ChallengeOver,
    ]))),
)]
pub(crate) async fn verify(
    caller: Caller,
    ChallengePath(id): ChallengePath,
    Body(request): Body<AnswerRequest>,
    state: Data<State>,
) -> Result<Json<VerifiedAnswer>, Problem> {
    let given = Given::of(&request)?;
    let nonce = nonce(request.nonce.as_deref())?;
    let Caller { tenant, .. } = &caller;
    let actor = caller.actor();
    let found = charged(&state, tenant, &actor, id).await?;
    let nonce = session_of(found.nonce(), nonce)?;
    let unsigned = Unsigned::prepare(&state, tenant, nonce).await?;
    let verdict = match given {
        Given::Code(code) => {
            let owner = match found.owner() {
                Some(owner) if found.kind().is_sent() => owner.clone(),
                _ => {
                    return Err(Problem::invalid("code", "must be left out; no code answers this challenge"));
                }
            };
            let verdict = state.mfa.answer_challenge(tenant, &actor, found, &code).await?;
            verdict.map(|verified| (owner, verified))
        }
        Given::Credential(response) => {
            if found.kind().is_sent() {
                return Err(Problem::invalid(
                    "credential",
                    "must be left out; a code answers this challenge",
                ));
            }
            let verdict = state.mfa.answer_passkey(tenant, &actor, found, &response).await?;
            let of_tenant = |user| AccountKey::new(tenant.clone(), user);
            verdict.map(|PasskeyVerified { user, verified }| (of_tenant(user), verified))
        }
    };
    match verdict {
        Verdict::Accepted((account, verified)) => {
            let assertion = unsigned.sign(&state, &account, &verified.verification)?;
            count("verified");
            Ok(Json(VerifiedAnswer::new(&account.user, &verified, assertion)))
        }
        Verdict::Rejected(rejection) => {
            let problem = Problem::rejection(rejection, state.clock.now());
            count(problem.code().as_str());
            Err(problem)
        }
    }
}

/// The session that the assertion is bound to: that of the challenge, or else the given one.
fn session_of(begun: Option<&Nonce>, given: Option<Nonce>) -> Result<Option<Nonce>, Problem> {
    match (begun, given) {
        (Some(begun), Some(given)) if *begun != given => {
            Err(Problem::invalid("nonce", "is not that of the challenge"))
        }
        (Some(begun), _) => Ok(Some(begun.clone())),
        (None, given) => Ok(given),
    }
}

/// What a request answers with.
enum Given {
    Code(SentCode),
    Credential(AssertionResponse),
}

impl Given {
    fn of(request: &AnswerRequest) -> Result<Self, Problem> {
        match (&request.code, &request.credential) {
            (Some(code), None) => {
                Ok(Self::Code(SentCode::parse(code).map_err(|_| ProblemCode::MalformedCode)?))
            }
            (None, Some(credential)) => Ok(Self::Credential(AssertionResponse::from_json(credential.get())?)),
            (None, None) => Err(Problem::invalid("code", "is missing; give either code or credential")),
            (Some(_), Some(_)) => Err(Problem::invalid("credential", "must be left out if code is given")),
        }
    }
}
