//! Text that people write: labels and reasons.

use std::fmt;

use thiserror::Error;

/// What a person calls one of their factors: "Work phone".
///
/// 1 to 64 characters after trimming, none of them a control or an invisible direction mark, so
/// that a label can neither forge a log line nor show as another one.
///
/// ```
/// use mfa_domain::Label;
/// assert_eq!(Label::new("  Work phone ").unwrap().as_str(), "Work phone");
/// assert!(Label::new("a\r\nb").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

/// Why an operator did what they did; kept in the audit trail.
///
/// 1 to 256 characters under the rules of [`Label`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Label {
    /// The longest label, in characters.
    pub const MAX_LENGTH: usize = 64;

    /// Takes a label as a person typed it.
    ///
    /// # Errors
    /// [`InvalidText`] if it is empty, too long or holds a control character.
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
    /// The same with a number behind it: "Phone 2". Its end is cut off where there is no room.
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

    /// Takes a reason as a person typed it.
    ///
    /// # Errors
    /// [`InvalidText`] if it is empty, too long or holds a control character.
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
    /// More characters than allowed.
    #[error("must have at most {max} characters")]
    TooLong {
        /// The most that is allowed.
        max: usize,
    },
    /// A control character, line break or direction mark.
    #[error("must not hold control characters")]
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

/// Whether a character shows as itself: no control, line separator, direction mark, or anything else
/// that is there without being seen. The joiners that scripts and emoji need are none of these.
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
