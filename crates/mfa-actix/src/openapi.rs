//! The OpenAPI document, generated from the code.

use std::sync::LazyLock;

use mfa_domain::ports::Scope;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::problem::ProblemBody;
use crate::proof::ProofRequest;
use crate::routes::{
    Access, Row, TABLE, admin, assets, backup_codes, challenges, confirm, enrol, events, factor, health,
    jwks, resynchronise, set_back, status, verify, well_known,
};

mod problems;
pub(crate) mod texts;

use problems::Problems;

/// The OpenAPI document with the default title.
#[must_use]
pub fn openapi_json() -> &'static str {
    static JSON: LazyLock<String> =
        LazyLock::new(|| Description::openapi().to_pretty_json().unwrap_or_default());
    &JSON
}

/// The OpenAPI document with this title.
pub(crate) fn document(title: &str) -> String {
    let mut description = Description::openapi();
    title.clone_into(&mut description.info.title);
    description.to_pretty_json().unwrap_or_default()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Multi-factor authentication",
        description = "Multi-factor authentication for the users of host applications. Errors are RFC 9457 problem details; the last segment of `type` is the code. Times are RFC 3339 in UTC. On every path, a request that cannot be read gets 400 `malformed-request`, 408 `request-timeout` or 431 `head-too-large`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    modifiers(&ApiKeySecurity, &Problems),
    components(schemas(ProblemBody, ProofRequest)),
    paths(
        status::status,
        enrol::enrol,
        confirm::confirm,
        factor::rename,
        factor::revoke,
        resynchronise::resynchronise,
        verify::verify,
        challenges::begin,
        challenges::passwordless::begin,
        challenges::status,
        challenges::answer::verify,
        challenges::resend,
        challenges::cancel,
        backup_codes::issue,
        admin::unlock,
        admin::reset,
        admin::erase,
        set_back::set_back,
        events::of_user,
        events::of_tenant,
        health::healthz,
        health::readyz,
        health::metrics,
        health::openapi,
        health::problem,
        well_known::related_origins,
        well_known::passkey_endpoints,
        jwks::key_set,
        assets::passkey_script,
    ),
)]
struct Description;

/// Adds the scopes that each call needs, from the table of routes.
struct ApiKeySecurity;

impl Modify for ApiKeySecurity {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("mfa_<id>_<secret>")
            .description(Some("API key of a tenant, with scopes."));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme.build()));
        for Row { method, path, access, .. } in TABLE {
            let Access::Key(scopes, _) = access else { continue };
            let Some(item) = openapi.paths.paths.get_mut(*path) else { continue };
            let mut operations = problems::operations(item);
            let operation = operations.find_map(|(of, operation)| (of == *method).then_some(operation));
            // A call that accepts any key names no scope.
            let asked = scopes.iter().filter(|_| scopes.len() < Scope::ALL.len()).map(|scope| scope.as_str());
            if let Some(operation) = operation {
                operation.security = Some(vec![SecurityRequirement::new("api_key", asked)]);
            }
        }
    }
}
