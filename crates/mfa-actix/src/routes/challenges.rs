//! `/v1/users/{user}/challenges` and `/v1/challenges/{id}`

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Query};
use actix_web::{HttpRequest, HttpResponse};
use mfa_domain::account::Session;
use mfa_domain::mfa::{BegunChallenge, ChallengeStatus, FirstStep, FoundChallenge, SendTo};
use mfa_domain::{Actor, ChallengeId, ChallengeState, FactorKind, TenantId, UserId, Verdict};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::Unthrottled;
use super::verify::named_factor;
use crate::answer::WebauthnBody;
use crate::assertions::nonce;
use crate::body::{Body, NoBody};
use crate::caller::{Caller, ChallengePath, ChallengeSegment, User, UserSegment};
use crate::envelope::HeldForWork;
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::repeat::{RepeatHeader, Repeatable, Reply};
use crate::state::State;

pub(crate) mod answer;
pub(crate) mod passwordless;

/// The longest time that a call waits for a change.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(25);

/// The pause between two reads of a challenge by a waiting call.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The challenge to begin: either `factor` or `kind`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChallengeRequest {
    /// Id of the active factor: an address that gets a code, or a passkey.
    factor: Option<String>,
    /// Instead of `factor`: the first active address, or any passkey of the user.
    kind: Option<String>,
    /// Purpose of the challenge; default `verify`.
    purpose: Option<String>,
    /// The session that the challenge is bound to.
    nonce: Option<String>,
}

impl PartialSchema for ChallengeRequest {
    fn schema() -> RefOr<Schema> {
        let purpose = || texts::word("verify", "Purpose of the challenge: `verify`, the default.");
        let kind = texts::one_of(
            &["email", "passkey"],
            "Instead of `factor`: `email` for the first active address, `passkey` for any passkey of the user.",
        );
        let more =
            |object: ObjectBuilder| object.property("purpose", purpose()).property("nonce", texts::nonce());
        let either = OneOfBuilder::new()
            .item(more(texts::only("factor", texts::factor())))
            .item(more(texts::only("kind", kind)));
        either.description(Some("The challenge to begin: either `factor` or `kind`.")).into()
    }
}

impl ToSchema for ChallengeRequest {}

/// How long to wait for a change.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitParameter {
    /// Longest time to wait for a change, in seconds. Default 0: the call answers at once.
    #[param(minimum = 0, maximum = 25, example = 5)]
    wait: Option<u64>,
}

/// A challenge and its user. No answer contains the code.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user": "alice@example.com",
    "challenge": {
        "id": "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "kind": "email", "state": "open",
        "expires_at": "2026-03-01T09:40:00.000Z", "destination": "e•••@example.com", "delivery": "queued",
    },
}))]
pub(crate) struct ChallengeAnswer {
    /// Id of the user. Absent if a passkey is to name the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    challenge: ChallengeBody,
    /// Options for `navigator.credentials.get()`. Only for a new challenge of kind `passkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    webauthn: Option<WebauthnBody>,
}

/// A challenge.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct ChallengeBody {
    /// Id of the challenge.
    id: String,
    /// Kind of the factor that the challenge is for: `email` or `passkey`.
    kind: String,
    /// `open` until the challenge is answered, cancelled or has expired; then `over`.
    state: String,
    /// End of the time to answer (RFC 3339).
    #[schema(format = DateTime)]
    expires_at: String,
    /// Masked address that the code is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// State of the message: `queued`, `sent` (the mail server accepted it) or `failed` (given up because it was
    /// refused, could not be sent in time, or its challenge is over). A failed message may still have arrived, if the
    /// mail server did not say whether it accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
}

