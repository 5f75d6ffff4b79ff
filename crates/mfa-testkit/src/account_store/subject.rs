//! An account in a store, with a model of its expected state.

use mfa_domain::account::{Context, Draft, KeptAnswer, Session};
use mfa_domain::ports::{AccountStore, Commit, EventQuery, RecordedEvent};
use mfa_domain::{
    Account, AccountKey, Actor, AuditEvent, AuditHead, Delta, EventKind, Policies, TenantId, Timestamp,
    UserId, Versioned,
};

use crate::{Violation, ensure};

/// The time of changes for which the time does not matter.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_800_000_000_123)
}

pub(super) fn key(tenant: &str, user: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
}

/// A change of `account` with the edits of `edit` and at least one event.
pub(super) fn delta(
    account: &Account,
    key: &AccountKey,
    now: Timestamp,
    edit: impl FnOnce(&mut Draft<'_>),
) -> Delta {
    let policies = Policies::default();
    let actor = Actor::admin("testkit");
    let mut draft =
        account.draft(Context { key, actor: &actor, now, policies: &policies, session: Session::default() });
    draft.record(EventKind::Unlocked, None, [("reason", "a change in a suite".to_owned())]);
    edit(&mut draft);
    draft.finish().unwrap()
}

/// An account under test, and the model that [`Account::apply`] computes.
pub(super) struct Subject<'a> {
    pub(super) store: &'a dyn AccountStore,
    pub(super) key: AccountKey,
    pub(super) model: Versioned<Account>,
    pub(super) events: Vec<AuditEvent>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(store: &'a dyn AccountStore, tenant: &str, user: &str) -> Self {
        Self { store, key: key(tenant, user), model: Versioned::default(), events: Vec::new() }
    }

    /// Commits a change, and compares the stored account with the model.
    pub(super) async fn change(&mut self, edit: impl FnOnce(&mut Draft<'_>)) -> Result<(), Violation> {
        self.change_at(now(), edit).await
    }

    pub(super) async fn change_at(
        &mut self,
        now: Timestamp,
        edit: impl FnOnce(&mut Draft<'_>),
    ) -> Result<(), Violation> {
        let delta = delta(&self.model.value, &self.key, now, edit);
        self.commit(&delta).await
    }

    /// Commits a change together with its kept answer.
    pub(super) async fn keep(
        &mut self,
        answer: KeptAnswer,
        edit: impl FnOnce(&mut Draft<'_>),
    ) -> Result<(), Violation> {
        let mut delta = delta(&self.model.value, &self.key, now(), edit);
        delta.keep(answer);
        self.commit(&delta).await
    }

    /// Commits an answer alone: a change without an event.
    pub(super) async fn keep_alone(&mut self, answer: KeptAnswer) -> Result<(), Violation> {
        let mut delta = self.model.value.unchanged(now());
        delta.keep(answer);
        self.commit(&delta).await
    }

    async fn commit(&mut self, delta: &Delta) -> Result<(), Violation> {
        let commit = self.store.commit(&self.key, self.model.version, delta).await?;
        ensure!(commit == Commit::Won, "a commit at the stored version {:?} did not win", self.model.version);
        self.model.value.apply(delta);
        self.model.version = self.model.version.next();
        self.events.extend_from_slice(delta.events());
        self.check().await
    }

    /// Trims the beginning of the trail.
    pub(super) async fn trim(&mut self, to: AuditHead) -> Result<(), Violation> {
        let trimmed = self.store.trim(&self.key, self.model.value.audit_base, to).await?;
        ensure!(trimmed == Commit::Won, "a trail could not be trimmed to {to:?}");
        self.model.value.audit_base = to;
        self.check().await
    }

    /// Checks that the stored account equals the model.
    pub(super) async fn check(&self) -> Result<(), Violation> {
        let whole = self.store.load(&self.key).await?;
        let mut without = self.store.load_without_backup_codes(&self.key).await?;
        if without.value.backup_codes.is_none() {
            without.value.backup_codes.clone_from(&whole.value.backup_codes);
        }
        for read in [whole, without] {
            ensure!(
                read == self.model,
                "the stored account {:?} is not the committed one\n     read: {read:?}\ncommitted: {:?}",
                self.key,
                self.model
            );
        }
        Ok(())
    }

    /// Checks that the account has exactly the committed events.
    pub(super) async fn check_events(&self) -> Result<(), Violation> {
        let read = chain(self.store, &self.key).await?;
        let read: Vec<_> = read.into_iter().map(|recorded| recorded.event).collect();
        ensure!(read == self.events, "the events are not those committed\nread: {read:?}");
        Ok(())
    }
}

/// Reads the events of an account and checks that their chain is intact and matches the account's head and
/// base.
pub(super) async fn chain(
    store: &dyn AccountStore,
    key: &AccountKey,
) -> Result<Vec<RecordedEvent>, Violation> {
    let mut head = store.load(key).await?.value.audit_base;
    let events = walk(store, &key.tenant, Some(&key.user), 1000).await?;
    for recorded in &events {
        head = head.extend(key, &recorded.event).map_err(|broken| Violation::new(broken.to_string()))?;
    }
    let stored = store.load(key).await?.value.audit_head;
    ensure!(head == stored, "the account's chain ends at {stored:?}, its events at {head:?}");
    Ok(events)
}

/// Reads every page of events in turn.
pub(super) async fn walk(
    store: &dyn AccountStore,
    tenant: &TenantId,
    user: Option<&UserId>,
    limit: u32,
) -> Result<Vec<RecordedEvent>, Violation> {
    let mut walked: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = walked.last().map(|last| last.position);
        let query = EventQuery { tenant: tenant.clone(), user: user.cloned(), after, limit };
        let page = store.events(&query).await?;
        ensure!(page.events.len() <= limit as usize, "a page has more than {limit} events");
        for recorded in page.events {
            let last = walked.last().map(|last| last.position);
            ensure!(last < Some(recorded.position), "event {} follows event {last:?}", recorded.position);
            walked.push(recorded);
        }
        if !page.more {
            return Ok(walked);
        }
        ensure!(walked.last().map(|last| last.position) != after, "a page that is not the last is empty");
    }
}
