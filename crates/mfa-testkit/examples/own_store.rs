//! A store of your own, as small as one can be: rows in maps, behind one lock.
//!
//! It keeps what a database would keep, and passes the suites: `cargo run -p mfa-testkit --example own_store`. A real
//! one has tables in the place of the maps, and a transaction in the place of the lock.
//!
//! It has no outbox, so no factor can be used whose codes are sent. One that has passes the suites of
//! `mfa_testkit::outbox`, too.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use mfa_domain::account::{Attempts, BackupCodes, KeptAnswers};
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountPlace, AccountQuery, AccountStore, Commit, EventPage, EventPosition,
    EventQuery, RecordedEvent, StoreError,
};
use mfa_domain::{
    Account, AccountKey, AuditEvent, AuditHead, Data, Delta, Handle, HandleChange, KeyId, StoredFactor,
    TenantId, Timestamp, Version, Versioned,
};
use mfa_testkit::account_store;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = OwnStore::default();
    account_store::basic(&store).await?;
    account_store::time(&store).await?;
    Ok(account_store::race(Arc::new(store.clone()), Arc::new(store)).await?)
}

/// The store. A clone is another handle on the same rows.
#[derive(Clone, Debug, Default)]
pub struct OwnStore(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    accounts: BTreeMap<AccountKey, Row>,
    handles: BTreeMap<(TenantId, Handle), AccountKey>,
    events: BTreeMap<EventPosition, (AccountKey, AuditEvent)>,
}

/// An account: plain values, of which a database has a column or a table each. What a factor is, is in its data.
#[derive(Clone, Debug, Default)]
struct Row {
    version: u64,
    attempts: Attempts,
    factors: Vec<StoredFactor>,
    backup_codes: Option<BackupCodes>,
    audit_head: AuditHead,
    audit_base: AuditHead,
    answers: Vec<u8>,
    data: Data,
}

impl Row {
    fn of(account: &Account, version: Version) -> Self {
        Self {
            version: version.0,
            attempts: account.attempts.clone(),
            factors: account.factors.iter().map(StoredFactor::of).collect(),
            backup_codes: account.backup_codes.clone(),
            audit_head: account.audit_head,
            audit_base: account.audit_base,
            answers: account.answers.to_bytes(),
            data: account.data.clone(),
        }
    }

    fn read(self) -> Result<Versioned<Account>, StoreError> {
        let factors = self.factors.into_iter().map(StoredFactor::read).collect::<Result<_, _>>();
        let value = Account {
            factors: factors.map_err(StoreError::new)?,
            backup_codes: self.backup_codes,
            attempts: self.attempts,
            audit_head: self.audit_head,
            audit_base: self.audit_base,
            answers: KeptAnswers::from_bytes(&self.answers).map_err(|_| StoreError::new("answers"))?,
            data: self.data,
        };
        Ok(Versioned { value, version: Version(self.version) })
    }

    fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.factors.iter().filter_map(|factor| factor.sealed.as_ref()).map(|sealed| &sealed.key)
    }
}

impl OwnStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AccountStore for OwnStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.tables().accounts.get(key).cloned().unwrap_or_default().read()
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        if !delta.messages().is_empty() {
            return Err(StoreError::new("this store has no outbox"));
        }
        let mut tables = self.tables();
        let row = tables.accounts.get(key).cloned().unwrap_or_default();
        let Versioned { mut value, version } = row.read()?;
        if version != expected {
            return Ok(Commit::Conflict);
        }
        let mut handles = tables.handles.clone();
        for change in delta.handles() {
            let (HandleChange::Claim(handle) | HandleChange::Release(handle)) = change;
            let place = (key.tenant.clone(), handle.clone());
            let is_anothers = handles.get(&place).is_some_and(|owner| owner != key);
            match change {
                HandleChange::Claim(_) if is_anothers => return Ok(Commit::HandleTaken),
                HandleChange::Claim(_) => drop(handles.insert(place, key.clone())),
                HandleChange::Release(_) if is_anothers => {}
                HandleChange::Release(_) => drop(handles.remove(&place)),
            }
        }
        tables.handles = handles;
        value.apply(delta);
        tables.accounts.insert(key.clone(), Row::of(&value, expected.next()));
        let last = tables.events.last_key_value().map_or(0, |(position, _)| position.0);
        let events = delta.events().iter().map(|event| (key.clone(), event.clone()));
        tables.events.extend((last + 1..).map(EventPosition).zip(events));
        Ok(Commit::Won)
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let tables = self.tables();
        let second_event = |key: &AccountKey, row: &Row| {
            let mut events = tables.events.values().filter(|(of, _)| of == key).map(|(_, event)| event);
            events.find(|event| event.sequence == row.audit_base.sequence + 2)
        };
        let is_old = |key: &AccountKey, row: &Row, time: Timestamp| {
            second_event(key, row).is_some_and(|event| event.at < time)
        };
        let asked = |(key, row): &(&AccountKey, &Row)| {
            query.after.as_ref().is_none_or(|after| AccountPlace::from(*key) > *after)
                && query.not_sealed_with.as_ref().is_none_or(|than| row.keys().any(|used| used != than))
                && query.second_event_before.is_none_or(|time| is_old(key, row, time))
        };
        let mut found = tables.accounts.iter().filter(asked);
        let entry = |(key, row): (&AccountKey, &Row)| AccountEntry {
            key: key.clone(),
            audit_head: row.audit_head,
            audit_base: row.audit_base,
        };
        let accounts: Vec<_> = found.by_ref().take(query.limit as usize).map(entry).collect();
        let last = accounts.last().map(|last| AccountPlace::from(&last.key));
        let next = last.filter(|_| found.next().is_some());
        Ok(AccountPage { accounts, next, ..AccountPage::default() })
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let tables = self.tables();
        let after = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = tables.events.range((after, Bound::Unbounded)).filter(|(_, (key, _))| {
            key.tenant == query.tenant && query.user.as_ref().is_none_or(|user| key.user == *user)
        });
        let mut events = Vec::new();
        for (position, (key, event)) in found.by_ref().take(query.limit as usize) {
            let (position, user, event) = (*position, key.user.clone(), event.clone());
            events.push(RecordedEvent { position, user, event });
        }
        Ok(EventPage { events, more: found.next().is_some(), ..EventPage::default() })
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        let mut tables = self.tables();
        let Some(row) = tables.accounts.get_mut(key) else { return Ok(Commit::Conflict) };
        if row.audit_base != from || row.audit_head.sequence <= to.sequence {
            return Ok(Commit::Conflict);
        }
        row.audit_base = to;
        tables.events.retain(|_, (of, event)| of != key || event.sequence > to.sequence);
        Ok(Commit::Won)
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        Ok(self.tables().handles.get(&(tenant.clone(), handle.clone())).cloned())
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let tables = self.tables();
        let keys: BTreeSet<_> = tables.accounts.values().flat_map(Row::keys).collect();
        Ok(keys.into_iter().cloned().collect())
    }
}
