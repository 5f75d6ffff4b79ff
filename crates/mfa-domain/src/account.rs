//! Everything that one user has for multi-factor authentication, as one aggregate.
//!
//! An [`Account`] is read at a [`Version`], decides (the methods in the files beside this one are
//! pure: no I/O, no clock, no randomness of their own), and gives a [`Delta`] that a store commits
//! only if the version is still the one that was read.

use std::iter;

use thiserror::Error;

use crate::audit::AuditHead;
use crate::policy::{GuardedChange, Proof};
use crate::{AccountKey, Actor, Data, FactorId, Label, Policies, Timestamp};

pub mod answers;
pub mod attempts;
pub mod backup_codes;
pub mod factor;

mod administer;
mod ahead;
mod challenges;
mod claim;
mod codes;
mod delta;
mod enrol;
mod manage;
mod removed;
mod replay;
mod verification;
mod verify;

#[cfg(test)]
mod tests;

pub use answers::{CallId, KeptAnswer, KeptAnswers};
pub use attempts::Attempts;
pub use backup_codes::{BackupCodes, CodeHash, HashedCode};
pub use claim::Claim;
pub use codes::Codes;
pub use delta::{BackupCodesChange, Delta, Draft, HandleChange};
pub use factor::{
    AddressDevice, Authenticator, Drift, Factor, FactorKind, FactorState, HotpDevice, StoredFactor,
    TotpDevice, UnknownAuthenticator, UnreadableFactor,
};
pub use verification::{Assurance, Verification, Verifications};
pub use verify::{BackupCodesLeft, CodeRejection, Verdict, Verified};
pub(crate) use verify::{Candidates, Evidence, Finding, OpenSecret, Resealed};

/// Everything that one user has: factors, backup codes, attempts, and the ends of the audit chain.
///
/// Its fields are open to stores, which write it to rows and read it back; whoever else changes one
/// makes a [`Delta`] with one of the methods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// In the order of their creation; pending and [removed](FactorState::Removed) ones included.
    pub factors: Vec<Factor>,
    /// The current set, spent codes included. `None` also where they were
    /// [not asked for](crate::ports::AccountStore::load_without_backup_codes): such an account can
    /// verify a code of an authenticator, and is for nothing else.
    pub backup_codes: Option<BackupCodes>,
    /// What is remembered of tries to verify.
    pub attempts: Attempts,
    /// Where the audit chain ends.
    pub audit_head: AuditHead,
    /// After which event it begins, since those up to that one were removed by age; the default as
    /// long as none was. Changes leave it alone: only [`AccountStore::trim`] moves it.
    ///
    /// [`AccountStore::trim`]: crate::ports::AccountStore::trim
    pub audit_base: AuditHead,
    /// The answers that are kept for calls that may be sent again.
    pub answers: KeptAnswers,
    /// What is kept besides, of which stores know nothing. Nothing yet, and what newer versions write stays as it is.
    pub data: Data,
}

/// How often an account was changed. It never comes back for the same key, not even after the
/// account was erased, so that nothing stale can win.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

/// A value as it was read, and the version it had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versioned<T> {
    /// What was read.
    pub value: T,
    /// Its version then.
    pub version: Version,
}

/// What every decision needs to know besides the account.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Whose account it is.
    pub key: &'a AccountKey,
    /// Who asks.
    pub actor: &'a Actor,
    /// The time.
    pub now: Timestamp,
    /// The rules.
    pub policies: &'a Policies,
}

/// What an account decided: an answer, and what must be committed before anybody may hear it.
#[derive(Debug)]
#[must_use = "an answer may be told only after its delta was committed"]
pub(crate) struct Decision<T> {
    /// The answer.
    pub answer: T,
    /// What changes; `None` if nothing does.
    pub delta: Option<Delta>,
}

/// Why a change was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyDenial {
    /// It needs a fresh verification with an existing factor.
    #[error("this change needs a fresh verification by an existing factor")]
    ProofRequired {
        /// How much it must prove.
        at_least: Assurance,
    },
    /// There is no such factor, or it is another user's.
    #[error("no such factor")]
    UnknownFactor,
    /// There is no active factor.
    #[error("the user has no active factor")]
    NotEnrolled,
    /// Too many failures in a row: factors must be bound anew.
    #[error("too many failures in a row; the account must be reset")]
    Disabled,
    /// Too many wrong codes: nothing is sent for now.
    #[error("too many wrong codes; nothing is sent for now")]
    Locked {
        /// When the lock ends.
        until: Timestamp,
    },
    /// The user has as many factors as the policy allows.
    #[error("the user has as many factors as allowed: {most}")]
    TooManyFactors {
        /// How many that is.
        most: usize,
    },
    /// The policy admits no factor of that kind.
    #[error("factors of this kind are not admitted")]
    KindNotAdmitted,
    /// Only an operator may put in a factor that counts without a first code.
    #[error("only an operator may import a factor that counts at once")]
    OperatorsOnly,
    /// The counter of a token is at its end.
    #[error("the counter must be below 2^63")]
    CounterTooLarge,
    /// The secret is that of another factor of this user, so that one code would count twice.
    #[error("another factor of this user has the same secret")]
    DuplicateSecret,
}

impl Account {
    /// The factor of that id, pending or active.
    #[must_use]
    pub fn factor(&self, id: FactorId) -> Option<&Factor> {
        self.factors.iter().find(|factor| factor.id == id && !factor.is_removed())
    }

    /// The factors that protect this user: confirmed ones only.
    pub fn active_factors(&self) -> impl Iterator<Item = &Factor> {
        self.factors.iter().filter(|factor| factor.is_active())
    }

    /// Whether there is an active factor.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        self.active_factors().next().is_some()
    }

    /// `label`, or the same with the lowest number from 2 by which no other active factor goes but the
    /// one that `id` replaces. So two active factors never have one label.
    fn own_label(&self, label: &Label, id: FactorId, replaces: Option<FactorId>) -> Label {
        let others = || self.active_factors().filter(|other| other.id != id && Some(other.id) != replaces);
        let mut labels = iter::once(label.clone()).chain((2..).map(|number| label.numbered(number)));
        let free = labels.find(|label| others().all(|other| other.label != *label));
        free.unwrap_or_else(|| label.clone())
    }

    /// Whether the owner has proved what `change` needs. Without an active factor there is nothing
    /// to prove it with.
    fn check_proof(&self, context: Context<'_>, change: GuardedChange) -> Result<(), PolicyDenial> {
        match context.policies.enrolment.proof(change, context.actor) {
            Proof::Fresh { age, at_least } => {
                let proved = self.attempts.verified.within(age, at_least, context.now);
                if proved || !self.is_enrolled() {
                    Ok(())
                } else {
                    Err(PolicyDenial::ProofRequired { at_least })
                }
            }
            Proof::None => Ok(()),
        }
    }
}

impl<T> Decision<T> {
    /// An answer that changes nothing.
    pub(crate) const fn without_change(answer: T) -> Self {
        Self { answer, delta: None }
    }
}

impl Version {
    /// The version after one more change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
