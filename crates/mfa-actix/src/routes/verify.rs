//! `POST /v1/users/{user}/verify`

use actix_web::web::{Data, Json};
use mfa_domain::{CodeRejection, FactorId, FactorKind, SubmittedCode, UserId, Verdict, Verified};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::answer::Warning;
use crate::assertions::{Unsigned, nonce};
use crate::body::Body;
use crate::caller::{Caller, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::rejection::rejected;
use crate::state::State;

/// The code to check.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyRequest {
    #[schema(schema_with = texts::code)]
    code: Zeroizing<String>,
    /// Id of the factor that the code must belong to. Default: any active factor.
    #[schema(example = "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21")]
    factor: Option<String>,
    #[schema(schema_with = texts::nonce, required = false)]
    nonce: Option<String>,
}

/// The result of an accepted code.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user": "alice@example.com",
    "verified": true,
    "factor": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21",
    "kind": "totp",
    "amr": ["otp"],
    "auth_time": "2026-07-01T09:30:00Z",
    "assertion": "eyJhbGciOiJFUzI1NiIs…",
}))]
pub(crate) struct VerifiedAnswer {
    /// Id of the user.
    user: String,
    /// Always `true`; otherwise the answer is a problem.
    verified: bool,
    /// Id of the factor; `null` for a backup code.
    #[schema(required)]
    factor: Option<String>,
    /// Kind of factor or code: `totp`, `hotp`, `email`, `passkey` or `backup_code`.
    kind: String,
    /// Authentication method references (RFC 8176).
    amr: Vec<&'static str>,
    /// Time of the verification (RFC 3339).
    #[schema(format = DateTime)]
    auth_time: String,
    /// Signed assertion of this verification, to be accepted within a minute: a JSON Web Signature (RFC 7515) by a key
    /// of `/.well-known/jwks.json`. Absent if the server signs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    assertion: Option<String>,
    /// Whether the authenticator verified its user by a PIN or a biometric. Only for `passkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_verified: Option<bool>,
    /// Number of unused backup codes. Only after a backup code.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_codes_remaining: Option<usize>,
    /// Warnings to show to the user. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

/// Check a code
///
/// If several calls send a right code at the same time, exactly one gets 200. The others get `invalid-code` and cost
/// no attempt. A wrong code costs an attempt.
#[utoipa::path(
    post, path = "/v1/users/{user}/verify", tag = "verification",
    operation_id = "verify_code",
    params(UserSegment),
    request_body = VerifyRequest,
    responses((status = 200, description = "The code is accepted and used up", body = VerifiedAnswer)),
    extensions(("x-problems" = json!([
        ProblemCode::MalformedCode, ProblemCode::InvalidCode, ProblemCode::Locked,
        ProblemCode::Disabled, ProblemCode::NotEnrolled, ProblemCode::NotFound,
    ]))),
)]
pub(crate) async fn verify(
    caller: Caller,
    User(key): User,
    Body(request): Body<VerifyRequest>,
    state: Data<State>,
) -> Result<Json<VerifiedAnswer>, Problem> {
    let code = SubmittedCode::parse(&request.code).map_err(|_| ProblemCode::MalformedCode)?;
    let factor = request.factor.as_deref().map(named_factor).transpose()?;
    let nonce = nonce(request.nonce.as_deref())?;
    let unsigned = Unsigned::prepare(&state, &caller.tenant, nonce).await?;
    if matches!(code, SubmittedCode::Backup(_)) {
        state.throttling.charge_backup_code(state.clock.now(), &key).await?;
    }
    match state.mfa.verify(&key, &caller.actor(), &code, factor).await? {
        Verdict::Accepted(verified) => {
            let assertion = unsigned.sign(&state, &key, &verified.verification)?;
            count("verified");
            Ok(Json(VerifiedAnswer::new(&key.user, &verified, assertion)))
        }
        Verdict::Rejected(rejection) => {
            let problem = rejected(&state, &key, &caller.actor(), rejection).await;
            let replayed = matches!(rejection, CodeRejection::Replayed { .. });
            count(if replayed { "replayed" } else { problem.code().as_str() });
            Err(problem)
        }
    }
}

/// Parses the factor id of a body. Any other text is answered `not-found`, like an unknown id.
pub(crate) fn named_factor(id: &str) -> Result<FactorId, Problem> {
    id.parse().map_err(|_| ProblemCode::NotFound.into())
}

/// Counts the result of a check.
pub(crate) fn count(result: &'static str) {
    metrics::counter!("mfa_verifications_total", "result" => result).increment(1);
}

impl VerifiedAnswer {
    pub(crate) fn new(user: &UserId, verified: &Verified, assertion: Option<String>) -> Self {
        let Verified { verification, backup_codes } = verified;
        let low = backup_codes.is_some_and(|left| left.low);
        let warning = Warning {
            code: "backup-codes-low".to_owned(),
            message: "Few backup codes are left; the user should get new ones.".to_owned(),
        };
        Self {
            user: user.as_str().to_owned(),
            verified: true,
            factor: verification.factor.map(|id| id.to_string()),
            kind: verification.kind.clone(),
            amr: verification.amr.to_vec(),
            auth_time: verification.at.to_string(),
            assertion,
            user_verified: (verification.kind == FactorKind::Passkey.as_str())
                .then_some(verification.user_verified),
            backup_codes_remaining: backup_codes.map(|left| left.remaining),
            warnings: low.then_some(warning).into_iter().collect(),
        }
    }
}
