//! One-time passwords as users type them.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::parameters::Digits;

/// A one-time password: 6 to 8 ASCII digits, leading zeros kept.
///
/// A code is a string, never a number: `012345` and `12345` differ. It wipes itself on drop, prints only its
/// name, and has no `==`; [`Totp::verify`](crate::Totp::verify) and [`Hotp::verify`](crate::Hotp::verify)
/// compare it in constant time.
///
/// ```
/// use otp_core::{Code, Digits};
///
/// let code = Code::parse("012345")?;
/// assert_eq!(code.digits(), Digits::SIX);
/// assert_eq!(format!("{code:?}"), "Code");
/// assert!(Code::parse("123 456").is_err());
/// # Ok::<(), otp_core::CodeError>(())
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Code {
    /// The value of the digits. Together with `digits` it identifies the text, and it is cheaper to compare.
    value: u32,
    text: [u8; Self::MAX_LENGTH],
    #[zeroize(skip)]
    digits: Digits,
}

impl Code {
    /// The maximum number of digits.
    const MAX_LENGTH: usize = 8;

    /// Parses exactly 6 to 8 ASCII digits: no spaces, no sign, no digits of other scripts. Strip what people
    /// type around the digits before the call.
    ///
    /// The length is checked first, so text of any size is rejected at once.
    ///
    /// # Errors
    ///
    /// [`CodeError::Length`] unless the text is 6 to 8 bytes long, [`CodeError::Character`] at the first byte
    /// that is not an ASCII digit.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let digits = u8::try_from(text.len())
            .ok()
            .and_then(|length| Digits::new(length).ok())
            .ok_or(CodeError::Length)?;
        let mut code = Self { value: 0, text: [0; Self::MAX_LENGTH], digits };
        for (index, (slot, byte)) in code.text.iter_mut().zip(text.bytes()).enumerate() {
            if !byte.is_ascii_digit() {
                return Err(CodeError::Character { position: index + 1 });
            }
            *slot = byte;
            code.value = code.value * 10 + u32::from(byte - b'0');
        }
        Ok(code)
    }

    /// Formats `value`, which is less than ten to the power of `digits`.
    pub(crate) fn from_value(value: u32, digits: Digits) -> Self {
        let mut code = Self { value, text: [0; Self::MAX_LENGTH], digits };
        let mut rest = value;
        for slot in code.text[..usize::from(digits.value())].iter_mut().rev() {
            let [digit, ..] = (rest % 10).to_le_bytes();
            *slot = b'0' + digit;
            rest /= 10;
        }
        code
    }

    /// The number of digits.
    #[must_use]
    pub const fn digits(&self) -> Digits {
        self.digits
    }

    /// The digits, 6 to 8. They are secret: only the user's device and tests need them.
    #[must_use]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "only ASCII digits are ever stored")]
    pub fn as_str(&self) -> &str {
        let text = &self.text[..usize::from(self.digits.value())];
        core::str::from_utf8(text).expect("digits are ASCII")
    }

    pub(crate) const fn value(&self) -> u32 {
        self.value
    }
}

/// Prints the name only.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code")
    }
}

/// The text is not a code. The message never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The text is shorter than 6 or longer than 8 bytes.
    #[error("a code has 6 to 8 digits")]
    Length,
    /// The text contains a byte that is not an ASCII digit.
    #[error("byte {position} of the code is not an ASCII digit")]
    Character {
        /// The position of that byte, from 1.
        position: usize,
    },
}
