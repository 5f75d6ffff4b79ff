//! `POST /v1/challenges`

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ChallengeAnswer, has_passkeys};
use crate::assertions::nonce;
use crate::body::Body;
use crate::caller::Caller;
use crate::openapi::texts;
use crate::problem::Problem;
use crate::state::State;

/// The kind of factor that names the user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordlessRequest {
    #[schema(schema_with = texts::passkey)]
    kind: String,
    #[schema(schema_with = texts::nonce, required = false)]
    nonce: Option<String>,
}

/// Begin a challenge without a user
///
/// The browser offers the passkeys that it has for this site, and the passkey names its user: `verify` answers with
/// `user`. Only passkeys that are discoverable can be used. A credential that is in no account is `unknown-credential`.
/// The call takes no `Idempotency-Key`: no account could keep the answer. A repeated call begins another challenge.
///
/// The calls of a tenant have a quota of their own: 200 a second by default.
#[utoipa::path(
    post, path = "/v1/challenges", tag = "challenges",
    operation_id = "begin_challenge_without_user",
    request_body = PasswordlessRequest,
    responses((
        status = 201, description = "The challenge", body = ChallengeAnswer,
        example = json!({
            "challenge": {
                "id": "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "kind": "passkey", "state": "open",
                "expires_at": "2026-03-01T09:40:00.000Z",
            },
            "webauthn": { "publicKey": {
                "challenge": "xdJ8sQ0c…", "timeout": 600_000, "rpId": "example.com", "userVerification": "preferred",
            } },
        }),
    )),
)]
pub(crate) async fn begin(
    caller: Caller,
    Body(request): Body<PasswordlessRequest>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    if request.kind != "passkey" {
        return Err(Problem::invalid("kind", "must be passkey"));
    }
    let nonce = nonce(request.nonce.as_deref())?;
    has_passkeys(&state, &caller.tenant)?;
    state.throttling.charge_challenge(state.clock.now(), &caller.tenant).await?;
    let begun = state.mfa.begin_passwordless(&caller.tenant, &caller.actor(), nonce.as_ref()).await?;
    Ok(HttpResponse::Created().json(ChallengeAnswer::of(None, &begun)?))
}
