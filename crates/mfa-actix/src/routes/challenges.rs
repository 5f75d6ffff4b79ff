//! `/v1/users/{user}/challenges` and `/v1/challenges/{id}`

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Query};
use actix_web::{HttpRequest, HttpResponse};
use mfa_domain::mfa::{BegunChallenge, ChallengeStatus, FoundChallenge, SendTo};
use mfa_domain::{
    Actor, ChallengeId, ChallengeState, FactorKind, Purpose, SentCode, TenantId, UserId, Verdict,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{OneOfBuilder, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use zeroize::Zeroizing;

use super::Unthrottled;
use super::verify::{VerifiedAnswer, count, named_factor};
use crate::body::{Body, NoBody};
use crate::caller::{Caller, ChallengePath, ChallengeSegment, User, UserSegment};
use crate::envelope::HeldForWork;
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::repeat::{RepeatHeader, Repeatable, Reply};
use crate::state::State;

/// The longest that a call waits for a change.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(25);

/// How often a call that waits looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What to begin: either `factor` or `kind`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChallengeRequest {
    /// The factor that is to answer it.
    factor: Option<String>,
    /// In its place: the first active factor of that kind.
    kind: Option<String>,
    /// What an answer is good for; `verify` if nothing is said.
    purpose: Option<String>,
}

impl PartialSchema for ChallengeRequest {
    fn schema() -> RefOr<Schema> {
        let purpose = || texts::word("verify", "What an answer is good for: `verify`, the default.");
        let kind = texts::word("email", "The first active factor of that kind: `email`.");
        let either = OneOfBuilder::new()
            .item(texts::only("factor", texts::factor()).property("purpose", purpose()))
            .item(texts::only("kind", kind).property("purpose", purpose()));
        either.description(Some("What to begin: either `factor` or `kind`.")).into()
    }
}

impl ToSchema for ChallengeRequest {}

/// The code that was sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerRequest {
    #[schema(schema_with = texts::sent_code)]
    code: Zeroizing<String>,
}

/// How long to wait for a change.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitParameter {
    /// Answer once something changes, or after so many seconds.
    #[param(minimum = 0, maximum = 25, example = 5)]
    wait: Option<u64>,
}

/// A challenge. The code that answers it is in no answer.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user": "alice@example.com",
    "challenge": {
        "id": "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "kind": "email", "state": "open",
        "expires_at": "2026-03-01T09:40:00.000Z", "destination": "e•••@example.com", "delivery": "queued",
    },
}))]
pub(crate) struct ChallengeAnswer {
    /// Whose it is.
    user: String,
    challenge: ChallengeBody,
}

/// A challenge.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct ChallengeBody {
    /// Its id, to answer it by.
    id: String,
    /// The kind of factor that answers it.
    kind: String,
    /// `open` until it is answered or cancelled or has expired, then `over`.
    state: String,
    /// When it is too late for an answer (RFC 3339).
    #[schema(format = DateTime)]
    expires_at: String,
    /// Where its code is sent, masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// Whether the mail server took the message: `queued`, `sent` or `failed`. A failed one was given up: refused, not sent
    /// in time, or of a challenge that is over. It may have arrived all the same where the mail server did not say whether
    /// it took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
}

/// Send a code
///
/// To the address of an active factor. It is queued, and sent within a second where the mail server takes it; `delivery`
/// tells. Until then and after it, `resend` and a login with another factor are open.
#[utoipa::path(
    post, path = "/v1/users/{user}/challenges", tag = "challenges",
    operation_id = "begin_challenge",
    params(UserSegment, RepeatHeader),
    request_body = ChallengeRequest,
    responses((status = 201, description = "The challenge; its code is on its way", body = ChallengeAnswer)),
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
        (None, Some(kind)) if FactorKind::from_name(kind) == FactorKind::Email => FactorKind::Email.into(),
        (None, Some(_)) => return Err(Problem::invalid("kind", "must be email")),
        (None, None) => return Err(Problem::invalid("factor", "is missing; or kind in its place")),
        (Some(_), Some(_)) => return Err(Problem::invalid("kind", "belongs in the place of factor")),
    };
    let actor = caller.actor();
    let reply = |verdict: &Verdict<BegunChallenge>| begun(&state, &key.user, verdict, StatusCode::CREATED);
    repeat
        .answer(&state, &key, &actor, reply, async |call| {
            let recipient = state.mfa.recipient(&key, &actor, to, Purpose::Verify).await?;
            let recipient = accepted(&state, recipient)?;
            let charged = recipient.throttle_key();
            state.throttling.charge_message(state.clock.now(), &key, charged, unthrottled).await?;
            accepted(&state, state.mfa.begin_challenge(&key, call, recipient).await?).map(Verdict::Accepted)
        })
        .await
}

/// How far a challenge is
///
/// With `wait`, once it changes or that time has passed; at once if the challenge is over, or if very many calls wait. Only
/// the API key that began a challenge sees it.
#[utoipa::path(
    get, path = "/v1/challenges/{id}", tag = "challenges",
    operation_id = "show_challenge",
    params(ChallengeSegment, WaitParameter),
    responses((status = 200, description = "How far it is", body = ChallengeAnswer)),
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
    // Who comes when so many wait is answered at once.
    let mut waiter = state.waiting.enter();
    let mut now = first.clone();
    while now == first
        && first.state == ChallengeState::Open
        && Instant::now() < until
        && let Some(waiter) = &mut waiter
    {
        // Others do not wait with it.
        HeldForWork::let_go(&request);
        if !waiter.until(until.min(Instant::now() + LOOK_EVERY)).await {
            break;
        }
        now = find(&state, &caller.tenant, &caller.actor(), id).await?;
    }
    Ok(Json(answer(&now, None)))
}

