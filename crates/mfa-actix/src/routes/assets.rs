//! The script for pages of hosts.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, EntityTag, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse};

use crate::conditional::{tag_of, unless_known};

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
    static TAG: LazyLock<EntityTag> = LazyLock::new(|| tag_of(PASSKEY_SCRIPT));
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/javascript; charset=utf-8")
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // The script changes only with the version of the program.
        .insert_header((CACHE_CONTROL, "no-cache"));
    unless_known(&request, response, TAG.clone(), PASSKEY_SCRIPT)
}
