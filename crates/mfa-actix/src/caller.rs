//! Who calls, and whom and what a path names.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Path;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use mfa_domain::ports::{ApiKey, Scope};
use mfa_domain::{AccountKey, Actor, ChallengeId, FactorId, TenantId};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::{Problem, ProblemCode};
use crate::user_segment;

/// The value of a field that may occur once. Of two values, a proxy in front may have checked the other one.
pub(crate) fn the_only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

/// Who calls: whose API key it is, which has one of the scopes that the route asks for.
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    pub(crate) is_admin: bool,
    /// The id of the key, and its name if it has one.
    key: String,
}

impl Caller {
    /// For the domain: a key with the scope `admin` acts as an operator.
    pub(crate) fn actor(&self) -> Actor {
        if self.is_admin { Actor::admin(&self.key) } else { Actor::user(&self.key) }
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        // The guard of the route has let nobody in without one.
        let Some(key) = extensions.get::<ApiKey>() else { return ready(Err(ProblemCode::Internal.into())) };
        ready(Ok(Self {
            tenant: key.tenant.clone(),
            is_admin: key.scopes.contains(&Scope::Admin),
            key: match &key.name {
                Some(name) => format!("api-key:{} ({name})", key.id),
                None => format!("api-key:{}", key.id),
            },
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
        let Some((tenant, case)) = caller else { return ready(Err(ProblemCode::Internal.into())) };
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

/// The challenge that a path names. An id that nobody gave out is not there.
pub(crate) struct ChallengePath(pub(crate) ChallengeId);

/// The segment of a path that names a challenge.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ChallengeSegment {
    /// The id of the challenge.
    #[param(example = "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5")]
    id: String,
}

impl FromRequest for ChallengePath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let path = Path::<ChallengeSegment>::extract(request).into_inner();
        let id = path.ok().and_then(|path| path.id.parse().ok());
        ready(id.map(Self).ok_or_else(|| ProblemCode::NotFound.into()))
    }
}
