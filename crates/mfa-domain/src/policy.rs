//! Policies: the rules that an application can replace. Each is a trait with a default.
//!
//! Decisions are pure and stores only compare and swap, so a policy can be any Rust code that neither blocks nor
//! keeps state.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub mod backup_code;
pub mod challenge;
pub mod enrolment;
pub mod lockout;
pub mod passkey;
pub mod verification;

pub use backup_code::{BackupCodePolicy, StandardBackupCodes};
pub use challenge::{ChallengePolicy, StandardChallenges};
pub use enrolment::{EnrolmentPolicy, GuardedChange, Proof, ProofScope, StandardEnrolment};
pub use lockout::{LockoutPolicy, StandardLockout, Standing};
pub use passkey::{PasskeyPolicy, StandardPasskeys};
pub use verification::{StandardVerification, VerificationPolicy};

/// The policies in force, one of each kind.
///
/// ```
/// use std::sync::Arc;
/// use mfa_domain::Policies;
/// use mfa_domain::policy::StandardVerification;
///
/// let strict = Policies { verification: Arc::new(StandardVerification::strict()), ..Policies::default() };
/// # let _ = strict;
/// ```
#[derive(Clone, Debug)]
pub struct Policies {
    /// When failures lock or disable.
    pub lockout: Arc<dyn LockoutPolicy>,
    /// Which factors are allowed, how many, and what a change requires.
    pub enrolment: Arc<dyn EnrolmentPolicy>,
    /// How many backup codes a user gets.
    pub backup_codes: Arc<dyn BackupCodePolicy>,
    /// How far a code may be off.
    pub verification: Arc<dyn VerificationPolicy>,
    /// How long challenges are open, and what their codes look like.
    pub challenges: Arc<dyn ChallengePolicy>,
    /// What passkeys must do.
    pub passkeys: Arc<dyn PasskeyPolicy>,
}

/// A policy with numbers out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPolicy(Vec<(&'static str, &'static str)>);

impl InvalidPolicy {
    /// An error about one number. `must_be` is its range, such as `1 to 50`.
    #[must_use]
    pub fn new(number: &'static str, must_be: &'static str) -> Self {
        Self(vec![(number, must_be)])
    }

    /// Each number that is out of range, and its range.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.iter().copied()
    }

    /// Collects every number whose rule does not hold.
    fn unless(rules: &[(&'static str, bool, &'static str)]) -> Result<(), Self> {
        let broken: Vec<_> =
            rules.iter().filter(|(_, holds, _)| !holds).map(|(n, _, rule)| (*n, *rule)).collect();
        if broken.is_empty() { Ok(()) } else { Err(Self(broken)) }
    }
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> =
            self.broken().map(|(number, must_be)| format!("{number} must be {must_be}")).collect();
        f.write_str(&rules.join("; "))
    }
}

impl Error for InvalidPolicy {}

impl Policies {
    /// Validates the numbers of every policy.
    ///
    /// # Errors
    /// [`InvalidPolicy`] of the first policy with a number out of range.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        self.lockout.validate()?;
        self.enrolment.validate()?;
        self.backup_codes.validate()?;
        self.verification.validate()?;
        self.challenges.validate()?;
        self.passkeys.validate()
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            lockout: Arc::new(StandardLockout::default()),
            enrolment: Arc::new(StandardEnrolment::default()),
            backup_codes: Arc::new(StandardBackupCodes::default()),
            verification: Arc::new(StandardVerification::default()),
            challenges: Arc::new(StandardChallenges::default()),
            passkeys: Arc::new(StandardPasskeys::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_number_that_makes_no_sense_is_named() {
        let second = Duration::from_secs(1);
        let enrolment =
            StandardEnrolment { max_factors: 0, pending_lifetime: second, ..StandardEnrolment::default() };
        let low = StandardBackupCodes { set_size: 50, low: 51 };
        for (valid, message) in [
            (enrolment.validate(), "max_factors must be 1 to 100"),
            (StandardEnrolment { max_factors: 101, ..enrolment }.validate(), "max_factors must be 1 to 100"),
            (
                StandardEnrolment {
                    max_factors: 1,
                    pending_lifetime: Duration::ZERO,
                    proof_lifetime: second / 2,
                    ..StandardEnrolment::default()
                }
                .validate(),
                "pending_lifetime must be at least 1s; proof_lifetime must be at least 1s",
            ),
            (low.validate(), "low must be at most set_size"),
            (StandardBackupCodes { set_size: 0, low: 0 }.validate(), "set_size must be 1 to 50"),
            (StandardBackupCodes { set_size: 51, low: 0 }.validate(), "set_size must be 1 to 50"),
            (
                StandardVerification { drift_bound: 11, ..StandardVerification::default() }.validate(),
                "drift_bound must be 0 to 10",
            ),
            (
                StandardChallenges {
                    digits: 11,
                    lifetime: Duration::from_secs(601),
                    max_failures: 0,
                    max_resends: 11,
                }
                .validate(),
                "digits must be 6 to 10; lifetime must be 1s to 10m; max_failures must be 1 to 10; \
                 max_resends must be 0 to 10",
            ),
        ] {
            assert_eq!(valid.map_err(|error| error.to_string()), Err(message.to_owned()));
        }
        let policies = Policies { backup_codes: Arc::new(low), ..Policies::default() };
        assert_eq!(policies.validate(), Err(InvalidPolicy::new("low", "at most set_size")));
    }
}
