//! The account: everything that one user has for multi-factor authentication, as one aggregate.
//!
//! A use case reads an [`Account`] at a [`Version`]. A method of the account decides; these methods are in
//! the files of `account/` and are pure: no I/O, no clock, no randomness of their own. The result is a
//! [`Delta`], which a store commits only if the version has not changed since.

use std::iter;

use thiserror::Error;

use crate::audit::AuditHead;
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
mod data;
mod delta;
mod enrol;
mod manage;
mod passkeys;
mod proof;
mod relying_party;
mod removed;
mod replay;
mod signing_keys;
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
    AddressDevice, Authenticator, Drift, Factor, FactorKind, FactorState, HotpDevice, PasskeyDevice,
    PasskeyOffer, SigningKeyDevice, StoredFactor, TotpDevice, UnknownAuthenticator, UnreadableFactor,
};
pub(crate) use passkeys::{Expected, UNNAMED, in_no_account};
pub use proof::{GivenProof, Session, SessionProof};
pub(crate) use signing_keys::{KeyRule, NewSigningKey};
pub use signing_keys::{SigningKeyInfo, SigningKeyState};
pub use verification::{Assurance, Verification, Verifications};
pub use verify::{BackupCodesLeft, CodeRejection, Verdict, Verified};
pub(crate) use verify::{Candidates, Evidence, Finding, OpenSecret, Resealed};

/// Everything that one user has: factors, backup codes, attempts, and the ends of the audit chain.
///
/// The fields are public for stores, which write them to rows and read them back. All other code changes an
/// account by a method that returns a [`Delta`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// All factors in the order of their creation, including pending and [removed](FactorState::Removed)
    /// ones.
    pub factors: Vec<Factor>,
    /// The current set of backup codes, including spent ones.
    ///
    /// Also `None` if the account was [read without
    /// them](crate::ports::AccountStore::load_without_backup_codes). Such an account may only be used for
    /// decisions that need no backup codes.
    pub backup_codes: Option<BackupCodes>,
    /// The recorded attempts to verify.
    pub attempts: Attempts,
    /// The last event of the audit chain.
    pub audit_head: AuditHead,
    /// The last event that retention removed; default if none. No change of the account moves it, only
    /// [`AccountStore::trim`].
    ///
    /// [`AccountStore::trim`]: crate::ports::AccountStore::trim
    pub audit_base: AuditHead,
    /// The answers that are kept for repeated calls.
    pub answers: KeptAnswers,
    /// Further data of the domain, opaque to stores. How authenticators know the user, and keeps what newer
    /// versions write.
    pub data: Data,
}

/// The number of changes of an account. It is never reused for the same key, not even after the account was
/// erased, so a stale decision can never be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

/// A value and its version at the time of the read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The version of the value.
    pub version: Version,
}

/// The inputs of a decision besides the account.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The key of the account.
    pub key: &'a AccountKey,
    /// The actor who calls.
    pub actor: &'a Actor,
    /// The current time.
    pub now: Timestamp,
    /// The policies in force.
    pub policies: &'a Policies,
    /// What the call brings of the host's session.
    pub session: Session<'a>,
}

/// A decision of an account: an answer, and the delta that must be committed before the answer is given.
#[derive(Debug)]
#[must_use = "the delta must be committed before the answer is given"]
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
    /// The change requires a recent verification with an existing factor, by default in the session that asks for it.
    #[error("this change needs a recent verification with an existing factor")]
    ProofRequired {
        /// The least assurance of that verification.
        at_least: Assurance,
    },
    /// The factor does not exist, or belongs to another user.
    #[error("no such factor")]
    UnknownFactor,
    /// The user has no active factor.
    #[error("the user has no active factor")]
    NotEnrolled,
    /// Too many failures in a row: the factors must be bound again.
    #[error("too many failures in a row; the account must be reset")]
    Disabled,
    /// Too many wrong codes: no code is sent until the lock ends.
    #[error("too many wrong codes; no code is sent until the lock ends")]
    Locked {
        /// When the lock ends.
        until: Timestamp,
    },
    /// The user has as many factors as the policy allows.
    #[error("the user already has the maximum of {most} factors")]
    TooManyFactors {
        /// The maximum.
        most: usize,
    },
    /// The policy does not allow factors of this kind.
    #[error("factors of this kind are not allowed")]
    KindNotAdmitted,
    /// Only an operator may import a factor that is active without a first code.
    #[error("only an operator may import an active factor")]
    OperatorsOnly,
    /// The counter of an HOTP token is too large.
    #[error("the counter must be below 2^63")]
    CounterTooLarge,
    /// Another factor of this user has the same secret. One code would be accepted by both.
    #[error("another factor of this user has the same secret")]
    DuplicateSecret,
    /// The user already has the passkey.
    #[error("the user already has this passkey")]
    DuplicateCredential,
}

impl Account {
    /// Finds a factor by its id, pending or active.
    #[must_use]
    pub fn factor(&self, id: FactorId) -> Option<&Factor> {
        self.factors.iter().find(|factor| factor.id == id && !factor.is_removed())
    }

    /// The factors that protect this user: only confirmed ones.
    pub fn active_factors(&self) -> impl Iterator<Item = &Factor> {
        self.factors.iter().filter(|factor| factor.is_active())
    }

    /// Whether the user has an active factor.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        self.active_factors().next().is_some()
    }

    /// Returns `label`, with the lowest free number from 2 appended if another active factor has it. The
    /// factor that `id` replaces does not count. So two active factors never have the same label.
    fn own_label(&self, label: &Label, id: FactorId, replaces: Option<FactorId>) -> Label {
        let others = || self.active_factors().filter(|other| other.id != id && Some(other.id) != replaces);
        let mut labels = iter::once(label.clone()).chain((2..).map(|number| label.numbered(number)));
        let free = labels.find(|label| others().all(|other| other.label != *label));
        free.unwrap_or_else(|| label.clone())
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
