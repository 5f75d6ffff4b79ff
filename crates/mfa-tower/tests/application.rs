//! An axum application that asks for step-up before a transfer.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, Request, Response, StatusCode};
use mfa_tower::RequireMfaLayer;
use mfa_tower::mfa_assertion::{Assertion, Denied, Guard, Presented};
use tower::ServiceExt;

use crate::sessions::{CHALLENGE, alice, broken_store, guard, guard_with, memory, published, refused};

/// An application in which every request belongs to this session.
fn application(guard: Guard, session: Option<Presented>) -> Router {
    let layer = RequireMfaLayer::new(guard, move |_: &Parts| session.clone());
    Router::new()
        .route("/transfer", post(transfer))
        .route_layer(layer)
        .route("/balance", get(|| async { "0 EUR" }))
}

async fn transfer(Extension(assertion): Extension<Assertion>, body: String) -> String {
    format!("{} transfers {body} after {}", assertion.subject, assertion.methods.join(" and "))
}

async fn send(application: Router) -> Response<Body> {
    application.oneshot(Request::post("/transfer").body(Body::from("100 EUR")).unwrap()).await.unwrap()
}

fn values(response: &Response<Body>, name: HeaderName) -> Vec<&str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

fn reason(response: &Response<Body>) -> String {
    response.extensions().get::<Arc<Denied>>().unwrap().to_string()
}

#[tokio::test]
async fn a_session_with_a_good_verification_gets_to_the_handler_with_its_assertion_and_its_body() {
    let application = application(guard(), Some(alice()));
    for _ in 0..2 {
        let response = send(application.clone()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, "alice transfers 100 EUR after hwk and user");
    }
}

#[tokio::test]
async fn every_other_session_gets_the_same_answer_whatever_the_reason() {
    for (session, why) in refused() {
        let response = send(application(guard(), session)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{why}");
        assert_eq!(values(&response, WWW_AUTHENTICATE), [CHALLENGE], "{why}");
        assert_eq!(values(&response, CACHE_CONTROL), ["no-store"], "{why}");
        assert_eq!(values(&response, CONTENT_TYPE), ["application/problem+json"], "{why}");
        assert_eq!(reason(&response), why);
        assert_eq!(
            text(response).await,
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"A more recent or a stronger verification is required"}"#,
            "{why}"
        );
    }
}

#[tokio::test]
async fn routes_outside_the_layer_need_no_verification() {
    let request = Request::get("/balance").body(Body::empty()).unwrap();
    let response = application(guard(), None).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_session_is_found_by_what_outer_layers_have_added_to_the_request() {
    let layer = RequireMfaLayer::new(guard(), |parts: &Parts| parts.extensions.get::<Presented>().cloned());
    let application = Router::new().route("/transfer", post(transfer)).route_layer(layer);
    assert_eq!(send(application.clone()).await.status(), StatusCode::UNAUTHORIZED);
    let application = application.layer(Extension(alice()));
    assert_eq!(send(application).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_assertion_that_counts_once_is_refused_the_second_time() {
    let application = application(guard().used_once(memory()), Some(alice()));
    assert_eq!(send(application.clone()).await.status(), StatusCode::OK);
    let response = send(application).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(values(&response, WWW_AUTHENTICATE), [CHALLENGE]);
    assert_eq!(reason(&response), "the assertion was used before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_requests_with_an_assertion_that_counts_once_exactly_one_passes() {
    let guard = guard_with(|| async {
        // So that all requests are under way before the first goes on.
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(published())
    });
    let application = application(guard.used_once(memory()), Some(alice()));
    let requests: Vec<_> = (0..16).map(|_| tokio::spawn(send(application.clone()))).collect();
    let mut passed = 0;
    for request in requests {
        match request.await.unwrap().status() {
            StatusCode::OK => passed += 1,
            status => assert_eq!(status, StatusCode::UNAUTHORIZED),
        }
    }
    assert_eq!(passed, 1);
}

#[tokio::test]
async fn a_failing_dependency_lets_nobody_through() {
    let without_keys = guard_with(|| ready(Err("no route to host")));
    let without_store = guard().used_once(broken_store());
    for (guard, why) in [
        (without_keys, "the key set of the issuer could not be fetched"),
        (without_store, "cannot tell whether the assertion was used before"),
    ] {
        let response = send(application(guard, Some(alice()))).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{why}");
        assert!(values(&response, WWW_AUTHENTICATE).is_empty(), "{why}");
        assert_eq!(values(&response, RETRY_AFTER), ["1"], "{why}");
        assert_eq!(values(&response, CACHE_CONTROL), ["no-store"], "{why}");
        assert_eq!(values(&response, CONTENT_TYPE), ["application/problem+json"], "{why}");
        assert_eq!(reason(&response), why);
        assert_eq!(
            text(response).await,
            r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The verification could not be checked; try again"}"#,
            "{why}"
        );
    }
}
