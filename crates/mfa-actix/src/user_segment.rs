//! The path segment that names a user.

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::UserId;

use crate::problem::Problem;

/// Parses the percent-decoded path segment that names a user.
///
/// It is the id itself, or `~` and its unpadded base64url (RFC 4648, section 5). Proxies remove dots and empty
/// segments from a path, decode `%2F`, and turn `\` into `/`; the request would then name another user. So an id that
/// a proxy may rewrite is accepted only in the second form.
pub(crate) fn read(segment: &str) -> Result<UserId, Problem> {
    let id = match segment.strip_prefix('~') {
        Some(encoded) => {
            let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).ok();
            let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            decoded
                .ok_or_else(|| Problem::invalid("user", "must be unpadded base64url of UTF-8 after the ~"))?
        }
        None if is_plain(segment) => segment.to_owned(),
        None => return Err(Problem::invalid("user", NOT_PLAIN)),
    };
    UserId::new(&id).map_err(|error| Problem::invalid("user", error))
}

const NOT_PLAIN: &str =
    "must be ~ and the base64url of the id if the id contains /, \\ or U+FFFD, begins with ~, or is . or ..";

fn is_plain(segment: &str) -> bool {
    // The framework replaces bytes that are not UTF-8 by U+FFFD.
    !segment.contains(['/', '\\', '\u{fffd}']) && !matches!(segment, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(segment: &str) -> Option<String> {
        read(segment).ok().map(|id| id.as_str().to_owned())
    }

    #[test]
    fn every_id_has_a_form_that_no_proxy_rewrites() {
        for text in ["a/b", "/", r"CORP\ann", ".", "..", "~", "~YQ", "../../admin", "\u{fffd}"] {
            let segment = format!("~{}", BASE64URL_NOPAD.encode(text.as_bytes()));
            assert_eq!(id(&segment).as_deref(), Some(text));
            assert_eq!(id(text).filter(|read| read == text), None, "{text}");
        }
        for text in ["alice", "auth0|5f7c", "a b", "...", "a~", "%2F", "Älice"] {
            assert_eq!(id(text).as_deref(), Some(text));
            let segment = format!("~{}", BASE64URL_NOPAD.encode(text.as_bytes()));
            assert_eq!(id(&segment).as_deref(), Some(text));
        }
    }

    #[test]
    fn an_encoded_id_has_one_spelling() {
        // Padding, the other alphabet, spare bits, white space, no UTF-8, no id.
        for segment in ["~", "~YQ==", "~Pz8_Pz8+", "~YR", "~Y Q", "~_w", "~AA", "~Cg"] {
            assert_eq!(id(segment), None, "{segment}");
        }
    }
}
