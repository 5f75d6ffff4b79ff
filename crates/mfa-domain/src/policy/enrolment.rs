//! Which factors a user may have, and what a change of them requires.

use std::fmt::Debug;
use std::time::Duration;

use super::InvalidPolicy;
use crate::{Actor, Assurance, FactorKind};

/// Rules for factors and for changes of them.
pub trait EnrolmentPolicy: Debug + Send + Sync + 'static {
    /// Validates the numbers of the policy. [`Mfa::new`](crate::Mfa::new) calls it.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names each number that is out of range.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// Whether factors of this kind may be enrolled.
    fn admits(&self, kind: &FactorKind) -> bool;

    /// How many active factors a user may have.
    fn max_factors(&self) -> usize;

    /// How long a pending factor waits for its first code.
    fn pending_lifetime(&self) -> Duration;

    /// What a change requires from the owner of an account with an active factor. Not used for an account without
    /// one, since its owner cannot prove anything.
    fn proof(&self, change: GuardedChange, actor: &Actor) -> Proof;
}

/// A change of the factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardedChange {
    /// Adding a factor, also one that replaces another.
    AddFactor,
    /// Importing an active factor. Only operators may.
    ImportFactor,
    /// Removing a factor.
    RevokeFactor,
    /// Changing the label of a factor.
    RenameFactor,
    /// Issuing new backup codes.
    IssueBackupCodes,
}

/// What a change requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Nothing.
    None,
    /// A verification with an existing factor. Confirming a new factor is not one: otherwise an attacker with the
    /// password could authorise changes with a factor of their own.
    Fresh {
        /// How long ago it may have happened at most.
        age: Duration,
        /// The least assurance it must have.
        at_least: Assurance,
    },
    /// As [`Fresh`](Self::Fresh), but in the session that asks for the change: the call must bring the verification
    /// ([`GivenProof`](crate::account::GivenProof)). Somebody with the password and a session of their own cannot use
    /// that the owner has just logged in.
    OfSession {
        /// How long ago it may have happened at most.
        age: Duration,
        /// The least assurance it must have.
        at_least: Assurance,
    },
}

/// Where the verification that authorises a change may have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProofScope {
    /// In the session that asks for the change ([`Proof::OfSession`]).
    #[default]
    Session,
    /// In any session of the account ([`Proof::Fresh`]), for hosts that cannot tell sessions apart.
    Account,
}

impl GuardedChange {
    /// The stable name, for the audit trail.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddFactor => "add_factor",
            Self::ImportFactor => "import_factor",
            Self::RevokeFactor => "revoke_factor",
            Self::RenameFactor => "rename_factor",
            Self::IssueBackupCodes => "issue_backup_codes",
        }
    }
}

/// TOTP, HOTP and codes by e-mail; 10 factors; 10 minutes to confirm.
///
/// A change that gives access (a new factor, new backup codes) requires a verification within the last 5 minutes, in
/// the session that asks for it. An operator needs one too, or gives a reason
/// ([`GivenProof::Operator`](crate::account::GivenProof::Operator)); an operator can reset the account or import a
/// factor without. Removing a factor
/// requires a verification from the owner, but not from an operator, who may have to remove a lost one. Changing a
/// label requires nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardEnrolment {
    /// How many active factors a user may have. Default 10; 1 to 100.
    pub max_factors: usize,
    /// How long a pending factor waits for its first code. Default 10 minutes; at least 1 second.
    pub pending_lifetime: Duration,
    /// How long a verification authorises changes. Default 5 minutes; at least 1 second.
    pub proof_lifetime: Duration,
    /// The least assurance of that verification. Default [`Assurance::Low`], so that a user who lost a device can
    /// enrol another with a backup code.
    pub proof_assurance: Assurance,
    /// Where that verification may have happened. Default: in the session that asks for the change.
    pub proof_scope: ProofScope,
    /// Whether codes by e-mail are allowed. Default yes. NIST SP 800-63B-4, 3.1.3.1 does not accept them as an
    /// authenticator, since the password of the mailbox is enough to read them.
    pub email: bool,
}

impl Default for StandardEnrolment {
    fn default() -> Self {
        Self {
            max_factors: 10,
            pending_lifetime: Duration::from_mins(10),
            proof_lifetime: Duration::from_mins(5),
            proof_assurance: Assurance::Low,
            proof_scope: ProofScope::Session,
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
            FactorKind::Totp | FactorKind::Hotp | FactorKind::Passkey => true,
            FactorKind::Email => self.email,
            FactorKind::SigningKey | FactorKind::Unknown(_) => false,
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
                let (age, at_least) = (self.proof_lifetime, self.proof_assurance);
                match self.proof_scope {
                    ProofScope::Session => Proof::OfSession { age, at_least },
                    ProofScope::Account => Proof::Fresh { age, at_least },
                }
            }
        }
    }
}
