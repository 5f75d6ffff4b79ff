//! A tower service without axum.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use mfa_tower::RequireMfaLayer;
use mfa_tower::mfa_assertion::Assertion;
use tower::{Layer, Service, ServiceExt};

use crate::sessions::{alice, guard};

/// A service that must be made ready before each call, as one that reserves a connection. Its clones are not ready.
#[derive(Debug, Default)]
struct Reserved(bool);

impl Clone for Reserved {
    fn clone(&self) -> Self {
        Self(false)
    }
}

impl Service<Request<String>> for Reserved {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        assert!(self.0, "called without being ready");
        self.0 = false;
        let subject = request.extensions().get::<Assertion>().unwrap().subject.clone();
        ready(Ok(Response::new(format!("{subject} sent {}", request.body()))))
    }
}

#[tokio::test]
async fn a_request_is_passed_on_to_the_service_that_was_made_ready_for_it() {
    let layer = RequireMfaLayer::new(guard(), |_: &Parts| Some(alice()));
    let mut service = layer.layer(Reserved::default());
    for _ in 0..2 {
        let request = Request::new("a body".to_owned());
        let response =
            ServiceExt::<Request<String>>::ready(&mut service).await.unwrap().call(request).await.unwrap();
        assert_eq!(response.body(), "alice sent a body");
    }
}

#[tokio::test]
async fn a_request_that_is_refused_is_not_passed_on() {
    let layer = RequireMfaLayer::new(guard(), |_: &Parts| None);
    let response = layer.layer(Reserved::default()).oneshot(Request::new(String::new())).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.body().contains(r#""status":401"#), "{}", response.body());
}
