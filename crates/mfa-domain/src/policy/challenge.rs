//! How long challenges are open, and what their codes look like.

use std::fmt::Debug;
use std::time::Duration;

use super::InvalidPolicy;
use crate::SentCode;

/// Rules for challenges.
pub trait ChallengePolicy: Debug + Send + Sync + 'static {
    /// Whether its numbers make sense; [`Mfa::new`](crate::Mfa::new) asks before it is used.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names those that do not.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// How many digits a code has that is sent: 6 to 10. Of any other number none can be made, and nothing is sent. Codes
    /// that are under way stay good when it changes.
    fn digits(&self) -> u8;

    /// How long a challenge can be answered.
    fn lifetime(&self) -> Duration;

    /// How many wrong codes end a challenge. Each costs an attempt of the account as well.
    fn max_failures(&self) -> u32;

    /// How many times another code may be asked for, for one challenge.
    fn max_resends(&self) -> u32;
}

/// Codes of eight digits, good for ten minutes; at most five wrong answers and three resends. These are within the limits of
/// NIST SP 800-63B-4, 3.1.3.2 for secrets that are sent (at least six digits, at most ten minutes); e-mail itself is no
/// authenticator there (3.1.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardChallenges {
    /// How many digits a code has. Default 8; 6 to 10.
    pub digits: u8,
    /// How long it is good. Default 10 minutes; 1 second to 10 minutes.
    pub lifetime: Duration,
    /// How many wrong codes end a challenge. Default 5; 1 to 10.
    pub max_failures: u32,
    /// How many times another code may be asked for, for one challenge. Default 3; 0 to 10.
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
