//! Codes as people type them, distinguished by their form.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use otp_core::Code;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::typed;

/// A submitted code, parsed once at the edge.
///
/// It is first normalised by [`typed()`]: white space, dashes and invisible characters are dropped, and digits of any
/// script become ASCII. The result is either 6 to 10 digits or a backup code; the two forms never overlap.
///
/// ```
/// use mfa_domain::SubmittedCode;
/// assert!(matches!(SubmittedCode::parse("123 456"), Ok(SubmittedCode::OneTimePassword(_))));
/// assert!(matches!(SubmittedCode::parse("abcd-efgh-jkmn-pqrs"), Ok(SubmittedCode::Backup(_))));
/// assert!(SubmittedCode::parse("12345").is_err());
/// ```
pub enum SubmittedCode {
    /// 6 to 8 digits: a code of an authenticator (TOTP or HOTP), or a sent code.
    OneTimePassword(Code),
    /// 9 or 10 digits: a sent code, since no authenticator shows so many.
    Sent(SentCode),
    /// A backup code.
    Backup(BackupCode),
}

impl SubmittedCode {
    /// The longest text that is parsed, in bytes; anything longer is malformed.
    pub const MAX_LENGTH: usize = 256;

    /// Parses a code as typed.
    ///
    /// # Errors
    /// [`MalformedCode`] if it does not have the form of any code.
    pub fn parse(text: &str) -> Result<Self, MalformedCode> {
        if text.len() > Self::MAX_LENGTH {
            return Err(MalformedCode);
        }
        let text = typed(text);
        if let Ok(code) = Code::parse(&text) {
            return Ok(Self::OneTimePassword(code));
        }
        if let Ok(code) = BackupCode::parse(&text) {
            return Ok(Self::Backup(code));
        }
        SentCode::of_digits(text).map(Self::Sent).ok_or(MalformedCode)
    }

    /// The code as an answer to a challenge, if it has that form.
    pub(crate) fn sent(&self) -> Option<SentCode> {
        match self {
            Self::OneTimePassword(code) => Some(code.into()),
            Self::Sent(code) => Some(SentCode(code.0.clone())),
            Self::Backup(_) => None,
        }
    }

    /// The name of the form in the audit trail.
    pub(crate) const fn form(&self) -> &'static str {
        match self {
            Self::OneTimePassword(_) | Self::Sent(_) => "otp",
            Self::Backup(_) => "backup_code",
        }
    }
}

/// A code that is sent to its owner: 6 to 10 ASCII digits, including leading zeros.
///
/// [`ChallengePolicy::digits`](crate::policy::ChallengePolicy::digits) sets the number of digits of new codes. A
/// typed code may have any number of them, since the policy may have changed after the code was sent.
///
/// ```
/// use mfa_domain::SentCode;
/// assert_eq!(SentCode::parse("01234 56789")?.as_str(), "0123456789");
/// assert!(SentCode::parse("12345").is_err());
/// # Ok::<(), mfa_domain::code::MalformedCode>(())
/// ```
pub struct SentCode(Zeroizing<String>);

impl SentCode {
    /// The allowed numbers of digits: at least what NIST SP 800-63B-4, 3.1.3.2 requires, at most what people can
    /// copy.
    pub const DIGITS: RangeInclusive<u8> = 6..=10;

    /// Parses a code as typed, normalised by [`typed()`].
    ///
    /// # Errors
    /// [`MalformedCode`] if it is not 6 to 10 digits.
    pub fn parse(text: &str) -> Result<Self, MalformedCode> {
        if text.len() > SubmittedCode::MAX_LENGTH {
            return Err(MalformedCode);
        }
        Self::of_digits(typed(text)).ok_or(MalformedCode)
    }

