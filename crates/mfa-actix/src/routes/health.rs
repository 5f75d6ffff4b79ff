//! Calls without an API key: health, metrics, the OpenAPI document.

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use actix_web::web::{Data, Json, Path};
use serde::Serialize;
use utoipa::ToSchema;

use crate::dependencies::Dependencies;
use crate::problem::{Problem, ProblemBody, ProblemCode};
use crate::state::State;

/// Check liveness
///
/// Answers 200 while the process runs.
#[utoipa::path(
    get, path = "/healthz", tag = "operation",
    operation_id = "show_health",
    responses((
        status = 200, description = "The process runs", content_type = "text/plain", body = String,
        example = "ok\n",
    )),
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Check readiness
///
/// Answers 503 while a store or a key does not work or the clock is 15 seconds off, and for ten seconds after a
/// change could not be stored. `dependencies` has the state of each dependency. A failing `throttle` alone does not
/// cause a 503.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    operation_id = "show_readiness",
    responses(
        (status = 200, description = "Codes can be checked", body = ReadyBody),
        (
            status = 503, description = "Codes cannot be checked; `dependencies` shows why",
            body = ProblemBody, content_type = "application/problem+json",
            example = json!(not_ready_example()),
        ),
    ),
)]
pub(crate) async fn readyz(state: Data<State>) -> Result<Json<ReadyBody>, Problem> {
    // Leaves time to answer before the request times out.
    let dependencies = state.readiness.check(state.request_timeout / 2).await;
    if dependencies.suffice() {
        return Ok(Json(ReadyBody { status: "ready", dependencies }));
    }
    Err(Problem::not_ready(dependencies))
}

fn not_ready_example() -> serde_json::Value {
    Problem::not_ready(Dependencies::EXAMPLE).example()
}

/// The server can check codes.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "status": "ready", "dependencies": Dependencies::EXAMPLE }))]
pub(crate) struct ReadyBody {
    /// Always `ready`; otherwise the answer is a problem.
    #[schema(example = "ready")]
    status: &'static str,
    dependencies: Dependencies,
}

/// Show metrics
///
/// In the Prometheus text format. 404 if the server has no metrics.
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

/// Show this OpenAPI document
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation",
    operation_id = "show_openapi",
    responses((
        status = 200, description = "The OpenAPI document", content_type = "application/json", body = Object,
        example = json!({ "openapi": "3.1.0" }),
    )),
)]
pub(crate) async fn openapi(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(state.document.clone())
}

/// Explain a problem code
#[utoipa::path(
    get, path = "/problems/{code}", tag = "operation",
    operation_id = "show_problem",
    params(("code" = String, Path, description = "Problem code: the last segment of a problem's `type`.", example = "not-found")),
    responses((
        status = 200, description = "The meaning of the code", content_type = "text/plain", body = String,
        example = "not-found (404 Not Found): The path, factor or challenge does not exist.\n",
    )),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn problem(code: Path<String>) -> Result<String, Problem> {
    let code = ProblemCode::ALL.into_iter().find(|known| known.as_str() == *code);
    let code = code.ok_or(ProblemCode::NotFound)?;
    Ok(format!("{} ({}): {}.\n", code.as_str(), code.status(), code.title()))
}
