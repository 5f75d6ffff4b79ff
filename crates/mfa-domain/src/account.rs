//! Everything that one user has for multi-factor authentication, as one aggregate.
//!
//! An [`Account`] is read at a [`Version`], decides (the methods in the files beside this one are
//! pure: no I/O, no clock, no randomness of their own), and gives a [`Delta`] that a store commits
//! only if the version is still the one that was read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;

use thiserror::Error;

use crate::audit::{AuditEvent, AuditHead, EventKind};
use crate::policy::{GuardedChange, Proof};
use crate::{AccountKey, Actor, Data, FactorId, Handle, Label, Message, Policies, Timestamp};

pub mod answers;
pub mod attempts;
pub mod backup_codes;
pub mod factor;

mod administer;
mod ahead;
mod challenges;
mod claim;
mod codes;
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

/// What changes in an account, and the audit events that say so. A store applies all of it or none.
///
/// A [`Draft`] makes it, and it carries at least one event: nothing changes without its audit row. Kept answers
/// alone do ([`Account::unchanged`]): they go by themselves, and the trail stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    attempts: Attempts,
    factors: Option<Vec<Factor>>,
    backup_codes: Option<BackupCodesChange>,
    events: Vec<AuditEvent>,
    audit_head: AuditHead,
    answers: KeptAnswers,
    answers_changed: bool,
    handles: Vec<HandleChange>,
    messages: Vec<Message>,
    data: Option<Data>,
}

/// What becomes of one handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandleChange {
    /// From now on it leads to this account. It may do so already; if it leads to another one of the tenant, nothing
    /// of the delta can be made.
    Claim(Handle),
    /// It leads nowhere any more, if it led to this account.
    Release(Handle),
}

/// What becomes of the backup codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupCodesChange {
    /// This set takes the place of any other.
    Replace(BackupCodes),
    /// The code at this place of the set is spent.
    Spend {
        /// Its place in [`BackupCodes::codes`].
        place: usize,
        /// When.
        at: Timestamp,
    },
    /// There are none any more.
    Remove,
}

impl Account {
    /// Begins a change. Nothing happens to the account itself.
    #[must_use]
    pub fn draft<'a>(&'a self, context: Context<'a>) -> Draft<'a> {
        Draft {
            context,
            head: self.audit_head,
            attempts: self.attempts.clone(),
            factors: Cow::Borrowed(&self.factors),
            backup_codes: None,
            events: Vec::new(),
            answers: self.answers.at(context.now),
            answers_before: self.answers.len(),
            handles: Vec::new(),
            messages: Vec::new(),
            data: None,
        }
    }

    /// The change that leaves everything as it is, to [keep](Delta::keep) an answer with: one that has no event.
    #[must_use]
    pub fn unchanged(&self, now: Timestamp) -> Delta {
        let answers = self.answers.at(now);
        Delta {
            attempts: self.attempts.clone(),
            factors: None,
            backup_codes: None,
            events: Vec::new(),
            audit_head: self.audit_head,
            answers_changed: answers.len() != self.answers.len(),
            answers,
            handles: Vec::new(),
            messages: Vec::new(),
            data: None,
        }
    }

    /// Makes the change. This is what every store's `commit` amounts to, but for handles and messages, which are in no
    /// account.
    pub fn apply(&mut self, delta: &Delta) {
        if let Some(factors) = &delta.factors {
            self.factors.clone_from(factors);
        }
        match &delta.backup_codes {
            None => {}
            Some(BackupCodesChange::Replace(codes)) => self.backup_codes = Some(codes.clone()),
            Some(BackupCodesChange::Remove) => self.backup_codes = None,
            Some(BackupCodesChange::Spend { place, at }) => {
                let codes = self.backup_codes.as_mut().map(|set| &mut set.codes);
                if let Some(code) = codes.and_then(|codes| codes.get_mut(*place)) {
                    code.spent_at = Some(*at);
                }
            }
        }
        self.attempts = delta.attempts.clone();
        self.audit_head = delta.audit_head();
        if let Some(answers) = delta.answers() {
            self.answers = answers.clone();
        }
        if let Some(data) = &delta.data {
            self.data = data.clone();
        }
    }

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

impl Delta {
    /// The attempts from now on.
    #[must_use]
    pub const fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// All factors from now on, in their order, if any was put in place or taken away.
    #[must_use]
    pub fn factors(&self) -> Option<&[Factor]> {
        self.factors.as_deref()
    }

    /// What becomes of the backup codes, if anything.
    #[must_use]
    pub const fn backup_codes(&self) -> Option<&BackupCodesChange> {
        self.backup_codes.as_ref()
    }

