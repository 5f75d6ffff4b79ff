//! The extractor: a handler that takes it states what it demands.

use std::fmt;
use std::future::ready;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::error::InternalError;
use actix_web::{Error, FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use mfa_assertion::{Assertion, Guard, Presented, StepUp};

use super::refusal;
use crate::problem::{Problem, ProblemCode};

/// Finds what the session of a request has kept.
type Sessions = dyn Fn(&HttpRequest) -> Option<Presented> + Send + Sync;

/// What handlers that take [`VerifiedMfa`] need to check a session. Add it with `app_data` to the application, a scope
/// or a resource; of several, the innermost counts. Clones share the fetched keys and the used assertions.
#[derive(Clone)]
pub struct MfaSessions {
    guard: Guard,
    presented: Arc<Sessions>,
}

/// What a handler demands of the verification of its session. See [`VerifiedMfa`].
pub trait Demand: 'static {
    /// How recent and how strong the verification must be.
    fn step_up() -> StepUp;
}

/// The assertion of a session whose verification meets the demand `D`. A handler that takes it needs no middleware.
///
/// The check is that of [`RequireMfa`](crate::RequireMfa): the [`Guard`] of [`MfaSessions`] decides, but by the
/// [`StepUp`] of `D` in place of its own. Requests that it denies get the same answers, and the handler does not run.
/// Without [`MfaSessions`], every request gets 500.
///
/// With [`Guard::used_once`], the assertion is used up even if another argument of the handler is then refused, such as
/// the body. So take it once, and not behind a [`RequireMfa`](crate::RequireMfa) with the same store.
///
/// ```
/// use std::time::Duration;
///
/// use mfa_actix::mfa_assertion::StepUp;
/// use mfa_actix::{Demand, VerifiedMfa};
///
/// /// To pay: within two minutes, and resistant to phishing.
/// struct Payment;
///
/// impl Demand for Payment {
///     fn step_up() -> StepUp {
///         StepUp::new().max_age(Duration::from_secs(120)).phishing_resistant()
///     }
/// }
///
/// async fn pay(verified: VerifiedMfa<Payment>) -> String {
///     format!("{} was verified by {:?}", verified.subject, verified.methods)
/// }
/// ```
pub struct VerifiedMfa<D> {
    assertion: Assertion,
    demand: PhantomData<fn() -> D>,
}

impl MfaSessions {
    /// `presented` finds what the session of a request has kept. It returns `None` if nobody is logged in or the
    /// session has no assertion.
    #[must_use]
    pub fn new<P>(guard: Guard, presented: P) -> Self
    where
        P: Fn(&HttpRequest) -> Option<Presented> + Send + Sync + 'static,
    {
        Self { guard, presented: Arc::new(presented) }
    }
}

impl<D> VerifiedMfa<D> {
    /// The assertion.
    #[must_use]
    pub fn into_inner(self) -> Assertion {
        self.assertion
    }
}

impl<D> Deref for VerifiedMfa<D> {
    type Target = Assertion;

    fn deref(&self) -> &Assertion {
        &self.assertion
    }
}

impl<D: Demand> FromRequest for VerifiedMfa<D> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(sessions) = request.app_data::<MfaSessions>() else {
            tracing::error!("a handler takes VerifiedMfa, but its application has no MfaSessions");
            return Box::pin(ready(Err(Error::from(Problem::new(ProblemCode::Internal)))));
        };
        let guard = sessions.guard.clone().step_up(D::step_up());
        let presented = (sessions.presented)(request);
        Box::pin(async move {
            match guard.admit(presented.as_ref()).await {
                Ok(assertion) => Ok(Self { assertion, demand: PhantomData }),
                Err(denied) => {
                    let denied = Arc::new(denied);
                    let response = refusal(&guard, Arc::clone(&denied));
                    Err(Error::from(InternalError::from_response(denied, response)))
                }
            }
        })
    }
}

impl fmt::Debug for MfaSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MfaSessions").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl<D> fmt::Debug for VerifiedMfa<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifiedMfa").field(&self.assertion).finish()
    }
}
