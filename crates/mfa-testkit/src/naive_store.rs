//! The store that most people write first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountQuery, AccountStore, Commit, EventId, EventPage, EventQuery,
    RecordedEvent, StoreError,
};
use mfa_domain::{Account, AccountKey, AuditEvent, Delta, KeyId, Version, Versioned};

/// A store that reads, compares and writes back, without a guard that holds over all three.
///
/// Used by one caller at a time it does everything right, and passes the basic and the time suite.
/// It is here because the race suite must fail it: each published bypass of the kind "fifty
/// parallel requests with one code" was a store like this one.
#[derive(Clone, Default)]
pub struct NaiveStore(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    accounts: BTreeMap<AccountKey, Versioned<Account>>,
    events: Vec<(AccountKey, AuditEvent)>,
}

#[async_trait]
impl AccountStore for NaiveStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        Ok(self.0.lock().unwrap().accounts.get(key).cloned().unwrap_or_default())
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let mut account = self.load(key).await?;
        if account.version != expected {
            return Ok(Commit::Conflict);
        }
        account.value.apply(delta);
        account.version = expected.next();
        // What a round trip to a database takes at least.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut tables = self.0.lock().unwrap();
        tables.accounts.insert(key.clone(), account);
        tables.events.extend(delta.events().iter().map(|event| (key.clone(), event.clone())));
        Ok(Commit::Won)
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let tables = self.0.lock().unwrap();
        let mut accounts: Vec<_> = tables
            .accounts
            .iter()
            .filter(|(key, _)| query.after.as_ref().is_none_or(|after| *key > after))
            .filter(|(_, account)| {
                let mut factors = account.value.factors.iter();
                query.not_sealed_with.as_ref().is_none_or(|than| factors.any(|f| f.secret().key != *than))
            })
            .map(|(key, account)| AccountEntry { key: key.clone(), audit_head: account.value.audit_head })
            .collect();
        let more = accounts.len() > query.limit as usize;
        accounts.truncate(query.limit as usize);
        Ok(AccountPage { accounts, more })
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let tables = self.0.lock().unwrap();
        let mut events: Vec<_> = (1..)
            .map(EventId)
            .zip(&tables.events)
            .filter(|(id, _)| query.after.is_none_or(|after| *id > after))
            .filter(|(_, (key, _))| {
                key.tenant == query.tenant && query.user.as_ref().is_none_or(|user| key.user == *user)
            })
            .map(|(id, (key, event))| RecordedEvent { id, user: key.user.clone(), event: event.clone() })
            .collect();
        let more = events.len() > query.limit as usize;
        events.truncate(query.limit as usize);
        Ok(EventPage { events, more })
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let tables = self.0.lock().unwrap();
        let factors = tables.accounts.values().flat_map(|account| &account.value.factors);
        let keys: BTreeSet<_> = factors.map(|factor| factor.secret().key.clone()).collect();
        Ok(keys.into_iter().collect())
    }
}

impl fmt::Debug for NaiveStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NaiveStore(..)")
    }
}
