//! Known defects of authenticator apps.

use alloc::vec::Vec;
use core::fmt;

use super::Token;
use crate::algorithm::Algorithm;
use crate::parameters::{Digits, Period};

/// A parameter that the RFCs allow, but that some authenticator app ignores or gets wrong. The app then shows
/// codes that never match, without any error; so activate an enrolment only after a first code has confirmed
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CompatibilityWarning {
    /// SHA-256 or SHA-512, which Google Authenticator long computed as SHA-1.
    Algorithm(Algorithm),
    /// SHA-512, for which Microsoft Authenticator shows wrong codes.
    Sha512,
    /// Seven or eight digits, where Google Authenticator long showed six.
    Digits(Digits),
    /// A period other than 30 seconds, which Google Authenticator long ignored.
    Period(Period),
}

/// Returns the apps' known problems with a token: none for SHA-1, 6 digits and 30 seconds, the default.
///
/// ```
/// use otp_core::uri::{Token, compatibility};
/// use otp_core::{Algorithm, Digits, Period, Totp};
///
/// assert!(compatibility(&Token::Totp(Totp::default())).is_empty());
///
/// let totp = Totp::new(Algorithm::Sha512, Digits::SIX, Period::default());
/// let codes: Vec<_> = compatibility(&Token::Totp(totp)).iter().map(|w| w.code()).collect();
/// assert_eq!(codes, ["algorithm-ignored", "sha512-wrong"]);
/// ```
#[must_use]
pub fn compatibility(token: &Token) -> Vec<CompatibilityWarning> {
    let (algorithm, digits, period) = match token {
        Token::Totp(totp) => (totp.algorithm(), totp.digits(), totp.period()),
        Token::Hotp { hotp, .. } => (hotp.algorithm(), hotp.digits(), Period::default()),
    };
    let mut warnings = Vec::new();
    if algorithm != Algorithm::default() {
        warnings.push(CompatibilityWarning::Algorithm(algorithm));
    }
    if algorithm == Algorithm::Sha512 {
        warnings.push(CompatibilityWarning::Sha512);
    }
    if digits != Digits::default() {
        warnings.push(CompatibilityWarning::Digits(digits));
    }
    if period != Period::default() {
        warnings.push(CompatibilityWarning::Period(period));
    }
    warnings
}

impl CompatibilityWarning {
    /// A stable identifier for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Algorithm(_) => "algorithm-ignored",
            Self::Sha512 => "sha512-wrong",
            Self::Digits(_) => "digits-ignored",
            Self::Period(_) => "period-ignored",
        }
    }
}

impl fmt::Display for CompatibilityWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(algorithm) => write!(
                f,
                "Google Authenticator has long ignored the algorithm: where it computes SHA1 instead of {algorithm}, \
                 its codes never match."
            ),
            Self::Sha512 => f.write_str("Microsoft Authenticator shows wrong codes for SHA512."),
            Self::Digits(digits) => write!(
                f,
                "Google Authenticator has long ignored the number of digits: where it shows 6 instead of {}, its codes \
                 never match.",
                digits.value()
            ),
            Self::Period(period) => write!(
                f,
                "Google Authenticator has long ignored the period: where it uses 30 seconds instead of {}, its codes \
                 never match.",
                period.seconds()
            ),
        }
    }
}
