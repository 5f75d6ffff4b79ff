//! Step-up for the routes of any actix-web application (RFC 9470).

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use mfa_assertion::{Denied, Guard};

use crate::chain::Chain;

mod extractor;
mod middleware;

pub use extractor::{Demand, MfaSessions, VerifiedMfa};
pub use middleware::RequireMfa;

/// The answer to a request that the guard has denied.
fn refusal(guard: &Guard, denied: Arc<Denied>) -> HttpResponse {
    if denied.is_undecided() {
        tracing::error!(error = %Chain(&*denied), "could not check the assertion of a session");
    }
    let answer = guard.answer(&denied);
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for header in answer.headers {
        response.insert_header(header);
    }
    let mut response = response.body(answer.body);
    response.extensions_mut().insert(denied);
    response
}
