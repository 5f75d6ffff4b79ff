//! The pages for people, in another application.

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use mfa_testkit::Fault;

use crate::world::{World, world};

/// What a browser is answered by an application that has the API, and its pages if it asks for them, below `/mfa`.
async fn browse(world: &World, pages: bool, path: &str) -> (u16, String) {
    let api = world.api.clone();
    let embedded = web::scope("/mfa").configure(|config| {
        if pages {
            api.configure_pages(config);
        }
        api.configure(config);
    });
    let app = init_service(App::new().service(embedded)).await;
    let request = TestRequest::with_uri(path)
        .insert_header(("accept", "text/html, */*;q=0.8"))
        .insert_header(("host", "app.example"));
    let response = call_service(&app, request.to_request()).await;
    let status = response.status().as_u16();
    (status, String::from_utf8(read_body(response).await.to_vec()).unwrap())
}

#[actix_web::test]
async fn an_application_has_the_pages_only_if_it_asks_for_them() {
    let world = world().await;
    for path in ["/mfa/", "/mfa/docs"] {
        assert_eq!(browse(&world, true, path).await.0, 200, "{path}");
        let (status, body) = browse(&world, false, path).await;
        assert!(status == 404 && body.contains("/problems/not-found"), "{path}: {status} {body}");
    }
    let (_, page) = browse(&world, true, "/mfa/").await;
    assert!(page.replace("&#x2f;", "/").contains("API=http://app.example/mfa/v1/users/alice"), "{page}");
}

#[actix_web::test]
async fn the_reference_has_the_title_of_the_api() {
    let mut world = world().await;
    assert!(
        browse(&world, true, "/mfa/docs")
            .await
            .1
            .contains("<h1>Multi-factor authentication: API reference</h1>")
    );
    world.api = world.api.title("Second <factors>");
    let (_, page) = browse(&world, true, "/mfa/docs").await;
    assert!(page.contains("<h1>Second &lt;factors&gt;: API reference</h1>"), "{page}");
}

#[actix_web::test]
async fn the_first_page_is_there_while_codes_cannot_be_checked_and_says_so() {
    let world = world().await;
    assert!(browse(&world, true, "/mfa/").await.1.contains(">Ready<"));
    // The last answer of the dependencies is good for a while.
    let world = self::world().await;
    world.store.set(Fault::Everything);
    let (status, page) = browse(&world, true, "/mfa/").await;
    assert!(status == 200 && page.contains(">Not ready<"), "{status} {page}");
}
