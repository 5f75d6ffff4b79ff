//! The public keys of assertions, as hosts fetch them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::to_bytes;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::{App, web};
use mfa_crypto::AssertionKeys;
use mfa_domain::TenantSettings;
use mfa_testkit::Fault;
use serde_json::Value;

use crate::world::{World, signing_world, world, world_that_signs_by};

/// The answer to a host, which needs no API key, from an application that has the documents at its root.
async fn fetch(world: &World, method: &str, known: Option<&str>) -> (u16, HeaderMap, String) {
    let api = world.api.clone();
    let app = App::new()
        .configure(|config| api.configure_well_known(config))
        .service(web::scope("/mfa").configure(|config| api.configure_calls(config)));
    let app = init_service(app).await;
    let mut request = TestRequest::with_uri("/.well-known/jwks.json").method(method.parse().unwrap());
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
async fn everybody_may_read_the_public_keys_and_caches_may_keep_them_for_a_minute() {
    let world = signing_world().await;
    let (status, headers, body) = fetch(&world, "GET", None).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(headers.get("content-type").unwrap(), "application/jwk-set+json");
    assert_eq!(headers.get("cache-control").unwrap(), "public, max-age=60");
    let published: Value = serde_json::from_str(&body).unwrap();
    let key = published["keys"][0].as_object().unwrap();
    let mut members: Vec<_> = key.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!((&key["alg"], &key["use"]), (&Value::from("ES256"), &Value::from("sig")));
    assert_eq!(published["keys"].as_array().unwrap().len(), 1);
    let (status, head, _) = fetch(&world, "HEAD", None).await;
    assert_eq!((status, head.get("etag")), (200, headers.get("etag")));
}

#[actix_web::test]
async fn a_host_that_has_the_keys_does_not_load_them_again_until_they_change() {
    let world = signing_world().await;
    let (_, headers, _) = fetch(&world, "GET", None).await;
    let tag = headers.get("etag").unwrap().to_str().unwrap();
    let (status, again, body) = fetch(&world, "GET", Some(tag)).await;
    assert_eq!((status, body.as_str(), again.get("etag")), (304, "", headers.get("etag")));
    assert_eq!(again.get("cache-control"), headers.get("cache-control"));
    world.rotate_signing_key().await;
    let (status, rotated, body) = fetch(&world, "GET", Some(tag)).await;
    assert_eq!(status, 200);
    assert_ne!(rotated.get("etag"), headers.get("etag"));
    let published: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(published["keys"].as_array().unwrap().len(), 2, "{body}");
}

#[actix_web::test]
async fn there_are_no_keys_where_nothing_is_signed() {
    let no_issuer = world_that_signs_by(Arc::new(AssertionKeys)).await;
    let no_issuer = no_issuer.with_settings(TenantSettings::default());
    for world in [world().await, no_issuer] {
        let (status, _, body) = fetch(&world, "GET", None).await;
        assert!(status == 404 && body.contains("/problems/not-found"), "{status} {body}");
    }
}

#[actix_web::test]
async fn keys_that_were_read_are_published_while_the_store_fails_and_others_are_unavailable() {
    let world = signing_world().await;
    world.store.set(Fault::Everything);
    let (status, headers, body) = fetch(&world, "GET", None).await;
    assert!(status == 503 && body.contains("/problems/unavailable"), "{status} {body}");
    assert_eq!(headers.get("cache-control").unwrap(), "no-store");
    world.store.set(None);
    let (_, _, read) = fetch(&world, "GET", None).await;
    world.store.set(Fault::Everything);
    world.clock.advance(Duration::from_mins(59));
    let (status, _, body) = fetch(&world, "GET", None).await;
    assert_eq!((status, body), (200, read));
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(fetch(&world, "GET", None).await.0, 503);
}
