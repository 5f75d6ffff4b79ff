//! An application of a host that asks for step-up before a transfer, by the middleware and by the extractor.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Service;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::{self, ReqData, ServiceConfig};
use actix_web::{App, HttpMessage, HttpRequest};
use futures_util::future::join_all;
use mfa_actix::mfa_assertion::{Acr, Assertion, Denied, Guard, Presented, StepUp};
use mfa_actix::{Demand, MfaSessions, RequireMfa, VerifiedMfa};

use crate::sessions::{CHALLENGE, alice, broken_store, guard, guard_with, memory, published, refused};

/// What lets a request pass.
#[derive(Clone, Copy, Debug)]
enum By {
    Middleware,
    Extractor,
}

const BOTH: [By; 2] = [By::Middleware, By::Extractor];

/// What the guard of the tests asks for too.
struct Transfer;

impl Demand for Transfer {
    fn step_up() -> StepUp {
        StepUp::new().max_age(Duration::from_mins(2)).methods(["hwk"]).acr(Acr::Medium)
    }
}

/// Another handler asks for more.
struct Payment;

impl Demand for Payment {
    fn step_up() -> StepUp {
        StepUp::new().max_age(Duration::from_mins(1))
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// Why the guard denied the request.
    reason: Option<String>,
    body: String,
}

impl Answer {
    fn values(&self, name: HeaderName) -> Vec<&str> {
        self.headers.get_all(name).map(|value| value.to_str().unwrap()).collect()
    }
}

async fn transfer(verified: ReqData<Assertion>, body: String) -> String {
    done(&verified, &body)
}

async fn transfer_on_demand<D: Demand>(verified: VerifiedMfa<D>, body: String) -> String {
    done(&verified, &body)
}

fn done(assertion: &Assertion, body: &str) -> String {
    format!("{} transfers {body} after {}", assertion.subject, assertion.methods.join(" and "))
}

fn request() -> TestRequest {
    TestRequest::post().uri("/transfer").set_payload("100 EUR")
}

/// Adds the transfer.
fn mount<P>(config: &mut ServiceConfig, by: By, guard: Guard, presented: P)
where
    P: Fn(&HttpRequest) -> Option<Presented> + Clone + Send + Sync + 'static,
{
    let resource = web::resource("/transfer");
    match by {
        By::Middleware => {
            let require = RequireMfa::new(guard, presented);
            config.service(resource.wrap(require).route(web::post().to(transfer)));
        }
        By::Extractor => {
            // It would admit nobody: the demand of the handler counts in its place.
            let guard = guard.step_up(StepUp::new().max_age(Duration::ZERO));
            let sessions = MfaSessions::new(guard, presented);
            let handler = web::post().to(transfer_on_demand::<Transfer>);
            config.service(resource.app_data(sessions).route(handler));
        }
    }
}

/// The answers to requests that arrive together and belong to one session.
async fn answers(by: By, guard: Guard, session: Option<Presented>, count: usize) -> Vec<Answer> {
    let presented = move |_: &HttpRequest| session.clone();
    let app = init_service(App::new().configure(|config| mount(config, by, guard, presented))).await;
    let requests = (0..count).map(|_| async {
        let response = call_service(&app, request().to_request()).await;
        let denied = response.response().extensions().get::<Arc<Denied>>().cloned();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            reason: denied.map(|denied| denied.to_string()),
            body: String::from_utf8(read_body(response).await.to_vec()).unwrap(),
        }
    });
    join_all(requests).await
}

async fn answer(by: By, guard: Guard, session: Option<Presented>) -> Answer {
    answers(by, guard, session, 1).await.remove(0)
}

#[actix_web::test]
async fn a_session_with_a_good_verification_gets_to_the_handler_with_its_assertion_and_its_body() {
    for by in BOTH {
        for answer in answers(by, guard(), Some(alice()), 2).await {
            assert_eq!(answer.status, StatusCode::OK, "{by:?}");
            assert_eq!(answer.body, "alice transfers 100 EUR after hwk and user", "{by:?}");
        }
    }
}

#[actix_web::test]
async fn every_other_session_gets_the_same_answer_whatever_the_reason() {
    for by in BOTH {
        for (session, why) in refused() {
            let answer = answer(by, guard(), session).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{by:?}: {why}");
            assert_eq!(answer.values(WWW_AUTHENTICATE), [CHALLENGE], "{by:?}: {why}");
            assert_eq!(answer.values(CACHE_CONTROL), ["no-store"], "{by:?}: {why}");
            assert_eq!(answer.values(CONTENT_TYPE), ["application/problem+json"], "{by:?}: {why}");
            assert_eq!(answer.reason.as_deref(), Some(why), "{by:?}");
            assert_eq!(
                answer.body,
                r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"A more recent or a stronger verification is required"}"#,
                "{by:?}: {why}"
            );
        }
    }
}

