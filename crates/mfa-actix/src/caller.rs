//! The caller, and the user, factor or challenge that a path names.

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

/// The value of a header that must not be repeated. Of two values, a proxy in front may have checked the other one.
pub(crate) fn the_only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

/// The caller: the owner of an API key with one of the scopes that the route needs.
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    pub(crate) is_admin: bool,
    /// The id of the key, with its name if it has one.
    key: String,
}

impl Caller {
    /// The actor for the audit trail. A key with the scope `admin` acts as an operator.
    pub(crate) fn actor(&self) -> Actor {
        if self.is_admin { Actor::admin(&self.key) } else { Actor::user(&self.key) }
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        // The guard of the route refuses requests without a key.
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

/// The account that a path names, in the caller's tenant.
pub(crate) struct User(pub(crate) AccountKey);

/// The path segment that names a user.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct UserSegment {
    /// Your application's id of the user, percent-encoded: 1 to 255 bytes of UTF-8 in Normalization Form C. Write an
    /// id that contains `/` or `\`, begins with `~`, or is `.` or `..` as `~` and its unpadded base64url.
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
        // `Path` decodes the whole path; `match_info` does not decode `%2B`.
        let path = Path::<UserSegment>::extract(request).into_inner();
        let user = path.map_err(|_| Problem::invalid("user", "must be UTF-8"));
        let Some((tenant, case)) = caller else { return ready(Err(ProblemCode::Internal.into())) };
        let user = user.and_then(|path| user_segment::read(&path.user));
        let user = user.and_then(|id| case.id(id).map_err(|error| Problem::invalid("user", error)));
        ready(user.map(|user| Self(AccountKey::new(tenant, user))))
    }
}

/// The factor that a path names. Any text that is no id answers `not-found`, like an unknown id.
pub(crate) struct FactorPath(pub(crate) FactorId);

/// The path segment that names a factor.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FactorSegment {
    /// Id of the factor.
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

/// The challenge that a path names. Any text that is no id answers `not-found`, like an unknown id.
pub(crate) struct ChallengePath(pub(crate) ChallengeId);

/// The path segment that names a challenge.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ChallengeSegment {
    /// Id of the challenge.
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
