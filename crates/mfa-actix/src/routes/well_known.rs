//! Documents at well-known addresses (RFC 8615) about the application whose users have passkeys. Browsers and password
//! managers read them, without an API key.

use actix_web::web::{Data, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// What the documents below `/.well-known/` tell about the application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WellKnown {
    /// Origins on other domains than the relying party's whose pages can use its passkeys, such as
    /// `https://example.co.uk` (Web Authentication Level 3, 5.11). Browsers accept at least five different names before
    /// the public suffix, and may ignore more.
    pub related_origins: Vec<String>,
    /// The page where users create a passkey.
    pub enroll_url: Option<String>,
    /// The page where users manage their passkeys.
    pub manage_url: Option<String>,
}

/// Show the related origins
///
/// Origins on other domains whose pages can use the passkeys of the relying party (Web Authentication Level 3, 5.11).
/// Browsers ask the relying party's own domain. 404 if there are none.
#[utoipa::path(
    get, path = "/.well-known/webauthn", tag = "operation",
    operation_id = "show_related_origins",
    responses((status = 200, description = "The related origins", body = RelatedOrigins)),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn related_origins(state: Data<State>) -> Result<Json<RelatedOrigins>, Problem> {
    let origins = state.well_known.related_origins.clone();
    if origins.is_empty() { Err(ProblemCode::NotFound.into()) } else { Ok(Json(RelatedOrigins { origins })) }
}

/// Origins that can use the passkeys of a relying party.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "origins": ["https://example.co.uk", "https://example.de"] }))]
pub(crate) struct RelatedOrigins {
    /// The origins.
    origins: Vec<String>,
}

/// Show the pages for passkeys
///
/// Addresses of the application's pages to create and to manage passkeys, for password managers (W3C, A Well-Known URL
/// for Relying Party Passkey Endpoints). 404 if there are none.
#[utoipa::path(
    get, path = "/.well-known/passkey-endpoints", tag = "operation",
    operation_id = "show_passkey_endpoints",
    responses((status = 200, description = "The addresses", body = PasskeyEndpoints)),
    extensions(("x-problems" = json!([ProblemCode::NotFound]))),
)]
pub(crate) async fn passkey_endpoints(state: Data<State>) -> Result<Json<PasskeyEndpoints>, Problem> {
    let WellKnown { enroll_url, manage_url, .. } = state.well_known.clone();
    if enroll_url.is_none() && manage_url.is_none() {
        return Err(ProblemCode::NotFound.into());
    }
    Ok(Json(PasskeyEndpoints { enroll: enroll_url, manage: manage_url }))
}

/// Pages of the application for passkeys.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "enroll": "https://example.com/account/passkeys/new", "manage": "https://example.com/account/passkeys",
}))]
pub(crate) struct PasskeyEndpoints {
    /// The page to create a passkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    enroll: Option<String>,
    /// The page to manage passkeys.
    #[serde(skip_serializing_if = "Option::is_none")]
    manage: Option<String>,
}
