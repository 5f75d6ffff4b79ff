//! The outermost layer of every request: request id, span, metrics, and problems as bodies.

use std::any::Any;
use std::fmt;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use tracing::Instrument;
use uuid::Uuid;

use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// A resource that a server holds while it works on a request, such as a permit that other requests wait for. Put it
/// into the [extensions](actix_web::HttpMessage::extensions_mut) of the request. It is dropped when the answer is
/// ready or the request begins to wait, so before the delay of a refusal.
pub struct HeldForWork(#[expect(dead_code, reason = "held only to be dropped")] Box<dyn Any>);

impl HeldForWork {
    /// Wraps a resource.
    pub fn new(held: impl Any) -> Self {
        Self(Box::new(held))
    }

    /// Drops the resource of a request. The request does no more work that others must wait for.
    pub(crate) fn let_go(request: &HttpRequest) {
        drop(request.extensions_mut().remove::<Self>());
    }
}

impl fmt::Debug for HeldForWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldForWork").finish_non_exhaustive()
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps every route. Logs the pattern of the route, but no path, query, header or body, since these may contain
/// personal data or secrets.
pub(crate) async fn envelope(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let random = random();
    let id = random.simple().to_string();
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let method = known(request.method());
    let state = request.app_data::<Data<State>>().cloned();
    let span = tracing::info_span!("request", id, method, route);
    let started = started();

    let work = next.call(request).instrument(span.clone());
    let mut answered = match work.await {
        Ok(response) => {
            let (request, response) = response.into_parts();
            Ok(ServiceResponse::new(request, finished(response.map_into_boxed_body(), &id)))
        }
        // The request is gone; the error contains a whole response.
        Err(error) => Err(finished(error.error_response(), &id)),
    };

    let seconds = started.elapsed().as_secs_f64();
    let status = answered.as_ref().map_or_else(HttpResponse::status, ServiceResponse::status);
    metrics::histogram!("mfa_http_request_seconds", "route" => route.clone()).record(seconds);
    count(method, route, status);
    span.in_scope(|| tracing::info!(status = status.as_u16(), seconds, "answered"));
    // The work is done and counted. Other requests must not wait for the delay below.
    if let Ok(answered) = &answered {
        HeldForWork::let_go(answered.request());
    }
    let response = answered.as_mut().map_or_else(|response| response, ServiceResponse::response_mut);
    let refused = response.extensions().get::<Problem>().map(Problem::code);
    if let Some((state, problem)) = state.zip(refused)
        && let Some(delay) = state.throttling.delay_of(problem)
    {
        // Pipelined requests on the same connection must not wait too.
        response.head_mut().set_connection_type(ConnectionType::Close);
        // Randomised, so that clients refused together do not retry together.
        tokio::time::sleep(delay.mul_f64(0.5 + fraction(random))).await;
    }
    answered.map_err(|response| InternalError::from_response("not answered by a handler", response).into())
}

/// Answers a request that could not be read, for a server that reads requests itself. The request is counted and
/// logged like others, with the route `unreadable`.
#[must_use]
pub fn unreadable(problem: ProblemCode) -> HttpResponse {
    let id = random().simple().to_string();
    count("other", "unreadable".to_owned(), problem.status());
    tracing::info!(id, status = problem.status().as_u16(), "could not read a request");
    finished(Problem::new(problem).error_response(), &id)
}

fn count(method: &'static str, route: String, status: StatusCode) {
    let status = status.as_str().to_owned();
    metrics::counter!("mfa_http_requests_total", "method" => method, "route" => route, "status" => status)
        .increment(1);
}

/// The method as a metric label. Unknown methods become `other`, so that clients cannot create metrics without limit.
const fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// Adds the request id to a response, and the problem as the body of an error. An error of the framework gets the
/// problem of its status.
fn finished(mut response: HttpResponse<BoxBody>, id: &str) -> HttpResponse<BoxBody> {
    if response.status().is_client_error() || response.status().is_server_error() {
        let problem = response.extensions().get::<Problem>().cloned();
        let problem = problem.unwrap_or_else(|| Problem::of_status(response.status()));
        *response.status_mut() = problem.code().status();
        let body = serde_json::to_vec(&problem.body(id)).unwrap_or_default();
        response = response.set_body(BoxBody::new(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if problem.code() == ProblemCode::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = problem.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    // Most answers contain secrets, or state that changes at any time.
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[expect(clippy::disallowed_methods, reason = "an id for logs, not a secret")]
fn random() -> Uuid {
    Uuid::new_v4()
}

/// A number from 0 to 1.
fn fraction(random: Uuid) -> f64 {
    // The last four bytes of a version 4 UUID are random.
    let [.., a, b, c, d] = *random.as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

#[expect(clippy::disallowed_methods, reason = "a duration, not a point in time")]
fn started() -> Instant {
    Instant::now()
}
