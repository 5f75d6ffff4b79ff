//! Which factors a user may have, and what a change of them needs.

use std::fmt::Debug;
use std::time::Duration;

use super::InvalidPolicy;
use crate::{Actor, Assurance, FactorKind};

/// Rules for factors and for changes of them.
pub trait EnrolmentPolicy: Debug + Send + Sync + 'static {
    /// Whether its numbers make sense; [`Mfa::new`](crate::Mfa::new) asks before it is used.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names those that do not.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// Whether factors of that kind may be enrolled.
    fn admits(&self, kind: &FactorKind) -> bool;

    /// How many active factors a user may have.
    fn max_factors(&self) -> usize;

    /// How long a factor waits for its first code.
    fn pending_lifetime(&self) -> Duration;

    /// What a change needs from the owner of an account that has an active factor. Without one
    /// there is nothing to prove it with, and nothing is asked.
    fn proof(&self, change: GuardedChange, actor: &Actor) -> Proof;
}

/// A change of the factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardedChange {
    /// Another factor, or one in the place of another.
    AddFactor,
    /// An operator puts in a factor that counts at once; only they may.
    ImportFactor,
    /// A factor is removed.
    RevokeFactor,
    /// A factor gets another label.
    RenameFactor,
    /// New backup codes are given out.
    IssueBackupCodes,
}

/// What a change needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Nothing.
    None,
    /// A verification with an existing factor. Confirming a new factor is none, or whoever holds the
    /// password could step up with a factor of their own.
    Fresh {
        /// At most so long ago.
        age: Duration,
        /// How much it must prove, at least.
        at_least: Assurance,
    },
}

/// TOTP, HOTP and codes by e-mail, ten factors, ten minutes to confirm.
///
/// Whatever gives access (a new factor, new backup codes) needs a verification within the last five
/// minutes, from an operator too: they reset instead, or import a factor on their word. Removing a
/// factor needs it from the owner; an operator may remove a lost one without. A label needs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardEnrolment {
    /// How many active factors a user may have. Default 10; 1 to 100.
    pub max_factors: usize,
    /// How long a factor waits for its first code. Default 10 minutes; at least 1 second.
    pub pending_lifetime: Duration,
    /// How long a verification proves changes. Default 5 minutes; at least 1 second.
    pub proof_lifetime: Duration,
    /// How much that verification must prove. Default [`Assurance::Low`], so that whoever has lost a device can bind
    /// another with a backup code.
    pub proof_assurance: Assurance,
    /// Whether codes by e-mail are admitted. Default yes; NIST SP 800-63B-4, 3.1.3.1 does not take them for an
    /// authenticator, since whoever has the password of a mailbox has them.
    pub email: bool,
}

impl Default for StandardEnrolment {
    fn default() -> Self {
        Self {
            max_factors: 10,
            pending_lifetime: Duration::from_mins(10),
            proof_lifetime: Duration::from_mins(5),
            proof_assurance: Assurance::Low,
            email: true,
        }
    }
}

impl EnrolmentPolicy for StandardEnrolment {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        let second = Duration::from_secs(1);
        InvalidPolicy::unless(&[
            ("max_factors", (1..=100).contains(&self.max_factors), "1 to 100"),
            ("pending_lifetime", self.pending_lifetime >= second, "at least 1s"),
            ("proof_lifetime", self.proof_lifetime >= second, "at least 1s"),
        ])
    }

    fn admits(&self, kind: &FactorKind) -> bool {
        match kind {
            FactorKind::Totp | FactorKind::Hotp => true,
            FactorKind::Email => self.email,
            FactorKind::Unknown(_) => false,
        }
    }

    fn max_factors(&self) -> usize {
        self.max_factors
    }

    fn pending_lifetime(&self) -> Duration {
        self.pending_lifetime
    }

    fn proof(&self, change: GuardedChange, actor: &Actor) -> Proof {
        match change {
            GuardedChange::RenameFactor => Proof::None,
            GuardedChange::RevokeFactor | GuardedChange::ImportFactor if actor.is_admin() => Proof::None,
            GuardedChange::AddFactor
            | GuardedChange::ImportFactor
            | GuardedChange::RevokeFactor
            | GuardedChange::IssueBackupCodes => {
                Proof::Fresh { age: self.proof_lifetime, at_least: self.proof_assurance }
            }
        }
    }
}
