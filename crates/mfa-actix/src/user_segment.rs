//! How a path names a user.

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::UserId;

use crate::problem::Problem;

/// Reads the segment of a path that names a user, after it was percent-decoded.
///
/// It is the id itself, or `~` and the base64url of it (RFC 4648, section 5, without padding). Proxies take dots and
/// empty segments out of a path, decode `%2F`, and turn `\` into `/`; the request would then be about another user. So
/// an id with which that can happen is read in the second form alone.
pub(crate) fn read(segment: &str) -> Result<UserId, Problem> {
    let id = match segment.strip_prefix('~') {
        Some(encoded) => {
            let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).ok();
            let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.ok_or_else(|| {
                Problem::invalid("user", "after ~ it must be the base64url of UTF-8, without padding")
            })?
        }
        None if is_plain(segment) => segment.to_owned(),
        None => return Err(Problem::invalid("user", NOT_PLAIN)),
    };
    UserId::new(&id).map_err(|error| Problem::invalid("user", error))
}

const NOT_PLAIN: &str =
    "an id that holds /, \\ or U+FFFD, begins with ~, or is . or .. is written as ~ and its base64url";

fn is_plain(segment: &str) -> bool {
    // The framework puts U+FFFD in the place of bytes that are no UTF-8.
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
