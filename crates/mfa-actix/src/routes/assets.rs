//! The script for pages of hosts.

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ETag, EntityTag, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::pages::is_known;

const PASSKEY_SCRIPT: &str = include_str!("../../assets/passkey.js");

/// Load the passkey script
///
/// A JavaScript module for pages of the host. It has an `ETag`; a browser that has it gets 304.
#[utoipa::path(
    get, path = "/assets/passkey.js", tag = "operation",
    operation_id = "load_passkey_script",
    responses((
        status = 200, description = "The script", content_type = "text/javascript", body = String,
        example = "export function register(publicKey, options) { … }\n",
    )),
)]
pub(crate) async fn passkey_script(request: HttpRequest) -> HttpResponse {
    static TAG: LazyLock<EntityTag> =
        LazyLock::new(|| EntityTag::new_strong(HEXLOWER.encode(&Sha256::digest(PASSKEY_SCRIPT))));
    let known = is_known(&request, &TAG);
    let mut response =
        HttpResponseBuilder::new(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    response
        .content_type("text/javascript; charset=utf-8")
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // The script changes only with the version of the program.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header(ETag(TAG.clone()));
    if known { response.finish() } else { response.body(PASSKEY_SCRIPT) }
}
