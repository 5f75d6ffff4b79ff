//! Texts that people write: labels and reasons.

use std::fmt;

use thiserror::Error;

/// A person's name for a factor, such as "Work phone".
///
/// 1 to 64 characters after trimming, without control characters and invisible direction marks, so that a label can
/// neither forge a log line nor imitate another label.
///
/// ```
/// use mfa_domain::Label;
/// assert_eq!(Label::new("  Work phone ").unwrap().as_str(), "Work phone");
/// assert!(Label::new("a\r\nb").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

/// An operator's reason for a change; kept in the audit trail.
///
/// 1 to 256 characters under the rules of [`Label`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

/// A name of an account or a person, as a browser shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownName(String);

impl ShownName {
    /// The most characters.
    pub const MAX_LENGTH: usize = 256;

    /// Checks a name, and removes white space around it.
    ///
    /// # Errors
    /// [`InvalidText`] if it is empty, longer than 256 characters, or has invisible characters.
    pub fn new(text: &str) -> Result<Self, InvalidText> {
        checked(text, Self::MAX_LENGTH).map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Label {
    /// The longest label, in characters.
    pub const MAX_LENGTH: usize = 64;

    /// Parses a label as typed.
    ///
    /// # Errors
    /// [`InvalidText`] if it is empty, too long or contains a control character.
    pub fn new(text: &str) -> Result<Self, InvalidText> {
        checked(text, Self::MAX_LENGTH).map(Self)
    }

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Label {
    /// The label with a number appended: "Phone 2". A label that is too long is cut off.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Self {
        let number = format!(" {number}");
        let room = Self::MAX_LENGTH.saturating_sub(number.len());
        let kept: String = self.0.chars().take(room).collect();
        Self(format!("{}{number}", kept.trim_end()))
    }
}

impl Reason {
    /// The longest reason, in characters.
    pub const MAX_LENGTH: usize = 256;

    /// Parses a reason as typed.
    ///
    /// # Errors
    /// [`InvalidText`] if it is empty, too long or contains a control character.
    pub fn new(text: &str) -> Result<Self, InvalidText> {
        checked(text, Self::MAX_LENGTH).map(Self)
    }

    /// The reason as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidText {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// Too many characters.
    #[error("must have at most {max} characters")]
    TooLong {
        /// The maximum.
        max: usize,
    },
    /// A control character, line break or direction mark.
    #[error("must not contain control characters")]
    ControlCharacter,
}

fn checked(text: &str, max: usize) -> Result<String, InvalidText> {
    if !text.chars().all(visible) {
        return Err(InvalidText::ControlCharacter);
    }
    let text = text.trim();
    match text.chars().count() {
        0 => Err(InvalidText::Empty),
        n if n > max => Err(InvalidText::TooLong { max }),
        _ => Ok(text.to_owned()),
    }
}

/// Whether a character is visible: no control, line separator, direction mark, or other invisible character. The
/// joiners that scripts and emoji need count as visible.
pub(crate) fn visible(c: char) -> bool {
    let unseen = matches!(
        c,
        '\u{61C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
    );
    !c.is_control() && !unseen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_room_behind_the_longest_label() {
        assert_eq!(Label::new("Phone").unwrap().numbered(2).as_str(), "Phone 2");
        let long = Label::new(&"é".repeat(64)).unwrap().numbered(10);
        assert_eq!(long.as_str(), format!("{} 10", "é".repeat(61)));
        let blank = Label::new(&format!("{} bb", "a".repeat(61))).unwrap();
        assert_eq!(blank.numbered(2).as_str(), format!("{} 2", "a".repeat(61)));
    }

    #[test]
    fn labels_that_could_forge_a_line_or_hide_are_refused() {
        for bad in [
            "a\nb",
            "a\r\nb",
            "\u{7f}",
            "\u{0}",
            "a\u{202e}b",
            "\u{2028}",
            "\u{61c}",
            "\u{200b}",
            "\u{2066}",
            "\u{e0041}",
        ] {
            assert_eq!(Label::new(bad), Err(InvalidText::ControlCharacter), "{bad:?}");
        }
        assert_eq!(Label::new("   "), Err(InvalidText::Empty));
        assert_eq!(Label::new(&"é".repeat(65)), Err(InvalidText::TooLong { max: 64 }));
        assert!(Label::new(&"é".repeat(64)).is_ok());
    }
}
