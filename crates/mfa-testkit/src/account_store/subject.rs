//! An account in a store, beside the model of what it must be.

use mfa_domain::account::{Context, Draft, KeptAnswer};
use mfa_domain::ports::{AccountStore, Commit, EventQuery, RecordedEvent};
use mfa_domain::{
    Account, AccountKey, Actor, AuditEvent, AuditHead, Delta, EventKind, Policies, TenantId, Timestamp,
    UserId, Versioned,
};

use crate::{Violation, ensure};

/// When things happen if it does not matter when.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_800_000_000_123)
}

pub(super) fn key(tenant: &str, user: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
}

/// A change of `account` that holds what `edit` does, and one event at least.
pub(super) fn delta(
    account: &Account,
    key: &AccountKey,
    now: Timestamp,
    edit: impl FnOnce(&mut Draft<'_>),
) -> Delta {
    let policies = Policies::default();
    let actor = Actor::admin("testkit");
    let mut draft = account.draft(Context { key, actor: &actor, now, policies: &policies });
    draft.record(EventKind::Unlocked, None, [("reason", "a change in a suite".to_owned())]);
    edit(&mut draft);
    draft.finish().unwrap()
}

/// An account under test, and the model that [`Account::apply`] makes of it.
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

    /// Commits a change, and compares what is read afterwards with the model.
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

    /// Commits a change, and with it the answer to it.
    pub(super) async fn keep(
        &mut self,
        answer: KeptAnswer,
        edit: impl FnOnce(&mut Draft<'_>),
    ) -> Result<(), Violation> {
        let mut delta = delta(&self.model.value, &self.key, now(), edit);
        delta.keep(answer);
        self.commit(&delta).await
    }

    /// Commits an answer and nothing else: a change without an event.
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

    /// Takes the beginning of the trail away.
    pub(super) async fn trim(&mut self, to: AuditHead) -> Result<(), Violation> {
        let trimmed = self.store.trim(&self.key, self.model.value.audit_base, to).await?;
        ensure!(trimmed == Commit::Won, "a trail could not be trimmed to {to:?}");
        self.model.value.audit_base = to;
        self.check().await
    }

    /// What is read must be the model.
    pub(super) async fn check(&self) -> Result<(), Violation> {
        let whole = self.store.load(&self.key).await?;
        let mut without = self.store.load_without_backup_codes(&self.key).await?;
        if without.value.backup_codes.is_none() {
            without.value.backup_codes.clone_from(&whole.value.backup_codes);
        }
        for read in [whole, without] {
            ensure!(
                read == self.model,
                "what was read of {:?} is not what was committed\n     read: {read:?}\ncommitted: {:?}",
                self.key,
                self.model
            );
        }
        Ok(())
    }

    /// The events of this account must be those of the commits, and nothing else.
    pub(super) async fn check_events(&self) -> Result<(), Violation> {
        let read = chain(self.store, &self.key).await?;
        let read: Vec<_> = read.into_iter().map(|recorded| recorded.event).collect();
        ensure!(read == self.events, "the events are not those committed\nread: {read:?}");
        Ok(())
    }
}

/// The events of an account, whose chain must hold, and begin and end where the account says.
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

/// Every page of events, one after the other.
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
            ensure!(last < Some(recorded.position), "event {} comes after event {last:?}", recorded.position);
            walked.push(recorded);
        }
        if !page.more {
            return Ok(walked);
        }
        ensure!(walked.last().map(|last| last.position) != after, "a page that is not the last is empty");
    }
}
