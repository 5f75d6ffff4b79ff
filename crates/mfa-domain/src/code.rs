//! What people type to prove themselves, told apart by its form.

use std::fmt;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use otp_core::Code;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::typed;

/// A code as a person submitted it, parsed once at the edge.
///
/// It is read as [`typed()`] says: without white space, dashes and what cannot be seen, digits of every
/// script as the digits they are. What is left is either 6 to 8 digits or a backup code; the two forms
/// never overlap.
///
/// ```
/// use mfa_domain::SubmittedCode;
/// assert!(matches!(SubmittedCode::parse("123 456"), Ok(SubmittedCode::OneTimePassword(_))));
/// assert!(matches!(SubmittedCode::parse("abcd-efgh-jkmn-pqrs"), Ok(SubmittedCode::Backup(_))));
/// assert!(SubmittedCode::parse("12345").is_err());
/// ```
pub enum SubmittedCode {
    /// Of an authenticator: TOTP or HOTP.
    OneTimePassword(Code),
    /// From the list of backup codes.
    Backup(BackupCode),
}

impl SubmittedCode {
    /// The longest text that is looked at, in bytes; anything longer is malformed.
    pub const MAX_LENGTH: usize = 256;

    /// Takes what a person typed.
    ///
    /// # Errors
    /// [`MalformedCode`] if it has not the form of any code.
    pub fn parse(text: &str) -> Result<Self, MalformedCode> {
        if text.len() > Self::MAX_LENGTH {
            return Err(MalformedCode);
        }
        let text = typed(text);
        if let Ok(code) = Code::parse(&text) {
            return Ok(Self::OneTimePassword(code));
        }
        BackupCode::parse(&text).map(Self::Backup)
    }

    /// The form as the audit trail names it.
    pub(crate) const fn form(&self) -> &'static str {
        match self {
            Self::OneTimePassword(_) => "otp",
            Self::Backup(_) => "backup_code",
        }
    }
}

/// One backup code: 16 characters of Crockford's base32 (80 bits), shown as `xxxx-xxxx-xxxx-xxxx`.
///
/// A look-up secret of NIST SP 800-63B-4, 3.1.2. Letters are read without regard to case, and
/// `o`, `i` and `l` as the digits that they look like.
pub struct BackupCode(Zeroizing<String>);

impl BackupCode {
    /// Random bytes in a code: 80 bits, above the 64 that a look-up secret needs at least.
    pub const ENTROPY_BYTES: usize = 10;

    /// The code of ten fresh random bytes.
    #[must_use]
    pub fn from_entropy(random: &[u8; Self::ENTROPY_BYTES]) -> Self {
        Self(Zeroizing::new(CROCKFORD.encode(random)))
    }

    fn parse(text: &str) -> Result<Self, MalformedCode> {
        let bytes = CROCKFORD.decode(text.as_bytes()).map(Zeroizing::new);
        match bytes.ok().as_deref().and_then(|bytes| bytes.as_slice().try_into().ok()) {
            Some(random) => Ok(Self::from_entropy(random)),
            None => Err(MalformedCode),
        }
    }

    /// The canonical text: 16 lower-case characters without hyphens. It is what gets hashed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The code as it is shown to a person, in groups of four.
    #[must_use]
    pub fn to_display(&self) -> Zeroizing<String> {
        let (a, rest) = self.0.split_at(4);
        let (b, rest) = rest.split_at(4);
        let (c, d) = rest.split_at(4);
        Zeroizing::new(format!("{a}-{b}-{c}-{d}"))
    }
}

/// Crockford's base32: no `i`, `l`, `o` and `u`, so that no code can be misread or spell a word.
static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    specification.translate.from.push_str("ABCDEFGHJKMNPQRSTVWXYZOoIiLl");
    specification.translate.to.push_str("abcdefghjkmnpqrstvwxyz001111");
    #[expect(clippy::expect_used, reason = "a constant, and every test of codes reads it")]
    specification.encoding().expect("a valid alphabet")
});

/// A text that is not the form of any code that there could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a code has 6 to 8 digits, a backup code 16 letters and digits")]
pub struct MalformedCode;

impl fmt::Debug for SubmittedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneTimePassword(_) => "SubmittedCode::OneTimePassword(..)",
            Self::Backup(_) => "SubmittedCode::Backup(..)",
        })
    }
}

impl fmt::Debug for BackupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn backup(text: &str) -> Option<String> {
        match SubmittedCode::parse(text) {
            Ok(SubmittedCode::Backup(code)) => Some(code.expose().to_owned()),
            _ => None,
        }
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        for text in [
            "123456",
            "123 456",
            "123-456",
            " 1 2 3 4 5 6 ",
            "123456\n",
            "١٢٣٤٥٦",
            "\u{feff}１２３\u{2009}４５６",
        ] {
            let Ok(SubmittedCode::OneTimePassword(code)) = SubmittedCode::parse(text) else {
                panic!("{text:?}");
            };
            assert_eq!(code.as_str(), "123456", "{text:?}");
        }
        for text in ["0123456", "01234567"] {
            assert!(matches!(SubmittedCode::parse(text), Ok(SubmittedCode::OneTimePassword(_))), "{text}");
        }
        for text in
            ["OIL0-1234-abcd-EFGH", "OIL0–1234\u{a0}abcd\tEFGH\n", "ｏｉｌ０－１２３４－ａｂｃｄ－ＥＦＧＨ"]
        {
            assert_eq!(backup(text).as_deref(), Some("01101234abcdefgh"), "{text:?}");
        }
    }

    #[test]
    fn everything_else_is_malformed() {
        let digits = "1".repeat(1 << 20);
        let spaces = " ".repeat(251) + "123456";
        for text in [
            "",
            " ",
            "12345",
            "123456789",
            "+12345",
            "12345\n",
            "12345a",
            "\n\u{200b}",
            "٠١٢٣٤",
            "①②③④⑤⑥",
            "123.456",
            "123456\0",
            "uuuu-uuuu-uuuu-uuuu",
            "abcd-efgh-jkmn-pqr",
            "abcd-efgh-jkmn-pqrs-t",
            digits.as_str(),
            spaces.as_str(),
        ] {
            assert!(SubmittedCode::parse(text).is_err(), "{text:.40}");
        }
    }

    proptest! {
        #[test]
        fn a_generated_code_is_read_back(random: [u8; 10]) {
            let code = BackupCode::from_entropy(&random);
            let shown = code.to_display();
            for typed in [shown.to_string(), shown.to_uppercase()] {
                let read = backup(&typed);
                prop_assert_eq!(read.as_deref(), Some(code.expose()));
            }
        }

        #[test]
        fn different_entropy_gives_different_codes(a: [u8; 10], b: [u8; 10]) {
            prop_assume!(a != b);
            let (a, b) = (BackupCode::from_entropy(&a), BackupCode::from_entropy(&b));
            prop_assert_ne!(a.expose(), b.expose());
        }
    }
}
