//! Calls that can be repeated: `Idempotency-Key`.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, HeaderName};
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use mfa_domain::account::{CallId, Session};
use mfa_domain::mfa::{self, Call, Earlier, Keep};
use mfa_domain::ports::ApiKey;
use mfa_domain::{AccountKey, Actor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use zeroize::Zeroizing;

use crate::body::{Read, body};
use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// The name of the header.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// The name of the header in problems and in the OpenAPI document.
const NAME: &str = "Idempotency-Key";

/// The longest key, in bytes.
const LONGEST: usize = 64;

/// The header, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct RepeatHeader {
    /// New key for each call, such as a UUID. If the answer is lost, repeat the call with the same key and body: for
    /// 24 hours you get the same answer, and nothing changes. An answer with a secret or backup codes is kept for 10
    /// minutes only, and not after a factor of the user was confirmed, imported or removed, or the user reset or
    /// erased.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 64,
        pattern = "^[!-~]+$",
        example = "b7f1d5a2-6c0e-4a53-9a55-0d7b1f0a2c11"
    )]
    #[expect(dead_code, reason = "only for the OpenAPI document")]
    key: Option<String>,
}

/// The body of a call that changes something, with its idempotency key.
pub(crate) struct Repeatable<B>(pub(crate) B, pub(crate) Repeat);

/// A call, with its id and body if it has an idempotency key.
pub(crate) struct Repeat(Option<(CallId, Bytes)>);

/// A successful answer, as it is sent and stored.
pub(crate) struct Reply {
    status: StatusCode,
    body: Zeroizing<Vec<u8>>,
    secret: bool,
}

impl<B: Read + 'static> FromRequest for Repeatable<B> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let call = call(request);
        let body = body(request, payload);
        Box::pin(async move {
            let (body, bytes) = body.await?;
            Ok(Self(body, Repeat(call?.map(|call| (call, bytes)))))
        })
    }
}

impl Repeat {
    /// Makes a change and answers it. A repeated call gets the stored answer instead.
    pub(crate) async fn answer<T, E>(
        self,
        state: &State,
        account: &AccountKey,
        actor: &Actor,
        reply: impl Fn(&T) -> Result<Reply, Problem> + Sync,
        change: impl AsyncFnOnce(Call<'_, T>) -> Result<T, E>,
    ) -> Result<HttpResponse, Problem>
    where
        Problem: From<E>,
    {
        self.answer_as(state, account, actor, reply, Ok, change).await
    }

    /// Like [`answer`](Self::answer), but stores the answer of `reply` and sends what `shown` makes of it.
    pub(crate) async fn answer_as<T, E>(
        self,
        state: &State,
        account: &AccountKey,
        actor: &Actor,
        reply: impl Fn(&T) -> Result<Reply, Problem> + Sync,
        shown: impl Fn(Reply) -> Result<Reply, Problem>,
        change: impl AsyncFnOnce(Call<'_, T>) -> Result<T, E>,
    ) -> Result<HttpResponse, Problem>
    where
        Problem: From<E>,
    {
        // Refusals are not stored: the repeated call may succeed.
        let kept = |answer: &T| reply(answer).ok().map(Reply::into_kept);
        let keep = match &self.0 {
            None => None,
            Some((call, request)) => match state.mfa.earlier(account, *call, request).await? {
                Earlier::Nothing => Some(Keep { call: *call, request, reply: &kept }),
                Earlier::Answered(bytes) => {
                    return Reply::of_kept(&bytes).and_then(shown).map(Reply::into_response);
                }
                Earlier::AskedOtherwise => {
                    return Err(Problem::invalid(NAME, "was already used with another body"));
                }
            },
        };
        let answer = change(Call { actor, session: Session::default(), keep }).await?;
        Ok(shown(reply(&answer)?)?.into_response())
    }
}

impl Reply {
    /// An answer in JSON.
    pub(crate) fn json(status: StatusCode, answer: &impl Serialize) -> Result<Self, Problem> {
        Self { status, ..Self::done() }.with(answer)
    }

    /// Replaces the answer with another one in JSON.
    pub(crate) fn with(self, answer: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(answer).map_err(|_| ProblemCode::Internal)?;
        Ok(Self { body: Zeroizing::new(body), ..self })
    }

    /// Parses the answer as JSON.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|_| ProblemCode::Internal.into())
    }

    /// An answer without a body: 204.
    pub(crate) fn done() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: Zeroizing::default(), secret: false }
    }

    /// Marks the answer as containing a secret or backup codes.
    pub(crate) fn with_secret(self) -> Self {
        Self { secret: true, ..self }
    }

    fn into_response(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if self.body.is_empty() {
            return response.finish();
        }
        response.insert_header(ContentType::json()).body(self.body.to_vec())
    }

    fn into_kept(self) -> mfa::Reply {
        let bytes = [self.status.as_u16().to_be_bytes().as_slice(), &self.body].concat();
        mfa::Reply { bytes: Zeroizing::new(bytes), secret: self.secret }
    }

    fn of_kept(bytes: &[u8]) -> Result<Self, Problem> {
        let (status, body) = bytes.split_first_chunk().ok_or(ProblemCode::Internal)?;
        let status = StatusCode::from_u16(u16::from_be_bytes(*status)).map_err(|_| ProblemCode::Internal)?;
        Ok(Self { status, body: Zeroizing::new(body.to_vec()), secret: false })
    }
}

/// The id of a call: API key, route and idempotency key. The account is not part of it, since each account stores its
/// own answers.
fn call(request: &HttpRequest) -> Result<Option<CallId>, Problem> {
    let Some(key) = key(request)? else { return Ok(None) };
    let extensions = request.extensions();
    let caller = extensions.get::<ApiKey>().ok_or(ProblemCode::Unauthorized)?;
    let route = request.match_pattern().unwrap_or_default();
    let factor = request.match_info().get("id").unwrap_or_default();
    Ok(Some(CallId::of(&[caller.id.as_str(), request.method().as_str(), &route, factor, key])))
}

fn key(request: &HttpRequest) -> Result<Option<&str>, Problem> {
    let mut values = request.headers().get_all(&HEADER);
    let Some(value) = values.next() else { return Ok(None) };
    let key = str::from_utf8(value.as_bytes())
        .ok()
        .filter(|key| (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::invalid(NAME, "must appear once and have 1 to 64 visible ASCII characters")),
    }
}

/// Refuses an idempotency key on a call that answers a verdict, since a repeated verdict could let two people in, and on
/// one that belongs to no account.
pub(crate) fn refuse_key(request: &HttpRequest) -> Result<(), Problem> {
    if request.headers().contains_key(&HEADER) {
        return Err(Problem::invalid(NAME, "must be left out of this call"));
    }
    Ok(())
}
