//! What needs no API key: health, metrics, the description of the API.

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use actix_web::web::{Data, Json, Path};
use serde::Serialize;
use utoipa::ToSchema;

use crate::dependencies::Dependencies;
use crate::problem::{Problem, ProblemBody, ProblemCode};
use crate::state::State;

/// Whether the process is there
#[utoipa::path(
    get, path = "/healthz", tag = "operation",
    operation_id = "show_health",
    responses((
        status = 200, description = "The process is there", content_type = "text/plain", body = String,
        example = "ok\n",
    )),
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether it can work
///
/// 503 while a store or a key is missing, and for ten seconds after the latest change could not be stored. Each dependency
/// is told of; one that only limits how often somebody may call can fail without that.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    operation_id = "show_readiness",
    responses(
        (status = 200, description = "Codes can be checked", body = ReadyBody),
        (
            status = 503, description = "Codes cannot be checked; `dependencies` says why",
            body = ProblemBody, content_type = "application/problem+json",
            example = json!(not_ready_example()),
        ),
    ),
)]
pub(crate) async fn readyz(state: Data<State>) -> Result<Json<ReadyBody>, Problem> {
    // Before the request itself runs out of time.
    let dependencies = state.readiness.check(state.request_timeout / 2).await;
    if dependencies.suffice() {
        return Ok(Json(ReadyBody { status: "ready", dependencies }));
    }
    Err(Problem::not_ready(dependencies))
}

fn not_ready_example() -> serde_json::Value {
    Problem::not_ready(Dependencies::EXAMPLE).example()
}

/// Codes can be checked.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "status": "ready", "dependencies": Dependencies::EXAMPLE }))]
pub(crate) struct ReadyBody {
    /// Always `ready`: anything else is a problem.
    #[schema(example = "ready")]
    status: &'static str,
    dependencies: Dependencies,
}

/// Metrics in the text format of Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    operation_id = "show_metrics",
    responses((
        status = 200, description = "The metrics", content_type = "text/plain", body = String,
        example = "mfa_verifications_total{result=\"verified\"} 1\n",
    )),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn metrics(state: Data<State>) -> Result<HttpResponse, Problem> {
    let page = state.metrics.as_ref().ok_or(ProblemCode::NotFound)?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(page.bytes()))
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation",
    operation_id = "show_openapi",
    responses((
        status = 200, description = "This document", content_type = "application/json", body = Object,
        example = json!({ "openapi": "3.1.0" }),
    )),
)]
pub(crate) async fn openapi(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(state.document.clone())
}

/// What a problem code means
#[utoipa::path(
    get, path = "/problems/{code}", tag = "operation",
    operation_id = "show_problem",
    params(("code" = String, Path, description = "The last segment of a problem's type", example = "not-found")),
    responses((
        status = 200, description = "A sentence about the code", content_type = "text/plain", body = String,
        example = "not-found (404 Not Found): Not there.\n",
    )),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn problem(code: Path<String>) -> Result<String, Problem> {
    let code = ProblemCode::ALL.into_iter().find(|known| known.as_str() == *code);
    let code = code.ok_or(ProblemCode::NotFound)?;
    Ok(format!("{} ({}): {}.\n", code.as_str(), code.status(), code.title()))
}