/// Begin a challenge: send a code, or ask for a passkey
///
/// For an address, queues a message with a code. It is sent within about a second if the mail server accepts it;
/// `delivery` has the state. Meanwhile the user can also verify with another factor, and `resend` sends another code.
///
/// For `passkey`, answers `webauthn.publicKey` for the browser. A user who is unknown or has no passkey gets options of
/// the same form, always the same, with credentials that do not exist.
#[utoipa::path(
    post, path = "/v1/users/{user}/challenges", tag = "challenges",
    operation_id = "begin_challenge",
    params(UserSegment, RepeatHeader),
    request_body = ChallengeRequest,
    responses((status = 201, description = "The challenge", body = ChallengeAnswer)),
    extensions(("x-problems" = json!([
        ProblemCode::Locked, ProblemCode::Disabled, ProblemCode::NotEnrolled, ProblemCode::NotFound,
    ]))),
)]
pub(crate) async fn begin(
    caller: Caller,
    User(key): User,
    Repeatable(Body(request), repeat): Repeatable<Body<ChallengeRequest>>,
    unthrottled: Unthrottled,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    if request.purpose.as_deref().is_some_and(|purpose| purpose != "verify") {
        return Err(Problem::invalid("purpose", "must be verify"));
    }
    let to = match (&request.factor, &request.kind) {
        (Some(id), None) => SendTo::from(named_factor(id)?),
        (None, Some(kind)) => match FactorKind::from_name(kind) {
            kind @ (FactorKind::Email | FactorKind::Passkey) => SendTo::from(kind),
            _ => return Err(Problem::invalid("kind", "must be email or passkey")),
        },
        (None, None) => return Err(Problem::invalid("factor", "is missing; give either factor or kind")),
        (Some(_), Some(_)) => return Err(Problem::invalid("kind", "must be left out if factor is given")),
    };
    let nonce = nonce(request.nonce.as_deref())?;
    let session = Session { proof: None, nonce: nonce.as_ref() };
    let actor = caller.actor();
    let reply = |verdict: &Verdict<BegunChallenge>| begun(&state, &key.user, verdict, StatusCode::CREATED);
    repeat
        .answer(&state, &key, &actor, reply, async |call| {
            let call = call.in_session(session);
            let begun = match accepted(&state, state.mfa.first_step(&key, &actor, to).await?)? {
                FirstStep::Code(recipient) => {
                    let charged = recipient.throttle_key();
                    state.throttling.charge_message(state.clock.now(), &key, charged, unthrottled).await?;
                    state.mfa.begin_challenge(&key, call, *recipient).await?
                }
                FirstStep::Passkey(step) => {
                    has_passkeys(&state, &caller.tenant)?;
                    state.mfa.begin_passkey(call, *step).await?
                }
                _ => return Err(ProblemCode::Internal.into()),
            };
            accepted(&state, begun).map(Verdict::Accepted)
        })
        .await
}

/// Show the state of a challenge
///
/// With `wait`, answers when the challenge changes or the time has passed. Answers at once if the challenge is over
/// or 1,000 calls are already waiting. Only the API key that began the challenge can see it.
#[utoipa::path(
    get, path = "/v1/challenges/{id}", tag = "challenges",
    operation_id = "show_challenge",
    params(ChallengeSegment, WaitParameter),
    responses((status = 200, description = "The challenge", body = ChallengeAnswer)),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn status(
    caller: Caller,
    ChallengePath(id): ChallengePath,
    query: Result<Query<WaitParameter>, actix_web::Error>,
    state: Data<State>,
    request: HttpRequest,
) -> Result<Json<ChallengeAnswer>, Problem> {
    let wait = query.map_err(|_| Problem::invalid("wait", "must be 0 to 25 seconds"))?.into_inner().wait;
    let wait = Duration::from_secs(wait.unwrap_or_default());
    if wait > MAX_WAIT {
        return Err(Problem::invalid("wait", "must be 0 to 25 seconds"));
    }
    let until = Instant::now() + wait;
    let first = find(&state, &caller.tenant, &caller.actor(), id).await?;
    // `None` if too many calls wait; the call is then answered at once.
    let mut waiter = state.waiting.enter();
    let mut now = first.clone();
    while now == first
        && first.state == ChallengeState::Open
        && Instant::now() < until
        && let Some(waiter) = &mut waiter
    {
        // A waiting call must not block other requests.
        HeldForWork::let_go(&request);
        if !waiter.until(until.min(Instant::now() + LOOK_EVERY)).await {
            break;
        }
        now = find(&state, &caller.tenant, &caller.actor(), id).await?;
    }
    Ok(Json(answer(&now, None)))
}

/// Resend the code of a challenge
///
/// Sends a new code; the previous code becomes invalid. The expiry of the challenge and its count of wrong codes do
/// not change. A challenge allows three resends by default. After that, the answer is `throttled` and no code is
/// sent; begin another challenge instead.
#[utoipa::path(
    post, path = "/v1/challenges/{id}/resend", tag = "challenges",
    operation_id = "resend_code",
    params(ChallengeSegment, RepeatHeader),
    responses((status = 202, description = "The challenge. Another code is queued for sending", body = ChallengeAnswer)),
    extensions(("x-problems" = json!([
        ProblemCode::Locked, ProblemCode::Disabled, ProblemCode::NotEnrolled, ProblemCode::AlreadyActive,
        ProblemCode::NotFound, ProblemCode::ChallengeOver,
    ]))),
)]
pub(crate) async fn resend(
    caller: Caller,
    ChallengePath(id): ChallengePath,
    Repeatable(NoBody, repeat): Repeatable<NoBody>,
    unthrottled: Unthrottled,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let actor = caller.actor();
    let found = charged(&state, &caller.tenant, &actor, id).await?;
    let key = found.owner().cloned().ok_or(ProblemCode::NotFound)?;
    let reply = |verdict: &Verdict<BegunChallenge>| begun(&state, &key.user, verdict, StatusCode::ACCEPTED);
    repeat
        .answer(&state, &key, &actor, reply, async |call| {
            let recipient = state.mfa.resend_recipient(&caller.tenant, &actor, found.clone()).await?;
            let recipient = accepted(&state, recipient)?.throttle_key();
            state.throttling.charge_message(state.clock.now(), &key, recipient, unthrottled).await?;
            accepted(&state, state.mfa.resend_challenge(&caller.tenant, call, found).await?)
                .map(Verdict::Accepted)
        })
        .await
}

