//! `GET /.well-known/jwks.json`

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use utoipa::ToSchema;

use crate::conditional::{tag_of, unless_known};
use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// How long caches may keep the keys. A host may get them as old as this and the minute for which [`Mfa`](mfa_domain::Mfa)
/// keeps them, and then keep them for five more: together less than the ten minutes for which a key is published before
/// it signs.
const CACHED: &str = "public, max-age=60";

/// The public keys that assertions are checked with (RFC 7517, 5).
#[derive(ToSchema)]
#[schema(example = json!({ "keys": [{
    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
    "kid": "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}] }))]
#[expect(dead_code, reason = "only for the OpenAPI document")]
pub(crate) struct JsonWebKeySet {
    /// Keys that sign, will sign, or have signed assertions that are still good.
    keys: Vec<JsonWebKey>,
}

/// A public key (RFC 7517, 4).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only for the OpenAPI document")]
pub(crate) struct JsonWebKey {
    /// `EC`, or `OKP` for Ed25519.
    kty: String,
    /// Curve: `P-256` or `Ed25519`.
    crv: String,
    /// Coordinate x, or the public key of Ed25519 (base64url).
    x: String,
    /// Coordinate y (base64url). Only for `EC`.
    y: Option<String>,
    /// Id of the key: its thumbprint (RFC 7638).
    kid: String,
    /// Algorithm: `ES256`, `EdDSA` or `Ed25519`.
    alg: String,
    /// Always `sig`.
    r#use: String,
}

/// Show the keys of assertions
///
/// A JSON Web Key Set (RFC 7517, 5), with an `ETag`. Keep it for at most five minutes: a new key is published ten minutes
/// before it signs. Caches on the way may keep it for one minute. 404 if the server signs no assertions.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "operation",
    operation_id = "show_assertion_keys",
    responses((
        status = 200, description = "The keys", content_type = "application/jwk-set+json", body = JsonWebKeySet,
    )),
    extensions(("x-problems" = json!([ProblemCode::NotFound, ProblemCode::Unavailable]))),
)]
pub(crate) async fn key_set(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let published = if state.tenants.signs_assertions() { state.mfa.published_keys().await? } else { None };
    let keys = published.ok_or(ProblemCode::NotFound)?;
    let mut response = HttpResponse::Ok();
    response.content_type("application/jwk-set+json").insert_header((CACHE_CONTROL, CACHED));
    Ok(unless_known(&request, response, tag_of(&keys), keys))
}