    /// The digits. This exposes the secret: use it only for the message to the owner, and in tests.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes a code from 64 fresh random bits; `None` if `digits` is not allowed. The probabilities of two codes
    /// differ by at most one in 10^9.
    pub(crate) fn from_entropy(mut random: u64, digits: u8) -> Option<Self> {
        if !Self::DIGITS.contains(&digits) {
            return None;
        }
        let width = usize::from(digits);
        random %= 10_u64.pow(u32::from(digits));
        let text = Zeroizing::new(format!("{random:0width$}"));
        random.zeroize();
        Some(Self(text))
    }

    fn of_digits(text: Zeroizing<String>) -> Option<Self> {
        let fits = u8::try_from(text.len()).is_ok_and(|length| Self::DIGITS.contains(&length));
        (fits && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(Self(text))
    }
}

impl From<&Code> for SentCode {
    fn from(code: &Code) -> Self {
        Self(Zeroizing::new(code.as_str().to_owned()))
    }
}

/// One backup code: 16 characters of Crockford's base32 (80 bits), shown as `xxxx-xxxx-xxxx-xxxx`.
///
/// A look-up secret (NIST SP 800-63B-4, 3.1.2). Case is ignored, and `o`, `i` and `l` are read as the digits that
/// they resemble.
pub struct BackupCode(Zeroizing<String>);

impl BackupCode {
    /// Random bytes in a code: 80 bits; a look-up secret needs at least 64.
    pub const ENTROPY_BYTES: usize = 10;

    /// Makes a code from 10 fresh random bytes.
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

    /// The canonical text, which is hashed: 16 lower-case characters without hyphens.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The code as people see it, in groups of four.
    #[must_use]
    pub fn to_display(&self) -> Zeroizing<String> {
        let (a, rest) = self.0.split_at(4);
        let (b, rest) = rest.split_at(4);
        let (c, d) = rest.split_at(4);
        Zeroizing::new(format!("{a}-{b}-{c}-{d}"))
    }
}

/// Crockford's base32: no `i`, `l`, `o` and `u`, so that no code is misread or spells a word.
static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    specification.translate.from.push_str("ABCDEFGHJKMNPQRSTVWXYZOoIiLl");
    specification.translate.to.push_str("abcdefghjkmnpqrstvwxyz001111");
    #[expect(clippy::expect_used, reason = "a constant, and every test of codes reads it")]
    specification.encoding().expect("a valid alphabet")
});

/// The text does not have the form of any code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a code has 6 to 10 digits, a backup code 16 letters and digits")]
pub struct MalformedCode;

impl fmt::Debug for SubmittedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneTimePassword(_) => "SubmittedCode::OneTimePassword(..)",
            Self::Sent(_) => "SubmittedCode::Sent(..)",
            Self::Backup(_) => "SubmittedCode::Backup(..)",
        })
    }
}

impl fmt::Debug for SentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SentCode(..)")
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
        for text in ["012345678", "01234 56789"] {
            assert!(matches!(SubmittedCode::parse(text), Ok(SubmittedCode::Sent(_))), "{text}");
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
            "12345678901",
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
            assert!(SentCode::parse(text).is_err(), "{text:.40}");
        }
        assert!(SentCode::parse("abcd-efgh-jkmn-pqrs").is_err());
    }

    #[test]
    fn a_code_that_is_sent_has_as_many_digits_as_it_is_asked_for() {
        for (random, digits, text) in [
            (7, 6, "000007"),
            (1_000_042, 6, "000042"),
            (7, 8, "00000007"),
            (12_345_678_901, 10, "2345678901"),
        ] {
            let code = SentCode::from_entropy(random, digits).unwrap();
            assert_eq!(code.as_str(), text);
            assert_eq!(SubmittedCode::parse(text).unwrap().sent().unwrap().as_str(), text);
        }
        for digits in [0, 5, 11, 255] {
            assert!(SentCode::from_entropy(7, digits).is_none(), "{digits}");
        }
        assert!(SubmittedCode::parse("abcd-efgh-jkmn-pqrs").unwrap().sent().is_none());
        assert_eq!(format!("{:?}", SentCode::parse("123456").unwrap()), "SentCode(..)");
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
