//! Answers with an `ETag`: a client that has the content gets 304 (RFC 9110, 13.1.2).

use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ETag, EntityTag, IfNoneMatch};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The tag of a content that is the same for everybody.
pub(crate) fn tag_of(content: &str) -> EntityTag {
    EntityTag::new_strong(HEXLOWER.encode(&Sha256::digest(content)))
}

/// Completes an answer with its tag and, unless the client has it, the content.
pub(crate) fn unless_known(
    request: &HttpRequest,
    mut response: HttpResponseBuilder,
    tag: EntityTag,
    content: impl MessageBody + 'static,
) -> HttpResponse {
    let known = is_known(request, &tag);
    response.insert_header(ETag(tag));
    if known { response.status(StatusCode::NOT_MODIFIED).finish() } else { response.body(content) }
}

fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    match request.get_header::<IfNoneMatch>() {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(tag)),
        None => false,
    }
}
