//! The host application's ids of its users.

use std::fmt;

use super::InvalidId;
use crate::unicode::{is_nfc, is_unassigned_or_unseen};

/// The host application's own id of one of its users, opaque to this crate and compared exactly.
///
/// 1 to 255 bytes of UTF-8 in Normalization Form C, without control, format, private-use or unassigned characters,
/// and without white space at its ends. So two different ids never differ in their encoding alone.
///
/// It has no `Display`: use [`as_str`](Self::as_str) for programs, [`escaped`](Self::escaped) for logs and terminals.
///
/// ```
/// use mfa_domain::UserId;
/// for id in ["alice+test@example.com", "auth0|5f7c", "CORP\\ann", "cn=a b,ou=people", "Älice"] {
///     assert!(UserId::new(id).is_ok());
/// }
/// assert!(UserId::new("A\u{308}lice").is_err(), "not in Normalization Form C");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(String);

impl UserId {
    /// The longest user id, in bytes of UTF-8.
    pub const MAX_LENGTH: usize = 255;

    /// Parses a user id of the host.
    ///
    /// # Errors
    /// [`InvalidId`] if it is empty, too long, not normalized, or contains a character that is not allowed.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len()) && text.trim() == text;
        if fits && !text.chars().any(is_unassigned_or_unseen) && is_nfc(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidId {
            what: "user",
            rule: "1 to 255 bytes of UTF-8 in Normalization Form C, without control, format, private-use or \
                unassigned characters, and without white space at its ends",
        })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id for a line that people read. It can neither end the line nor imitate the text beside it.
    ///
    /// ```
    /// use mfa_domain::UserId;
    /// # fn shown(id: &str) -> Result<String, mfa_domain::identity::InvalidId> {
    /// #     Ok(UserId::new(id)?.escaped().to_string())
    /// # }
    /// assert_eq!(shown("o'brien@example.com")?, "o'brien@example.com");
    /// assert_eq!(shown("cn=a b")?, r#""cn=a b""#);
    /// assert_eq!(shown(r"CORP\ann")?, r#""CORP\\ann""#);
    /// assert_eq!(shown("Älice")?, r#""\u{c4}lice""#);
    /// # Ok::<(), mfa_domain::identity::InvalidId>(())
    /// ```
    #[must_use]
    pub fn escaped(&self) -> Escaped<'_> {
        Escaped(&self.0)
    }
}

/// A user id for people; see [`UserId::escaped`]. An id of visible ASCII is shown unchanged; any other is in quotes,
/// with `\u{…}` for what is not ASCII.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a str);

impl<'a> Escaped<'a> {
    /// Escapes a text that may not be a valid id, such as one of a damaged row.
    pub(crate) const fn of(text: &'a str) -> Self {
        Self(text)
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '\'' => f.write_str("'")?,
                other => write!(f, "{}", other.escape_default())?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_common_identity_providers_are_ids() {
        let longest = ["u".repeat(255), "ä".repeat(127), "\u{1F511}".repeat(63)];
        for id in [
            "a",
            "auth0|5f7c8ec7c33c6c004bbafe82",
            "google-oauth2|103547991597142817347",
            "o'brien@example.com",
            r"CORP\ann",
            "cn=a b,ou=people",
            "ann#EXT#@x.onmicrosoft.com",
            "dXNlcjox==",
            "a/b",
            ".",
            "..",
            "~",
            "S-1-5-21-3623811015-3361044348-30300820-1013",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "{b3c1}",
            "%2e%2e",
            "a+b c?d&e=f;g\"h<i>`j^",
            "Älice",
            "Ἀλίκη",
            "アリス",
            "أليس",
            "👩",
        ]
        .into_iter()
        .chain(longest.iter().map(String::as_str))
        {
            assert_eq!(UserId::new(id).map(|id| id.as_str().to_owned()).as_deref(), Ok(id));
        }
    }

    #[test]
    fn what_cannot_be_told_apart_or_seen_is_no_id() {
        let too_long = ["u".repeat(256), "ä".repeat(128), "\u{1F511}".repeat(64)];
        for text in [
            "",
            " ",
            " a",
            "a ",
            "\u{a0}a",
            "a\u{3000}",
            "a\n",
            "a\nb",
            "a\0b",
            "a\u{7f}b",
            "a\u{85}b",
            "a\u{ad}b",
            "a\u{200b}b",
            "a\u{200d}b",
            "a\u{202e}b",
            "\u{feff}a",
            "a\u{e0041}b",
            "a\u{e000}b",
            "a\u{f0000}b",
            "a\u{378}b",
            "a\u{ffff}b",
            "a\u{10ffff}b",
            "A\u{308}",
            "\u{212b}",
            "\u{f900}",
        ]
        .into_iter()
        .chain(too_long.iter().map(String::as_str))
        {
            assert!(UserId::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn escaped_ids_are_visible_ascii_and_no_two_look_alike() {
        let ids = ["a", "a b", "a\u{a0}b", "\u{430}", "\"a\"", r"\u{430}", r#"\"a\""#, "a'b", "أ"];
        let shown: Vec<_> = ids.iter().map(|id| UserId(id.to_string()).escaped().to_string()).collect();
        for (place, text) in shown.iter().enumerate() {
            assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{text}");
            assert!(!shown[..place].contains(text), "{text}");
        }
    }
}
