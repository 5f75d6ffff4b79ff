//! The documents that browsers and password managers look for at the root of a domain.

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use mfa_actix::{Api, WellKnown};
use serde_json::{Value, json};

use crate::world::world;

const ORIGINS: &str = "/.well-known/webauthn";
const ENDPOINTS: &str = "/.well-known/passkey-endpoints";

/// The answer to a request without an API key: status, media type and body.
async fn fetch(api: &Api, method: &str, path: &str) -> (u16, String, String) {
    let app = init_service(App::new().configure(|config| api.configure(config))).await;
    let request = TestRequest::with_uri(path).method(method.parse().unwrap()).to_request();
    let response = call_service(&app, request).await;
    let media_type = response.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    (status, media_type, String::from_utf8(read_body(response).await.to_vec()).unwrap())
}

fn documents(related_origins: &[&str], enroll_url: Option<&str>, manage_url: Option<&str>) -> WellKnown {
    WellKnown {
        related_origins: related_origins.iter().map(|origin| (*origin).to_owned()).collect(),
        enroll_url: enroll_url.map(str::to_owned),
        manage_url: manage_url.map(str::to_owned),
    }
}

#[actix_web::test]
async fn everybody_may_read_the_related_origins_and_the_pages_for_passkeys() {
    let (enroll, manage) = ("https://example.com/new", "https://example.com/account");
    let origins = ["https://example.co.uk", "https://example.de"];
    let api = world().await.api;
    for (documents, path, expected) in [
        (documents(&origins, None, None), ORIGINS, json!({ "origins": origins })),
        (
            documents(&[], Some(enroll), Some(manage)),
            ENDPOINTS,
            json!({ "enroll": enroll, "manage": manage }),
        ),
        (documents(&[], Some(enroll), None), ENDPOINTS, json!({ "enroll": enroll })),
        (documents(&[], None, Some(manage)), ENDPOINTS, json!({ "manage": manage })),
    ] {
        let api = api.clone().well_known(documents);
        let (status, media_type, body) = fetch(&api, "GET", path).await;
        assert_eq!((status, media_type.as_str()), (200, "application/json"), "{body}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
        assert_eq!(fetch(&api, "HEAD", path).await.0, 200, "{path}");
    }
}

#[actix_web::test]
async fn a_document_that_would_be_empty_is_not_found() {
    let api = world().await.api;
    let only = |documents| api.clone().well_known(documents);
    for (api, path) in [
        (api.clone(), ORIGINS),
        (api.clone(), ENDPOINTS),
        (only(documents(&[], Some("https://example.com/new"), None)), ORIGINS),
        (only(documents(&["https://example.de"], None, None)), ENDPOINTS),
    ] {
        let (status, media_type, body) = fetch(&api, "GET", path).await;
        assert_eq!((status, media_type.as_str()), (404, "application/problem+json"), "{path}: {body}");
        assert!(body.contains("/problems/not-found"), "{body}");
    }
}

#[actix_web::test]
async fn an_application_mounts_them_at_its_root_and_the_calls_elsewhere() {
    let api = world().await.api.well_known(documents(&["https://example.de"], None, None));
    let app = App::new()
        .configure(|config| api.configure_well_known(config))
        .service(web::scope("/mfa").configure(|config| api.configure_calls(config)));
    let app = init_service(app).await;
    for (path, expected) in [
        (ORIGINS, 200),
        ("/mfa/.well-known/webauthn", 404),
        ("/openapi.json", 404),
        ("/mfa/openapi.json", 200),
    ] {
        let request = TestRequest::with_uri(path).to_request();
        assert_eq!(call_service(&app, request).await.status().as_u16(), expected, "{path}");
    }
}
