//! The changes of a decision: a [`Draft`] while it is made, a [`Delta`] when finished.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Account, Attempts, BackupCodes, Context, Factor, KeptAnswer, KeptAnswers};
use crate::audit::{AuditEvent, AuditHead, EventKind};
use crate::{Data, FactorId, Handle, Message, Timestamp};

/// The changes of an account and the audit events that record them. A store applies all of it or nothing.
///
/// A [`Draft`] makes it, with at least one event: nothing changes without its audit event. The exception is a delta
/// with kept answers only ([`Account::unchanged`]): they expire, and the trail stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    attempts: Attempts,
    factors: Option<Vec<Factor>>,
    backup_codes: Option<BackupCodesChange>,
    events: Vec<AuditEvent>,
    audit_head: AuditHead,
    pub(super) answers: KeptAnswers,
    pub(super) answers_changed: bool,
    handles: Vec<HandleChange>,
    messages: Vec<Message>,
    data: Option<Data>,
}

/// A change of one handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandleChange {
    /// The handle leads to this account from now on. It may do so already. If it belongs to another account of the
    /// tenant, the whole delta fails.
    Claim(Handle),
    /// The handle leads to no account any more, if it led to this one.
    Release(Handle),
}

/// A change of the backup codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupCodesChange {
    /// This set replaces any other.
    Replace(BackupCodes),
    /// The code at this index of the set is spent.
    Spend {
        /// Its index in [`BackupCodes::codes`].
        place: usize,
        /// When it was spent.
        at: Timestamp,
    },
    /// The set is removed.
    Remove,
}

/// A [`Delta`] under construction.
#[derive(Debug)]
pub struct Draft<'a> {
    pub(super) context: Context<'a>,
    head: AuditHead,
    pub(super) attempts: Attempts,
    factors: Cow<'a, [Factor]>,
    backup_codes: Option<BackupCodesChange>,
    events: Vec<AuditEvent>,
    answers: KeptAnswers,
    /// The number of answers at the start; a draft only removes answers.
    answers_before: usize,
    handles: Vec<HandleChange>,
    messages: Vec<Message>,
    data: Option<Data>,
}

impl Account {
    /// Begins a change. The account itself stays unchanged.
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

    /// A delta that changes nothing, to [keep](Delta::keep) an answer with. It has no event.
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

    /// Applies the delta. The `commit` of every store has this effect, except for handles and messages, which are not
    /// part of the account.
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
}

impl Delta {
    /// The attempts after the change.
    #[must_use]
    pub const fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// All factors after the change, in order; `None` if no factor changes.
    #[must_use]
    pub fn factors(&self) -> Option<&[Factor]> {
        self.factors.as_deref()
    }

    /// The change of the backup codes, if any.
    #[must_use]
    pub const fn backup_codes(&self) -> Option<&BackupCodesChange> {
        self.backup_codes.as_ref()
    }

    /// The events to append, in order; empty if only [`answers`](Self::answers) change.
    #[must_use]
    pub fn events(&self) -> &[AuditEvent] {
        &self.events
    }

    /// The kept answers after the change; `None` if they do not change.
    #[must_use]
    pub fn answers(&self) -> Option<&KeptAnswers> {
        self.answers_changed.then_some(&self.answers)
    }

    /// The changes of handles, in order.
    #[must_use]
    pub fn handles(&self) -> &[HandleChange] {
        &self.handles
    }

    /// The messages to queue. Each replaces a message with the same id.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Stores how authenticators know the user, and claims the handle.
    pub(crate) fn set_passkey_user(&mut self, data: Data, handle: Handle) {
        self.data = Some(data);
        self.handles.push(HandleChange::Claim(handle));
    }

    /// Queues a message in the same commit.
    pub(crate) fn queue(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// The account's [data](Account::data) after the change; `None` if they do not change.
    #[must_use]
    pub const fn data(&self) -> Option<&Data> {
        self.data.as_ref()
    }

    /// Keeps the answer to this change, in the same commit.
    pub fn keep(&mut self, answer: KeptAnswer) {
        self.answers.keep(answer);
        self.answers_changed = true;
    }

    /// Replaces the kept answers to the same calls.
    pub(crate) fn replace_answers(&mut self, answers: Vec<KeptAnswer>) {
        self.answers_changed |= !answers.is_empty();
        self.answers.replace(answers);
    }

    /// The kept answers after the change.
    pub(crate) const fn answers_after(&self) -> &KeptAnswers {
        &self.answers
    }

    /// The head of the audit chain after the change.
    #[must_use]
    pub const fn audit_head(&self) -> AuditHead {
        self.audit_head
    }
}

impl Draft<'_> {
    /// Replaces the factor with the same id, or adds the factor at the end, and claims its handles.
    pub fn put(&mut self, factor: Factor) {
        if !factor.is_removed() {
            let before = self.factors.iter().find(|other| other.id == factor.id && !other.is_removed());
            let held = before.map_or(&[][..], Factor::handles);
            let new: Vec<_> =
                factor.handles().iter().filter(|handle| !held.contains(handle)).cloned().collect();
            for handle in new {
                self.claim(handle);
            }
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

    /// Releases a handle of the account.
    pub fn release(&mut self, handle: Handle) {
        self.handles.push(HandleChange::Release(handle));
    }

    /// Queues a message. It replaces a message with the same id.
    pub fn message(&mut self, message: Message) {
        self.messages.retain(|other| other.id != message.id);
        self.messages.push(message);
    }

    /// Replaces the account's [data](Account::data).
    pub fn data(&mut self, data: Data) {
        self.data = Some(data);
    }

    /// Removes a factor.
    pub fn remove(&mut self, factor: FactorId) {
        self.factors.to_mut().retain(|other| other.id != factor);
    }

    /// Changes the backup codes.
    pub fn backup_codes(&mut self, change: BackupCodesChange) {
        self.backup_codes = Some(change);
    }

    /// The attempts, to change them.
    pub const fn attempts(&mut self) -> &mut Attempts {
        &mut self.attempts
    }

    /// Records an event. `detail` MUST NOT contain a secret, code or label.
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

    /// Finishes the change; `None` if no event was recorded, since nothing may change then.
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
