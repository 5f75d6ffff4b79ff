//! The contract of an account store at its simplest.

use std::collections::BTreeSet;
use std::ops::Bound;

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountQuery, AccountStore, Commit, EventId, EventPage, EventQuery,
    RecordedEvent, StoreError,
};
use mfa_domain::{Account, AccountKey, AuditEvent, Delta, Factor, KeyId, Version, Versioned};

use crate::MemoryStore;

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
        let account = tables.accounts.entry(key.clone()).or_default();
        account.value.apply(delta);
        account.version = expected.next();
        tables.events.extend(delta.events().iter().map(|event| (key.clone(), event.clone())));
        Ok(Commit::Won)
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let after = query.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.tables();
        let matching = tables
            .accounts
            .range((after, Bound::Unbounded))
            .filter(|(_, account)| needs_another_key(&account.value, query.not_sealed_with.as_ref()))
            .map(|(key, account)| AccountEntry { key: key.clone(), audit_head: account.value.audit_head });
        let (accounts, more) = first(matching, query.limit);
        Ok(AccountPage { accounts, more })
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let tables = self.tables();
        let matching = (1..)
            .map(EventId)
            .zip(&tables.events)
            .filter(|(id, _)| query.after.is_none_or(|after| *id > after))
            .filter(|(_, (key, _))| is_of(key, query))
            .map(|(id, (key, event))| recorded(id, key, event));
        let (events, more) = first(matching, query.limit);
        Ok(EventPage { events, more })
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let tables = self.tables();
        let factors = tables.accounts.values().flat_map(|account| &account.value.factors);
        let keys: BTreeSet<_> = factors.map(sealed_with).collect();
        Ok(keys.into_iter().cloned().collect())
    }
}

/// The first `limit`, and whether there are more.
pub(crate) fn first<T>(mut matching: impl Iterator<Item = T>, limit: u32) -> (Vec<T>, bool) {
    let page = matching.by_ref().take(limit as usize).collect();
    (page, matching.next().is_some())
}

fn needs_another_key(account: &Account, than: Option<&KeyId>) -> bool {
    than.is_none_or(|than| account.factors.iter().any(|factor| sealed_with(factor) != than))
}

fn sealed_with(factor: &Factor) -> &KeyId {
    &factor.secret().key
}

fn is_of(key: &AccountKey, query: &EventQuery) -> bool {
    key.tenant == query.tenant && query.user.as_ref().is_none_or(|user| key.user == *user)
}

pub(crate) fn recorded(id: EventId, key: &AccountKey, event: &AuditEvent) -> RecordedEvent {
    RecordedEvent { id, user: key.user.clone(), event: event.clone() }
}
