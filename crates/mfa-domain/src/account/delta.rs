//! What a decision changes in an account: a [`Draft`] in the making, a [`Delta`] once it is finished.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Account, Attempts, BackupCodes, Context, Factor, KeptAnswer, KeptAnswers};
use crate::audit::{AuditEvent, AuditHead, EventKind};
use crate::{Data, FactorId, Handle, Message, Timestamp};

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
    pub(super) answers: KeptAnswers,
    pub(super) answers_changed: bool,
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

/// A [`Delta`] in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    pub(super) context: Context<'a>,
    head: AuditHead,
    pub(super) attempts: Attempts,
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
