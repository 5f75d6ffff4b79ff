//! Pages for browsers. They are not in the OpenAPI document, since they are not calls of the API.

use actix_web::guard::GuardContext;
use actix_web::http::Method;
use actix_web::http::header::{
    Accept, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType, Quality, QualityItem, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::mime::Mime;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use crate::conditional::unless_known;
use crate::pages::{self, address};
use crate::problem::Problem;
use crate::state::State;

/// Overview: version, readiness and first calls.
pub(crate) async fn welcome(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    // Leaves time to answer before the request times out.
    let dependencies = state.readiness.check(state.request_timeout / 2).await;
    let html = pages::welcome(&address::of(&request), dependencies.suffice())?;
    Ok(page().insert_header((VARY, "Accept")).body(html))
}

/// The API reference.
pub(crate) async fn reference(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let reference = state.reference.of(&state.document)?;
    let mut response = page();
    // The page changes only with the version of the program.
    response.insert_header((CACHE_CONTROL, "no-cache"));
    Ok(unless_known(&request, response, reference.tag.clone(), reference.html.clone()))
}

/// Headers of a page that loads nothing, runs no script and cannot be framed.
fn page() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type(ContentType::html())
        .insert_header((CONTENT_SECURITY_POLICY, pages::policy()))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"));
    response
}

/// Whether a browser asks for a page. Programs get 404 at `/`.
pub(crate) fn is_browser(request: &GuardContext<'_>) -> bool {
    let reads = [Method::GET, Method::HEAD].contains(&request.head().method);
    reads && request.header::<Accept>().is_some_and(|Accept(ranges)| prefers_html(&ranges))
}

/// Whether the header names HTML and prefers it to the JSON of a problem. If both have the same weight, the more
/// precise media range is preferred.
fn prefers_html(ranges: &[QualityItem<Mime>]) -> bool {
    // The media ranges that match a type, the most specific last; that one has the weight (RFC 9110, 12.5.1).
    let weight = |names: [&str; 3]| {
        let narrowness = |range: &Mime| names.iter().position(|name| *name == range.essence_str());
        let fitting = ranges.iter().filter_map(|range| Some((narrowness(&range.item)?, range.quality)));
        fitting.max().map(|(narrowness, quality)| (quality, narrowness))
    };
    let html = weight(["*/*", "text/*", "text/html"]);
    let json = weight(["*/*", "application/*", "application/json"]);
    let problem = weight(["*/*", "application/*", "application/problem+json"]);
    let named = html.is_some_and(|(quality, narrowness)| narrowness == 2 && quality > Quality::ZERO);
    named && html > json && html > problem
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::ACCEPT;
    use actix_web::test::TestRequest;

    use super::*;

    fn is_browser_with(accept: &str) -> bool {
        is_browser(&TestRequest::get().insert_header((ACCEPT, accept)).to_srv_request().guard_ctx())
    }

    #[test]
    fn browsers_prefer_html() {
        for accept in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "text/html, */*",
            "*/*;q=0.1, text/html;q=0.2",
            "application/json;q=0.9, text/html",
            "text/*;q=0.1, text/html;q=0.9, application/*;q=0.5",
        ] {
            assert!(is_browser_with(accept), "{accept}");
        }
    }

    #[test]
    fn programs_do_not() {
        for accept in [
            "",
            "*/*",
            "text/*",
            "text/plain",
            "application/json",
            "application/json, text/html",
            "application/json, text/html;q=0.9, */*;q=0.8",
            "application/problem+json, text/html;q=0.5",
            "text/html;q=0",
            "text/html;q=0, */*",
            "text/html;q=0.3, */*;q=0.8",
            "text/html;q=2",
            "text/htmlx",
            "application/xhtml+xml",
        ] {
            assert!(!is_browser_with(accept), "{accept}");
        }
        assert!(!is_browser(&TestRequest::get().to_srv_request().guard_ctx()));
        let post = TestRequest::post().insert_header((ACCEPT, "text/html")).to_srv_request();
        assert!(!is_browser(&post.guard_ctx()));
    }

    #[test]
    fn all_lines_of_the_header_count() {
        let request = TestRequest::get().append_header((ACCEPT, "text/html;q=0.5"));
        let request = request.append_header((ACCEPT, "application/json")).to_srv_request();
        assert!(!is_browser(&request.guard_ctx()));
    }
}