/// Cancel a challenge
///
/// Its code becomes invalid. A challenge that is already over does not change, so the call can be repeated without an
/// `Idempotency-Key`.
#[utoipa::path(
    delete, path = "/v1/challenges/{id}", tag = "challenges",
    operation_id = "cancel_challenge",
    params(ChallengeSegment),
    responses((status = 204, description = "The challenge is over")),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn cancel(
    caller: Caller,
    ChallengePath(id): ChallengePath,
    Repeatable(NoBody, _): Repeatable<NoBody>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let actor = caller.actor();
    let found = charged(&state, &caller.tenant, &actor, id).await?;
    accepted(&state, state.mfa.cancel_challenge(&caller.tenant, &actor, found).await?)?;
    Ok(HttpResponse::NoContent().finish())
}

async fn find(
    state: &State,
    tenant: &TenantId,
    actor: &Actor,
    id: ChallengeId,
) -> Result<ChallengeStatus, Problem> {
    accepted(state, state.mfa.challenge(tenant, actor, id).await?)
}

/// Finds the challenge and charges the call to its owner, if it has one.
async fn charged(
    state: &State,
    tenant: &TenantId,
    actor: &Actor,
    id: ChallengeId,
) -> Result<FoundChallenge, Problem> {
    let found = accepted(state, state.mfa.find_challenge(tenant, actor, id).await?)?;
    if let Some(owner) = found.owner() {
        state.throttling.charge_user(state.clock.now(), owner).await?;
    }
    Ok(found)
}

/// The accepted value; a rejection becomes a problem.
fn accepted<T>(state: &State, verdict: Verdict<T>) -> Result<T, Problem> {
    verdict.into_result().map_err(|rejection| Problem::rejection(rejection, state.clock.now()))
}

fn begun(
    state: &State,
    user: &UserId,
    verdict: &Verdict<BegunChallenge>,
    status: StatusCode,
) -> Result<Reply, Problem> {
    match verdict {
        Verdict::Accepted(begun) => Reply::json(status, &ChallengeAnswer::of(Some(user), begun)?),
        Verdict::Rejected(rejection) => Err(Problem::rejection(*rejection, state.clock.now())),
    }
}

fn answer(status: &ChallengeStatus, destination: Option<String>) -> ChallengeAnswer {
    let user = status.user.as_ref().map(|user| user.as_str().to_owned());
    ChallengeAnswer { user, challenge: ChallengeBody::with(status, destination), webauthn: None }
}

/// Refuses passkeys where no relying party is configured.
fn has_passkeys(state: &State, tenant: &TenantId) -> Result<(), Problem> {
    if state.mfa.has_passkeys(tenant) {
        return Ok(());
    }
    Err(Problem::invalid("kind", "factors of this kind are not allowed"))
}

impl ChallengeAnswer {
    /// A challenge that was just begun.
    fn of(user: Option<&UserId>, begun: &BegunChallenge) -> Result<Self, Problem> {
        Ok(Self {
            user: user.map(|user| user.as_str().to_owned()),
            challenge: ChallengeBody::of(begun),
            webauthn: begun.options.as_deref().map(WebauthnBody::new).transpose()?,
        })
    }
}

impl ChallengeBody {
    /// A challenge that was just begun.
    pub(crate) fn of(begun: &BegunChallenge) -> Self {
        Self::with(&begun.challenge, begun.destination.clone())
    }

    /// A challenge that was just begun, and for which no message is sent.
    pub(crate) fn without_message(status: &ChallengeStatus) -> Self {
        Self::with(status, None)
    }

    fn with(status: &ChallengeStatus, destination: Option<String>) -> Self {
        Self {
            id: status.id.to_string(),
            kind: status.kind.factor_kind().to_owned(),
            state: status.state.as_str().to_owned(),
            expires_at: status.expires_at.to_string(),
            destination,
            delivery: status.delivery.map(|state| state.as_str().to_owned()),
        }
    }
}
