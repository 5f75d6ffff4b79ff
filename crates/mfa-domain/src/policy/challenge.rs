//! How long challenges are open, and what their codes look like.

use std::fmt::Debug;
use std::time::Duration;

use super::InvalidPolicy;
use crate::SentCode;

/// Rules for challenges.
pub trait ChallengePolicy: Debug + Send + Sync + 'static {
    /// Validates the numbers of the policy. [`Mfa::new`](crate::Mfa::new) calls it.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names each number that is out of range.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// The number of digits of a sent code: 6 to 10. With any other number, generating a code fails and nothing is
    /// sent. Codes that are already sent stay good when the number changes.
    fn digits(&self) -> u8;

    /// How long a challenge can be answered.
    fn lifetime(&self) -> Duration;

    /// The number of wrong codes that ends a challenge. Each also costs an attempt of the account.
    fn max_failures(&self) -> u32;

    /// How many times the code of one challenge can be resent.
    fn max_resends(&self) -> u32;
}

/// Codes of 8 digits that are valid for 10 minutes, with at most 5 wrong answers and 3 resends.
///
/// These are within the limits of NIST SP 800-63B-4, 3.1.3.2 for sent secrets (at least 6 digits, at most 10
/// minutes). E-mail itself is not an authenticator there (3.1.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardChallenges {
    /// The number of digits of a code. Default 8; 6 to 10.
    pub digits: u8,
    /// How long a code is valid. Default 10 minutes; 1 second to 10 minutes.
    pub lifetime: Duration,
    /// The number of wrong codes that ends a challenge. Default 5; 1 to 10.
    pub max_failures: u32,
    /// How many times the code of one challenge can be resent. Default 3; 0 to 10.
    pub max_resends: u32,
}

impl Default for StandardChallenges {
    fn default() -> Self {
        Self { digits: 8, lifetime: Duration::from_mins(10), max_failures: 5, max_resends: 3 }
    }
}

impl ChallengePolicy for StandardChallenges {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        let lifetimes = Duration::from_secs(1)..=Duration::from_mins(10);
        InvalidPolicy::unless(&[
            ("digits", SentCode::DIGITS.contains(&self.digits), "6 to 10"),
            ("lifetime", lifetimes.contains(&self.lifetime), "1s to 10m"),
            ("max_failures", (1..=10).contains(&self.max_failures), "1 to 10"),
            ("max_resends", self.max_resends <= 10, "0 to 10"),
        ])
    }

    fn digits(&self) -> u8 {
        self.digits
    }

    fn lifetime(&self) -> Duration {
        self.lifetime
    }

    fn max_failures(&self) -> u32 {
        self.max_failures
    }

    fn max_resends(&self) -> u32 {
        self.max_resends
    }
}
