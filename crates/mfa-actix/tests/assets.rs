//! The script for pages of hosts, as an application serves it.

use actix_web::body::to_bytes;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::{App, web};

use crate::world::{World, world};

const SCRIPT: &str = include_str!("../assets/passkey.js");

/// The answer to a browser, which has no API key, from an application that has the API below `/mfa`.
async fn load(world: &World, method: &str, known: Option<&str>) -> (u16, HeaderMap, String) {
    let api = world.api.clone();
    let embedded = web::scope("/mfa").configure(|config| api.configure(config));
    let app = init_service(App::new().service(embedded)).await;
    let mut request = TestRequest::with_uri("/mfa/assets/passkey.js").method(method.parse().unwrap());
    if let Some(tag) = known {
        request = request.insert_header(("if-none-match", tag));
    }
    let response = match try_call_service(&app, request.to_request()).await {
        Ok(response) => response.into_parts().1.map_into_boxed_body(),
        Err(error) => error.error_response(),
    };
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = to_bytes(response.into_body()).await.unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

#[actix_web::test]
async fn a_browser_loads_the_script_as_a_module_without_a_key() {
    let world = world().await;
    let (status, headers, body) = load(&world, "GET", None).await;
    assert_eq!((status, body.as_str()), (200, SCRIPT));
    assert_eq!(headers.get("content-type").unwrap(), "text/javascript; charset=utf-8");
    assert_eq!(headers.get("x-content-type-options").unwrap(), "nosniff");
    assert_eq!(headers.get("cache-control").unwrap(), "no-cache");
    let (status, head, _) = load(&world, "HEAD", None).await;
    assert_eq!((status, head.get("etag")), (200, headers.get("etag")));
    let (status, _, body) = load(&world, "POST", None).await;
    assert!(status == 405 && body.contains("/problems/method-not-allowed"), "{status} {body}");
}

#[actix_web::test]
async fn a_browser_that_has_the_script_does_not_load_it_again() {
    let world = world().await;
    let (_, headers, _) = load(&world, "GET", None).await;
    let tag = headers.get("etag").unwrap().to_str().unwrap();
    let (status, again, body) = load(&world, "GET", Some(tag)).await;
    assert_eq!((status, body.as_str(), again.get("etag")), (304, "", headers.get("etag")));
    let (status, _, body) = load(&world, "GET", Some("\"of another version\"")).await;
    assert_eq!((status, body.as_str()), (200, SCRIPT));
}
