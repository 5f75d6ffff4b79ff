//! Header fields of a request, as they are read before anything is decided.

use actix_web::App;
use actix_web::test::{TestRequest, init_service, try_call_service};

use crate::world::{World, world};

/// What a request with these header fields beside a body is answered with, sent to `/verify` of a user without factors.
async fn verify_with(world: &World, headers: &[(&str, &str)]) -> u16 {
    let api = world.api.clone();
    let app = init_service(App::new().configure(|config| api.configure(config))).await;
    let mut request = TestRequest::post().uri("/v1/users/alice/verify").set_payload(r#"{"code":"123456"}"#);
    for header in headers {
        request = request.append_header(*header);
    }
    match try_call_service(&app, request.to_request()).await {
        Ok(response) => response.status().as_u16(),
        Err(error) => error.error_response().status().as_u16(),
    }
}

#[actix_web::test]
async fn a_content_type_is_read_as_rfc_9110_writes_it() {
    let world = world().await;
    let key = format!("Bearer {}", world.key);
    let verify = async |kinds: &[&str]| {
        let mut headers = vec![("authorization", key.as_str())];
        headers.extend(kinds.iter().map(|kind| ("content-type", *kind)));
        verify_with(&world, &headers).await
    };
    for kind in [
        "application/json",
        "application/json;charset=utf-8",
        "application/json; charset=utf-8",
        "application/json ; charset=utf-8",
        "application/json\t;\tcharset=\"utf-8\"",
        "Application/JSON",
    ] {
        assert_eq!(verify(&[kind]).await, 409, "{kind}");
    }
    for kinds in [
        &[][..],
        &["application/json", "application/json"],
        &["application/json, text/plain"],
        &["application/json+x"],
        &["application/jsonx"],
        &["text/plain; application/json"],
        &["; application/json"],
        &["application / json"],
    ] {
        assert_eq!(verify(kinds).await, 415, "{kinds:?}");
    }
}

/// A proxy in front may have checked the other one.
#[actix_web::test]
async fn two_authorization_headers_are_none() {
    let world = world().await;
    let key = format!("Bearer {}", world.key);
    let json = ("content-type", "application/json");
    assert_eq!(verify_with(&world, &[json, ("authorization", &key)]).await, 409);
    for other in [key.as_str(), "Bearer x", "Basic YTpi", ""] {
        for pair in [[key.as_str(), other], [other, key.as_str()]] {
            let headers = [json, ("authorization", pair[0]), ("authorization", pair[1])];
            assert_eq!(verify_with(&world, &headers).await, 401, "{other}");
        }
    }
}
