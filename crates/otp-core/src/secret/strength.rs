//! Minimum lengths of secrets.

use core::fmt;

use super::{Secret, SecretError};

/// The intended use of a secret, which determines its minimum length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strength {
    /// A new secret: at least 128 bits (RFC 4226, section 4, R6); a warning below the recommended 160.
    Enrol,
    /// A secret that another service generated and users have already: at least 80 bits, the length that
    /// Google Authenticator made common; a warning below 128.
    Verify,
}

impl Strength {
    /// The minimum length that the policy accepts, in bytes: 16 or 10.
    #[must_use]
    pub const fn min_bytes(self) -> usize {
        match self {
            Self::Enrol => Secret::MIN_BYTES,
            Self::Verify => 10,
        }
    }
}

impl Secret {
    /// Checks the length against a policy: accepted, accepted with a warning, or an error.
    ///
    /// # Errors
    ///
    /// [`SecretError::TooWeak`] if the secret is shorter than the policy accepts.
    ///
    /// ```
    /// use otp_core::{Secret, SecretWarning, Strength};
    ///
    /// let short = Secret::from_base32("JBSWY3DPEHPK3PXP")?;
    /// assert!(short.check(Strength::Enrol).is_err());
    /// assert_eq!(short.check(Strength::Verify)?, Some(SecretWarning::BelowMinimum { bits: 80 }));
    /// # Ok::<(), otp_core::SecretError>(())
    /// ```
    pub fn check(&self, policy: Strength) -> Result<Option<SecretWarning>, SecretError> {
        let bytes = self.expose().len();
        let bits = bytes * 8;
        if bytes < policy.min_bytes() {
            return Err(SecretError::TooWeak { bits, minimum: policy.min_bytes() * 8 });
        }
        Ok(if bytes < Self::MIN_BYTES {
            Some(SecretWarning::BelowMinimum { bits })
        } else if bytes < Self::DEFAULT_BYTES && policy == Strength::Enrol {
            Some(SecretWarning::BelowRecommended { bits })
        } else {
            None
        })
    }
}

/// A warning about an accepted secret that is shorter than recommended or not canonically encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecretWarning {
    /// The secret is below the 128 bits that RFC 4226 requires.
    BelowMinimum {
        /// The length of the secret, in bits.
        bits: usize,
    },
    /// The secret is below the 160 bits that RFC 4226 recommends.
    BelowRecommended {
        /// The length of the secret, in bits.
        bits: usize,
    },
    /// The last base32 character has spare bits set, which belong to no byte.
    SpareBits,
    /// The number of `=` at the end is not what the encoding requires.
    Padding,
}

impl SecretWarning {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BelowMinimum { .. } => "secret-below-minimum",
            Self::BelowRecommended { .. } => "secret-below-recommended",
            Self::SpareBits => "secret-spare-bits",
            Self::Padding => "secret-padding",
        }
    }
}

impl fmt::Display for SecretWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BelowMinimum { bits } => write!(
                f,
                "The secret has only {bits} bits; RFC 4226 requires 128. Enrol this user again with a new one."
            ),
            Self::BelowRecommended { bits } => {
                write!(f, "The secret has {bits} bits; RFC 4226 recommends 160.")
            }
            Self::SpareBits => f.write_str(
                "The last character of the secret has bits that belong to no byte; they were dropped. \
                 Compare a code with the token's.",
            ),
            Self::Padding => f.write_str("The secret does not end with as many = as base32 asks for."),
        }
    }
}
