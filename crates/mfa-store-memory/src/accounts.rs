//! `AccountStore` at its simplest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountPlace, AccountQuery, AccountStore, Commit, EventPage, EventPosition,
    EventQuery, Outbox, RecordedEvent, StoreError,
};
use mfa_domain::{
    Account, AccountKey, AuditEvent, AuditHead, Delta, Handle, HandleChange, KeyId, StoredFactor, TenantId,
    Version, Versioned,
};

use crate::{MemoryStore, Tables};

#[async_trait]
impl AccountStore for MemoryStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        Ok(self.tables().accounts.get(key).cloned().unwrap_or_default())
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let mut tables = self.tables();
        let stored = tables.accounts.get(key).map_or_else(Version::default, |account| account.version);
        if stored != expected {
            return Ok(Commit::Conflict);
        }
        let Some(handles) = tables.handles_after(key, delta.handles()) else {
            return Ok(Commit::HandleTaken);
        };
        for (handle, leads_here) in handles {
            if leads_here {
                tables.handles.insert(handle, key.user.clone());
            } else {
                tables.handles.remove(&handle);
            }
        }
        delta.messages().iter().for_each(|message| tables.outbox.put(message));
        let account = tables.accounts.entry(key.clone()).or_default();
        account.value.apply(delta);
        account.version = expected.next();
        let last = tables.events.last_key_value().map_or(0, |(position, _)| position.0);
        let events = delta.events().iter().map(|event| (key.clone(), event.clone()));
        tables.events.extend((last + 1..).map(EventPosition).zip(events));
        Ok(Commit::Won)
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let tables = self.tables();
        let matching = tables
            .accounts
            .iter()
            .filter(|(key, _)| query.after.as_ref().is_none_or(|after| AccountPlace::from(*key) > *after))
            .filter(|(_, account)| needs_another_key(&account.value, query.not_sealed_with.as_ref()))
            .filter(|(key, account)| match query.second_event_before {
                None => true,
                Some(before) => {
                    tables.second_event(key, &account.value).is_some_and(|event| event.at < before)
                }
            })
            .map(|(key, account)| AccountEntry {
                key: key.clone(),
                audit_head: account.value.audit_head,
                audit_base: account.value.audit_base,
            });
        let (accounts, more) = first(matching, query.limit);
        let next =
            accounts.last().filter(|_| more).map(|account: &AccountEntry| AccountPlace::from(&account.key));
        Ok(AccountPage { accounts, next, ..AccountPage::default() })
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let tables = self.tables();
        let after = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let matching = tables
            .events
            .range((after, Bound::Unbounded))
            .filter(|(_, (key, _))| is_of(key, query))
            .map(|(position, (key, event))| recorded(*position, key, event));
        let (events, more) = first(matching, query.limit);
        Ok(EventPage { events, more, ..EventPage::default() })
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        let mut tables = self.tables();
        let Some(account) = tables.accounts.get_mut(key).map(|account| &mut account.value) else {
            return Ok(Commit::Conflict);
        };
        if account.audit_base != from || account.audit_head.sequence <= to.sequence {
            return Ok(Commit::Conflict);
        }
        account.audit_base = to;
        tables.events.retain(|_, (of, event)| of != key || event.sequence > to.sequence);
        Ok(Commit::Won)
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        let user = self.tables().handles.get(&(tenant.clone(), handle.clone())).cloned();
        Ok(user.map(|user| AccountKey::new(tenant.clone(), user)))
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        Some(self)
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let tables = self.tables();
        let accounts = tables.accounts.values();
        let keys: BTreeSet<_> =
            accounts.flat_map(|account| StoredFactor::sealed_with(&account.value.factors)).collect();
        Ok(keys.into_iter().cloned().collect())
    }
}

impl Tables {
    /// The claims and releases of handles that a change makes; `None` if another account has one of them.
    fn handles_after(
        &self,
        key: &AccountKey,
        changes: &[HandleChange],
    ) -> Option<BTreeMap<(TenantId, Handle), bool>> {
        let mut after = BTreeMap::new();
        for change in changes {
            let (HandleChange::Claim(handle) | HandleChange::Release(handle)) = change;
            let place = (key.tenant.clone(), handle.clone());
            let is_anothers = self.handles.get(&place).is_some_and(|user| *user != key.user);
            match change {
                HandleChange::Claim(_) if is_anothers => return None,
                HandleChange::Claim(_) => drop(after.insert(place, true)),
                HandleChange::Release(_) if is_anothers => {}
                HandleChange::Release(_) => drop(after.insert(place, false)),
            }
        }
        Some(after)
    }

    /// The second of the account's remaining events.
    fn second_event(&self, key: &AccountKey, account: &Account) -> Option<&AuditEvent> {
        let sequence = account.audit_base.sequence + 2;
        let of_account = self.events.values().filter(|(of, _)| of == key).map(|(_, event)| event);
        of_account.into_iter().find(|event| event.sequence == sequence)
    }
}

/// The first `limit` items, and whether there are more.
pub(crate) fn first<T>(mut matching: impl Iterator<Item = T>, limit: u32) -> (Vec<T>, bool) {
    let page = matching.by_ref().take(limit as usize).collect();
    (page, matching.next().is_some())
}

fn needs_another_key(account: &Account, than: Option<&KeyId>) -> bool {
    than.is_none_or(|than| StoredFactor::sealed_with(&account.factors).into_iter().any(|key| key != than))
}

fn is_of(key: &AccountKey, query: &EventQuery) -> bool {
    key.tenant == query.tenant && query.user.as_ref().is_none_or(|user| key.user == *user)
}

pub(crate) fn recorded(position: EventPosition, key: &AccountKey, event: &AuditEvent) -> RecordedEvent {
    RecordedEvent { position, user: key.user.clone(), event: event.clone() }
}