    /// The events to append, in order; none if nothing but [`answers`](Self::answers) changes.
    #[must_use]
    pub fn events(&self) -> &[AuditEvent] {
        &self.events
    }

    /// The answers that are kept from now on, if they are others than before.
    #[must_use]
    pub fn answers(&self) -> Option<&KeptAnswers> {
        self.answers_changed.then_some(&self.answers)
    }

    /// What becomes of handles, in order.
    #[must_use]
    pub fn handles(&self) -> &[HandleChange] {
        &self.handles
    }

    /// The messages to queue, or to put in the place of those of the same ids.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Queues a message in the same commit.
    pub(crate) fn queue(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// The account's [data](Account::data) from now on, if they are others than before.
    #[must_use]
    pub const fn data(&self) -> Option<&Data> {
        self.data.as_ref()
    }

    /// Keeps the answer that this change is given, in the same commit.
    pub fn keep(&mut self, answer: KeptAnswer) {
        self.answers.keep(answer);
        self.answers_changed = true;
    }

    /// Puts answers in the place of those that are kept for the same calls.
    pub(crate) fn replace_answers(&mut self, answers: Vec<KeptAnswer>) {
        self.answers_changed |= !answers.is_empty();
        self.answers.replace(answers);
    }

    /// The answers that are kept once the change is made.
    pub(crate) const fn answers_after(&self) -> &KeptAnswers {
        &self.answers
    }

    /// The head of the audit chain once the events are appended.
    #[must_use]
    pub const fn audit_head(&self) -> AuditHead {
        self.audit_head
    }
}

/// A [`Delta`] in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    context: Context<'a>,
    head: AuditHead,
    attempts: Attempts,
    factors: Cow<'a, [Factor]>,
    backup_codes: Option<BackupCodesChange>,
    events: Vec<AuditEvent>,
    answers: KeptAnswers,
    /// How many there were: a draft only takes some away.
    answers_before: usize,
    handles: Vec<HandleChange>,
    messages: Vec<Message>,
    data: Option<Data>,
}

impl Draft<'_> {
    /// Puts a factor in the place of the one of its id, or after all others, and claims its handles.
    pub fn put(&mut self, factor: Factor) {
        if !factor.is_removed() {
            factor.handles().iter().for_each(|handle| self.claim(handle.clone()));
        }
        let factors = self.factors.to_mut();
        match factors.iter_mut().find(|other| other.id == factor.id) {
            Some(old) => *old = factor,
            None => factors.push(factor),
        }
    }

    /// Claims a handle for the account.
    pub fn claim(&mut self, handle: Handle) {
        self.handles.push(HandleChange::Claim(handle));
    }

    /// Gives up a handle of the account.
    pub fn release(&mut self, handle: Handle) {
        self.handles.push(HandleChange::Release(handle));
    }

    /// Queues a message, or puts it in the place of the one of the same id.
    pub fn message(&mut self, message: Message) {
        self.messages.retain(|other| other.id != message.id);
        self.messages.push(message);
    }

    /// Puts other [data](Account::data) in the place of the account's.
    pub fn data(&mut self, data: Data) {
        self.data = Some(data);
    }

    /// Takes a factor away.
    pub fn remove(&mut self, factor: FactorId) {
        self.factors.to_mut().retain(|other| other.id != factor);
    }

    /// Changes the backup codes.
    pub fn backup_codes(&mut self, change: BackupCodesChange) {
        self.backup_codes = Some(change);
    }

    /// The attempts as they will be.
    pub const fn attempts(&mut self) -> &mut Attempts {
        &mut self.attempts
    }

    /// Records what happened. `detail` must hold no secret, code or label.
    pub fn record<const N: usize>(
        &mut self,
        kind: EventKind,
        factor: Option<FactorId>,
        detail: [(&str, String); N],
    ) {
        let detail: BTreeMap<_, _> =
            detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.answers.after(&kind);
        let Context { key, actor, now, .. } = self.context;
        let event = self.head.next(key, now, actor, kind, factor, detail);
        self.head = event.head();
        self.events.push(event);
    }

    /// The finished change; `None` if nothing was recorded, since then nothing may change.
    #[must_use]
    pub fn finish(self) -> Option<Delta> {
        let Self {
            context: _,
            head,
            attempts,
            factors,
            backup_codes,
            events,
            answers,
            answers_before,
            handles,
            messages,
            data,
        } = self;
        let answers_changed = answers.len() != answers_before;
        (!events.is_empty()).then_some(Delta {
            attempts,
            factors: match factors {
                Cow::Borrowed(_) => None,
                Cow::Owned(factors) => Some(factors),
            },
            backup_codes,
            events,
            audit_head: head,
            answers,
            answers_changed,
            handles,
            messages,
            data,
        })
    }
}

impl Version {
    /// The version after one more change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
