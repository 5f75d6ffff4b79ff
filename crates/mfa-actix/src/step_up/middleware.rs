//! The middleware.

use std::fmt;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::EitherBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, HttpMessage, HttpRequest};
use futures_util::future::LocalBoxFuture;
use mfa_assertion::{Guard, Presented};

use super::refusal;

/// Middleware that lets a request pass only if the guard admits it.
///
/// The [`Assertion`](mfa_assertion::Assertion) is then an extension of the request, which handlers take as
/// [`ReqData`](actix_web::web::ReqData). Other requests get the [`Answer`](mfa_assertion::Answer) of the guard, and the
/// reason is an extension of this response, as `Arc<Denied>`.
#[derive(Clone)]
pub struct RequireMfa<P> {
    guard: Arc<Guard>,
    presented: P,
}

/// A service with [`RequireMfa`] around it.
pub struct Guarded<S, P> {
    service: Rc<S>,
    guard: Arc<Guard>,
    presented: P,
}

impl<P> RequireMfa<P> {
    /// `presented` finds what the session of a request has kept. It returns `None` if nobody is logged in or the
    /// session has no assertion.
    #[must_use]
    pub fn new(guard: Guard, presented: P) -> Self
    where
        P: Fn(&HttpRequest) -> Option<Presented>,
    {
        Self { guard: Arc::new(guard), presented }
    }
}

impl<S, B, P> Transform<S, ServiceRequest> for RequireMfa<P>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
    P: Fn(&HttpRequest) -> Option<Presented> + Clone,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = Guarded<S, P>;
    type InitError = ();
    type Future = Ready<Result<Guarded<S, P>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let Self { guard, presented } = self.clone();
        ready(Ok(Guarded { service: Rc::new(service), guard, presented }))
    }
}

impl<S, B, P> Service<ServiceRequest> for Guarded<S, P>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
    P: Fn(&HttpRequest) -> Option<Presented>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<ServiceResponse<EitherBody<B>>, Error>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let service = Rc::clone(&self.service);
        let guard = Arc::clone(&self.guard);
        let presented = (self.presented)(request.request());
        Box::pin(async move {
            match guard.admit(presented.as_ref()).await {
                Ok(assertion) => {
                    request.extensions_mut().insert(assertion);
                    Ok(service.call(request).await?.map_into_left_body())
                }
                Err(denied) => {
                    let refusal = refusal(&guard, Arc::new(denied));
                    Ok(request.into_response(refusal).map_into_right_body())
                }
            }
        })
    }
}

impl<P> fmt::Debug for RequireMfa<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireMfa").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl<S, P> fmt::Debug for Guarded<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("guard", &self.guard).finish_non_exhaustive()
    }
}
