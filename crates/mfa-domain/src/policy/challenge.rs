//! How long challenges are open, and what their codes look like.

use std::fmt::Debug;
use std::time::Duration;

use otp_core::Digits;

use super::InvalidPolicy;

/// Rules for challenges.
pub trait ChallengePolicy: Debug + Send + Sync + 'static {
    /// Whether its numbers make sense; [`Mfa::new`](crate::Mfa::new) asks before it is used.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names those that do not.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// How many digits a code has that is sent.
    fn digits(&self) -> Digits;

    /// How long a challenge can be answered.
    fn lifetime(&self) -> Duration;

    /// How many wrong codes end a challenge. Each costs an attempt of the account as well.
    fn max_failures(&self) -> u32;
}

/// Codes of eight digits, good for ten minutes, and five wrong ones. These are the limits of NIST SP 800-63B-4, 3.1.3.2 for
/// secrets that are sent (at least six digits, at most ten minutes); e-mail itself is no authenticator there (3.1.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardChallenges {
    /// How many digits a code has. Default 8; 6 to 8.
    pub digits: Digits,
    /// How long it is good. Default 10 minutes; 1 second to 10 minutes.
    pub lifetime: Duration,
    /// How many wrong codes end a challenge. Default 5; 1 to 10.
    pub max_failures: u32,
}

impl Default for StandardChallenges {
    fn default() -> Self {
        Self { digits: Digits::EIGHT, lifetime: Duration::from_mins(10), max_failures: 5 }
    }
}

impl ChallengePolicy for StandardChallenges {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        let lifetimes = Duration::from_secs(1)..=Duration::from_mins(10);
        InvalidPolicy::unless(&[
            ("lifetime", lifetimes.contains(&self.lifetime), "1s to 10min"),
            ("max_failures", (1..=10).contains(&self.max_failures), "1 to 10"),
        ])
    }

    fn digits(&self) -> Digits {
        self.digits
    }

    fn lifetime(&self) -> Duration {
        self.lifetime
    }

    fn max_failures(&self) -> u32 {
        self.max_failures
    }
}
