//! Who calls: the API key, checked before anything else of a request is looked at.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::{self, Path};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use mfa_domain::ports::{ApiKey, Scope};
use mfa_domain::{AccountKey, Actor, FactorId, TenantId};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api_key::PlainApiKey;
use crate::problem::{Chain, Problem, ProblemCode};
use crate::state::State;
use crate::throttling::charge_stranger;
use crate::user_segment;

/// Checks the API key of every call below it.
pub(crate) async fn authenticate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match find_key(&request).await {
        Ok(key) => {
            request.extensions_mut().insert(key);
            Ok(next.call(request).await?.map_into_left_body())
        }
        Err(problem) => {
            let problem = charge_stranger(&request, problem).await;
            Ok(request.error_response(problem).map_into_right_body())
        }
    }
}

async fn find_key(request: &ServiceRequest) -> Result<ApiKey, Problem> {
    let unauthorized = || Problem::new(ProblemCode::Unauthorized);
    let state = request.app_data::<web::Data<State>>().ok_or(ProblemCode::Internal)?;
    let header = the_only(request.headers(), &AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (kind, token) = header.and_then(|value| value.split_once(' ')).ok_or_else(unauthorized)?;
    let plain = kind.eq_ignore_ascii_case("bearer").then(|| PlainApiKey::parse(token.trim())).flatten();
    let plain = plain.ok_or_else(unauthorized)?;
    let stored = state.api_keys.find(plain.id()).await.map_err(|error| {
        tracing::error!(error = %Chain(&error), "could not read the API key");
        Problem::new(ProblemCode::Unavailable)
    })?;
    let good = stored.filter(|key| key.hash == plain.hash() && key.revoked_at.is_none());
    let key = good.ok_or_else(unauthorized)?;
    state.key_uses.note(&state.api_keys, &key, state.mfa.ports().clock.now());
    Ok(key)
}

/// The value of a field that may occur once. Of two values, a proxy in front may have checked the other one.
pub(crate) fn the_only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

/// A caller whose API key has one of the scopes that `S` asks for.
pub(crate) struct Caller<S> {
    pub(crate) tenant: TenantId,
    pub(crate) is_admin: bool,
    /// The id of the key, and its name if it has one.
    key: String,
    scope: PhantomData<S>,
}

/// What an API key needs for a call.
pub(crate) trait Needs: 'static {
    /// One of these scopes.
    const SCOPES: &'static [Scope];
}

/// Any key of the tenant.
pub(crate) struct AnyScope;
/// Check codes.
pub(crate) struct Verify;
/// Change factors.
pub(crate) struct Enrol;
/// What operators do.
pub(crate) struct Admin;
/// Read the audit trail.
pub(crate) struct Audit;

impl Needs for AnyScope {
    const SCOPES: &'static [Scope] = &Scope::ALL;
}
impl Needs for Verify {
    const SCOPES: &'static [Scope] = &[Scope::Verify];
}
impl Needs for Enrol {
    const SCOPES: &'static [Scope] = &[Scope::Enrol];
}
impl Needs for Admin {
    const SCOPES: &'static [Scope] = &[Scope::Admin];
}
impl Needs for Audit {
    const SCOPES: &'static [Scope] = &[Scope::Audit];
}

impl<S> Caller<S> {
    /// For the domain: a key with the scope `admin` acts as an operator.
    pub(crate) fn actor(&self) -> Actor {
        if self.is_admin { Actor::admin(&self.key) } else { Actor::user(&self.key) }
    }
}

/// At once, so that as the first argument of a handler it refuses before a body is read.
impl<S: Needs> FromRequest for Caller<S> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        let Some(key) = extensions.get::<ApiKey>() else {
            return ready(Err(ProblemCode::Unauthorized.into()));
        };
        if !S::SCOPES.iter().any(|scope| key.scopes.contains(scope)) {
            return ready(Err(Problem::forbidden(S::SCOPES)));
        }
        ready(Ok(Self {
            tenant: key.tenant.clone(),
            is_admin: key.scopes.contains(&Scope::Admin),
            key: match &key.name {
                Some(name) => format!("api-key:{} ({name})", key.id),
                None => format!("api-key:{}", key.id),
            },
            scope: PhantomData,
        }))
    }
}

/// The account that a path names, at the caller's tenant.
pub(crate) struct User(pub(crate) AccountKey);

/// The segment of a path that names a user.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct UserSegment {
    /// The host's own id of the user, in Normalization Form C and at most 255 bytes of UTF-8; or `~` and the base64url of
    /// it, which an id needs that holds `/` or `\`, begins with `~`, or is `.` or `..`.
    #[param(
        min_length = 1,
        max_length = 341,
        pattern = r"^(~[A-Za-z0-9_-]{2,340}|(?!~|\.{1,2}$|\s)[^/\\\u0000-\u001F\u007F-\u009F\u00AD\u061C\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB]{1,255}(?<!\s))$",
        example = "alice@example.com"
    )]
    user: String,
}

impl FromRequest for User {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<ApiKey>().map(|key| (key.tenant.clone(), key.user_case));
        // `Path` decodes all of the path, `match_info` leaves `%2B` as it is.
        let path = Path::<UserSegment>::extract(request).into_inner();
        let user = path.map_err(|_| Problem::invalid("user", "must be UTF-8"));
        let Some((tenant, case)) = caller else { return ready(Err(ProblemCode::Unauthorized.into())) };
        let user = user.and_then(|path| user_segment::read(&path.user));
        let user = user.and_then(|id| case.id(id).map_err(|error| Problem::invalid("user", error)));
        ready(user.map(|user| Self(AccountKey::new(tenant, user))))
    }
}

/// The factor that a path names. An id that nobody gave out is not there.
pub(crate) struct FactorPath(pub(crate) FactorId);

/// The segment of a path that names a factor.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FactorSegment {
    /// The id of the factor.
    #[param(example = "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21")]
    id: String,
}

impl FromRequest for FactorPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let path = Path::<FactorSegment>::extract(request).into_inner();
        let id = path.ok().and_then(|path| path.id.parse().ok());
        ready(id.map(Self).ok_or_else(|| ProblemCode::NotFound.into()))
    }
}
