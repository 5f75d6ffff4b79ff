//! The layer and its service.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response, StatusCode};
use mfa_assertion::{Denied, Guard, Presented};
use tower_layer::Layer;
use tower_service::Service;

/// Puts [`RequireMfa`] around a service.
#[derive(Clone)]
pub struct RequireMfaLayer<P> {
    guard: Arc<Guard>,
    presented: P,
}

/// Calls the inner service only for requests that the guard admits.
///
/// The [`Assertion`](mfa_assertion::Assertion) is then an extension of the request. Other requests get the
/// [`Answer`](mfa_assertion::Answer) of the guard, and the reason is an extension of this response, as `Arc<Denied>`.
#[derive(Clone)]
pub struct RequireMfa<S, P> {
    inner: S,
    guard: Arc<Guard>,
    presented: P,
}

impl<P> RequireMfaLayer<P> {
    /// `presented` finds what the session of a request has kept. It gets the head of the request, with the extensions
    /// that outer layers have added, and returns `None` if nobody is logged in or the session has no assertion.
    #[must_use]
    pub fn new(guard: Guard, presented: P) -> Self
    where
        P: Fn(&Parts) -> Option<Presented>,
    {
        Self { guard: Arc::new(guard), presented }
    }
}

impl<S, P: Clone> Layer<S> for RequireMfaLayer<P> {
    type Service = RequireMfa<S, P>;

    fn layer(&self, inner: S) -> RequireMfa<S, P> {
        RequireMfa { inner, guard: Arc::clone(&self.guard), presented: self.presented.clone() }
    }
}

impl<S, P, B, R> Service<Request<B>> for RequireMfa<S, P>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    P: Fn(&Parts) -> Option<Presented>,
    B: Send + 'static,
    R: From<&'static str>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The request goes to the service that is ready, which the clone may not be.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let guard = Arc::clone(&self.guard);
        let (mut parts, body) = request.into_parts();
        let presented = (self.presented)(&parts);
        Box::pin(async move {
            match guard.admit(presented.as_ref()).await {
                Ok(assertion) => {
                    parts.extensions.insert(assertion);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(denied) => Ok(refusal(&guard, denied)),
            }
        })
    }
}

fn refusal<R: From<&'static str>>(guard: &Guard, denied: Denied) -> Response<R> {
    let answer = guard.answer(&denied);
    let mut response = Response::builder().status(answer.status).extension(Arc::new(denied));
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(R::from(answer.body)).unwrap_or_else(|_| {
        let mut response = Response::new(R::from(""));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

impl<P> fmt::Debug for RequireMfaLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireMfaLayer").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, P> fmt::Debug for RequireMfa<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireMfa")
            .field("inner", &self.inner)
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}
