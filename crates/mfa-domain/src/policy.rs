//! The rules that an application may choose: traits, each with a well-named default.
//!
//! Decisions are pure and stores only compare and swap, so a policy can be any Rust code that
//! neither blocks nor keeps state of its own.

use std::sync::Arc;

use thiserror::Error;

pub mod backup_code;
pub mod enrolment;
pub mod lockout;
pub mod verification;

pub use backup_code::{BackupCodePolicy, StandardBackupCodes};
pub use enrolment::{Change, EnrolmentPolicy, Proof, StandardEnrolment};
pub use lockout::{LockoutPolicy, StandardLockout, Standing};
pub use verification::{StandardVerification, VerificationPolicy};

/// The rules in force, one of each kind.
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
    /// Which factors, how many, and what a change needs.
    pub enrolment: Arc<dyn EnrolmentPolicy>,
    /// How many backup codes.
    pub backup_codes: Arc<dyn BackupCodePolicy>,
    /// How far a code may be off.
    pub verification: Arc<dyn VerificationPolicy>,
}

/// A policy whose numbers make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidPolicy(&'static str);

impl InvalidPolicy {
    /// A policy that breaks this rule.
    #[must_use]
    pub const fn new(rule: &'static str) -> Self {
        Self(rule)
    }

    /// Names the first rule that does not hold.
    fn unless(rules: &[(bool, &'static str)]) -> Result<(), Self> {
        match rules.iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, rule)) => Err(Self(rule)),
        }
    }
}

impl Policies {
    /// Whether the numbers of every policy make sense.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the first that does not.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        self.lockout.validate()?;
        self.enrolment.validate()?;
        self.backup_codes.validate()?;
        self.verification.validate()
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            lockout: Arc::new(StandardLockout::default()),
            enrolment: Arc::new(StandardEnrolment::default()),
            backup_codes: Arc::new(StandardBackupCodes::default()),
            verification: Arc::new(StandardVerification::default()),
        }
    }
}