#[actix_web::test]
async fn the_session_is_found_by_what_outer_middleware_has_added_to_the_request() {
    for by in BOTH {
        let presented = |request: &HttpRequest| request.extensions().get::<Presented>().cloned();
        let app = App::new().configure(|config| mount(config, by, guard(), presented));
        let app = app.wrap_fn(|request, service| {
            if request.headers().contains_key("x-logged-in") {
                request.extensions_mut().insert(alice());
            }
            service.call(request)
        });
        let app = init_service(app).await;
        let with = request().insert_header(("x-logged-in", "alice")).to_request();
        assert_eq!(call_service(&app, with).await.status(), StatusCode::OK, "{by:?}");
        let without = request().to_request();
        assert_eq!(call_service(&app, without).await.status(), StatusCode::UNAUTHORIZED, "{by:?}");
    }
}

#[actix_web::test]
async fn an_assertion_that_counts_once_is_refused_the_second_time_by_any_clone_of_the_guard() {
    for (first, second) in BOTH.into_iter().flat_map(|first| BOTH.map(|second| (first, second))) {
        let guard = guard().used_once(memory());
        let answered = answer(first, guard.clone(), Some(alice())).await;
        assert_eq!(answered.status, StatusCode::OK, "{first:?}");
        let answered = answer(second, guard, Some(alice())).await;
        assert_eq!(answered.status, StatusCode::UNAUTHORIZED, "{first:?}, {second:?}");
        assert_eq!(answered.values(WWW_AUTHENTICATE), [CHALLENGE], "{first:?}, {second:?}");
        assert_eq!(answered.reason.as_deref(), Some("the assertion was used before"));
    }
}

#[actix_web::test]
async fn of_parallel_requests_with_an_assertion_that_counts_once_exactly_one_passes() {
    for by in BOTH {
        let guard = guard_with(|| async {
            // So that all requests are under way before the first goes on.
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(published())
        });
        let answers = answers(by, guard.used_once(memory()), Some(alice()), 16).await;
        let (passed, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == StatusCode::OK);
        assert_eq!(passed.len(), 1, "{by:?}");
        for answer in refused {
            assert_eq!(answer.reason.as_deref(), Some("the assertion was used before"), "{by:?}");
        }
    }
}

#[actix_web::test]
async fn a_failing_dependency_lets_nobody_through() {
    for by in BOTH {
        let without_keys = guard_with(|| ready(Err("no route to host")));
        let without_store = guard().used_once(broken_store());
        for (guard, why) in [
            (without_keys, "the key set of the issuer could not be fetched"),
            (without_store, "cannot tell whether the assertion was used before"),
        ] {
            let answer = answer(by, guard, Some(alice())).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{by:?}: {why}");
            assert!(answer.values(WWW_AUTHENTICATE).is_empty(), "{by:?}: {why}");
            assert_eq!(answer.values(RETRY_AFTER), ["1"], "{by:?}: {why}");
            assert_eq!(answer.values(CACHE_CONTROL), ["no-store"], "{by:?}: {why}");
            assert_eq!(answer.values(CONTENT_TYPE), ["application/problem+json"], "{by:?}: {why}");
            assert_eq!(answer.reason.as_deref(), Some(why), "{by:?}");
            assert_eq!(
                answer.body,
                r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The verification could not be checked; try again"}"#,
                "{by:?}: {why}"
            );
        }
    }
}

/// The session of the request was verified two minutes ago.
#[actix_web::test]
async fn each_handler_of_an_application_gets_what_it_demands() {
    let sessions = MfaSessions::new(guard(), |_: &HttpRequest| Some(alice()));
    let app = App::new()
        .app_data(sessions)
        .route("/transfer", web::post().to(transfer_on_demand::<Transfer>))
        .route("/payment", web::post().to(transfer_on_demand::<Payment>));
    let app = init_service(app).await;
    let transferred = call_service(&app, request().to_request()).await;
    assert_eq!(transferred.status(), StatusCode::OK);
    let refused = call_service(&app, request().uri("/payment").to_request()).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers().get(WWW_AUTHENTICATE).unwrap().to_str().unwrap();
    assert!(challenge.ends_with("is required\", max_age=60"), "{challenge}");
    let denied = refused.response().extensions().get::<Arc<Denied>>().unwrap().to_string();
    assert_eq!(denied, "the verification is too old");
}

#[actix_web::test]
async fn a_handler_that_takes_the_assertion_answers_nobody_without_what_finds_it() {
    let app = App::new()
        .route("/without-middleware", web::post().to(transfer))
        .route("/without-sessions", web::post().to(transfer_on_demand::<Transfer>));
    let app = init_service(app).await;
    for path in ["/without-middleware", "/without-sessions"] {
        let response = call_service(&app, request().uri(path).to_request()).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        let body = read_body(response).await;
        assert!(!String::from_utf8_lossy(&body).contains("transfers"), "{path}: {body:?}");
    }
}
