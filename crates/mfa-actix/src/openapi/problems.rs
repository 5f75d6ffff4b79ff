//! The problems of each call, as responses of the OpenAPI document.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::{Method, StatusCode};
use utoipa::Modify;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{Components, ObjectBuilder, Type};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use crate::problem::{Problem, ProblemCode};

/// Name of the extension in which a handler lists its own problems. Problems that follow from the form of the call
/// (a key, a body) need not be listed. The document has responses instead of the extension.
const OWN: &str = "x-problems";

/// Adds the problems of every call.
pub(super) struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        for code in ProblemCode::ALL {
            let example =
                ExampleBuilder::new().summary(code.title()).value(Some(Problem::example_of(code).example()));
            components.examples.insert(code.as_str().to_owned(), example.build().into());
        }
        for item in document.paths.paths.values_mut() {
            for (method, operation) in operations(item) {
                describe(&method, operation, components);
            }
        }
    }
}

pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, post, put, patch, delete, .. } = item;
    let all = [
        (Method::GET, get),
        (Method::POST, post),
        (Method::PUT, put),
        (Method::PATCH, patch),
        (Method::DELETE, delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds a response for each status of the call's problems, unless the handler describes that status itself.
fn describe(method: &Method, operation: &mut Operation, components: &mut Components) {
    let mut by_status = BTreeMap::<_, BTreeSet<_>>::new();
    for code in problems(method, operation) {
        by_status.entry(code.status().as_str().to_owned()).or_default().insert(code);
    }
    for (status, codes) in by_status {
        let name = codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(".");
        let reference = Ref::from_response_name(&name);
        components.responses.entry(name).or_insert_with(|| response(&codes).into());
        operation.responses.responses.entry(status).or_insert_with(|| reference.into());
    }
}

/// The problems of a call: those that follow from its form, and those that its handler lists.
fn problems(method: &Method, operation: &mut Operation) -> Vec<ProblemCode> {
    use ProblemCode as P;
    let mut problems = Vec::new();
    if operation.security.is_some() {
        problems.extend([P::Unauthorized, P::Forbidden, P::Throttled, P::InvalidRequest]);
        problems.extend([P::Unavailable, P::Internal]);
        if *method != Method::GET {
            problems.extend([P::Busy, P::PayloadTooLarge]);
        }
    }
    if operation.request_body.is_some() {
        problems.push(P::UnsupportedMediaType);
    }
    let own = operation.extensions.take().and_then(|mut all| all.remove(OWN)).unwrap_or_default();
    let is_own = |code: &P| own.as_array().is_some_and(|own| own.iter().any(|name| name == code.as_str()));
    problems.extend(P::ALL.into_iter().filter(is_own));
    problems
}

/// One response for all problems with the same status.
fn response(codes: &BTreeSet<ProblemCode>) -> Response {
    let meanings: Vec<_> =
        codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.title())).collect();
    let mut content = Content::new(Some(Ref::from_schema_name("Problem")));
    for code in codes {
        let example = Ref::new(format!("#/components/examples/{}", code.as_str()));
        content.examples.insert(code.as_str().to_owned(), RefOr::Ref(example));
    }
    let response = ResponseBuilder::new().description(meanings.join("; "));
    let response = response.content("application/problem+json", content);
    let retry = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    if codes.iter().any(|code| retry.contains(&code.status())) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let header = HeaderBuilder::new()
            .schema(Some(seconds))
            .description(Some("Seconds to wait before the next attempt."));
        return response.header("Retry-After", header.build()).build();
    }
    response.build()
}