/// Check the code that was sent
///
/// However often one right code is posted at the same time, one call is answered with 200. A wrong one costs an attempt of
/// the user, and too many of them end the challenge: by default five. A code with another number of digits than was sent
/// is a wrong one; with fewer than 6 or more than 10 it is malformed, and costs nothing.
#[utoipa::path(
    post, path = "/v1/challenges/{id}/verify", tag = "challenges",
    operation_id = "answer_challenge",
    params(ChallengeSegment),
    request_body = AnswerRequest,
    responses((status = 200, description = "The code was right, and is used up", body = VerifiedAnswer)),
    extensions(("x-problems" = json!([
        ProblemCode::MalformedCode, ProblemCode::InvalidCode, ProblemCode::Locked, ProblemCode::Disabled,
        ProblemCode::NotEnrolled, ProblemCode::NotFound, ProblemCode::ChallengeOver,
    ]))),
)]
pub(crate) async fn verify(
    caller: Caller,
    ChallengePath(id): ChallengePath,
    Body(request): Body<AnswerRequest>,
    state: Data<State>,
) -> Result<Json<VerifiedAnswer>, Problem> {
    let code = SentCode::parse(&request.code).map_err(|_| ProblemCode::MalformedCode)?;
    let actor = caller.actor();
    let found = charged(&state, &caller.tenant, &actor, id).await?;
    let user = found.owner().user.clone();
    match state.mfa.answer_challenge(&caller.tenant, &actor, found, &code).await? {
        Verdict::Accepted(verified) => {
            count("verified");
            Ok(Json(VerifiedAnswer::new(&user, &verified)))
        }
        Verdict::Rejected(rejection) => {
            let problem = Problem::rejection(rejection, state.clock.now());
            count(problem.code().as_str());
            Err(problem)
        }
    }
}

/// Send another code
///
/// The one before is dead. The time of the challenge and its wrong answers stay as they are. A challenge
/// has no more than a few of them, by default three. After that the call is `throttled` and sends nothing; another
/// challenge can be begun.
#[utoipa::path(
    post, path = "/v1/challenges/{id}/resend", tag = "challenges",
    operation_id = "resend_code",
    params(ChallengeSegment, RepeatHeader),
    responses((status = 202, description = "Another code is on its way", body = ChallengeAnswer)),
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
    let key = charged(&state, &caller.tenant, &actor, id).await?.owner().clone();
    let reply = |verdict: &Verdict<BegunChallenge>| begun(&state, &key.user, verdict, StatusCode::ACCEPTED);
    repeat
        .answer(&state, &key, &actor, reply, async |call| {
            let recipient = state.mfa.resend_recipient(&caller.tenant, &actor, id).await?;
            let recipient = accepted(&state, recipient)?.throttle_key();
            state.throttling.charge_message(state.clock.now(), &key, recipient, unthrottled).await?;
            accepted(&state, state.mfa.resend_challenge(&caller.tenant, call, id).await?)
                .map(Verdict::Accepted)
        })
        .await
}

/// Cancel a challenge
///
/// Its code answers nothing any more. A challenge that is over already stays as it is, so the call can be sent again without
/// an `Idempotency-Key`.
#[utoipa::path(
    delete, path = "/v1/challenges/{id}", tag = "challenges",
    operation_id = "cancel_challenge",
    params(ChallengeSegment),
    responses((status = 204, description = "It is over")),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn cancel(
    caller: Caller,
    ChallengePath(id): ChallengePath,
    Repeatable(NoBody, _): Repeatable<NoBody>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let actor = caller.actor();
    charged(&state, &caller.tenant, &actor, id).await?;
    accepted(&state, state.mfa.cancel_challenge(&caller.tenant, &actor, id).await?)?;
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

/// The challenge, once its owner was charged for the call.
async fn charged(
    state: &State,
    tenant: &TenantId,
    actor: &Actor,
    id: ChallengeId,
) -> Result<FoundChallenge, Problem> {
    let found = accepted(state, state.mfa.find_challenge(tenant, actor, id).await?)?;
    state.throttling.charge_user(state.clock.now(), found.owner()).await?;
    Ok(found)
}

/// What was accepted; what was not is a problem.
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
        Verdict::Accepted(begun) => {
            let user = user.as_str().to_owned();
            Reply::json(status, &ChallengeAnswer { user, challenge: ChallengeBody::of(begun) })
        }
        Verdict::Rejected(rejection) => Err(Problem::rejection(*rejection, state.clock.now())),
    }
}

fn answer(status: &ChallengeStatus, destination: Option<String>) -> ChallengeAnswer {
    let user = status.user.as_ref().map(|user| user.as_str().to_owned()).unwrap_or_default();
    ChallengeAnswer { user, challenge: ChallengeBody::with(status, destination) }
}

impl ChallengeBody {
    /// A challenge that was just made.
    pub(crate) fn of(begun: &BegunChallenge) -> Self {
        Self::with(&begun.challenge, Some(begun.destination.clone()))
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
