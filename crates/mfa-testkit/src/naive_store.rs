//! A naive account store.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountPlace, AccountQuery, AccountStore, Claimed, Commit, EventPage,
    EventPosition, EventQuery, Outbox, RecordedEvent, StoreError,
};
use mfa_domain::{
    Account, AccountKey, AuditEvent, AuditHead, Delta, Handle, HandleChange, KeyId, Message, MessageId,
    MessageState, Sending, TenantId, Timestamp, UserId, Version, Versioned,
};

/// A store that reads, compares and writes back, with no guard across the three steps.
///
/// For one caller at a time it is correct, and passes the basic and time suites, including those of its
/// outbox. The race suites must fail it: every published bypass of the kind "fifty parallel requests with one
/// code" was a store like this.
#[derive(Clone, Default)]
pub struct NaiveStore(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    accounts: BTreeMap<AccountKey, Versioned<Account>>,
    handles: BTreeMap<(TenantId, Handle), UserId>,
    events: BTreeMap<EventPosition, (AccountKey, AuditEvent)>,
    messages: BTreeMap<(TenantId, MessageId), Versioned<Message>>,
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
        let is_anothers = |handle: &Handle| {
            let found = self.0.lock().unwrap().handles.get(&(key.tenant.clone(), handle.clone())).cloned();
            found.is_some_and(|user| user != key.user)
        };
        let mut handles = Vec::new();
        for change in delta.handles() {
            match change {
                HandleChange::Claim(handle) if is_anothers(handle) => return Ok(Commit::HandleTaken),
                HandleChange::Release(handle) if is_anothers(handle) => {}
                change => handles.push(change),
            }
        }
        let version = |message: &Message| {
            let before = self.read_message(&message.account.tenant, message.id);
            before.map_or(Version(1), |before| before.version.next())
        };
        let messages: Vec<_> = delta
            .messages()
            .iter()
            .map(|message| Versioned { value: message.clone(), version: version(message) })
            .collect();
        account.value.apply(delta);
        account.version = expected.next();
        round_trip().await;
        let mut tables = self.0.lock().unwrap();
        for message in messages {
            tables.write(message);
        }
        tables.accounts.insert(key.clone(), account);
        for change in handles {
            match change {
                HandleChange::Claim(handle) => {
                    tables.handles.insert((key.tenant.clone(), handle.clone()), key.user.clone());
                }
                HandleChange::Release(handle) => {
                    tables.handles.remove(&(key.tenant.clone(), handle.clone()));
                }
            }
        }
        let last = tables.events.last_key_value().map_or(0, |(position, _)| position.0);
        let events = delta.events().iter().map(|event| (key.clone(), event.clone()));
        tables.events.extend((last + 1..).map(EventPosition).zip(events));
        Ok(Commit::Won)
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let tables = self.0.lock().unwrap();
        let mut accounts: Vec<_> = tables
            .accounts
            .iter()
            .filter(|(key, _)| query.after.as_ref().is_none_or(|after| AccountPlace::from(*key) > *after))
            .filter(|(_, account)| {
                let mut sealed = account.value.factors.iter().filter_map(|factor| factor.sealed.as_ref());
                query.not_sealed_with.as_ref().is_none_or(|than| sealed.any(|sealed| sealed.key != *than))
            })
            .filter(|(key, account)| {
                let second = account.value.audit_base.sequence + 2;
                query.second_event_before.is_none_or(|before| {
                    let mut events = tables.events.values().filter(|(of, _)| of == *key);
                    events.any(|(_, event)| event.sequence == second && event.at < before)
                })
            })
            .map(|(key, Versioned { value, .. })| AccountEntry {
                key: key.clone(),
                audit_head: value.audit_head,
                audit_base: value.audit_base,
            })
            .collect();
        let more = accounts.len() > query.limit as usize;
        accounts.truncate(query.limit as usize);
        let next =
            accounts.last().filter(|_| more).map(|account: &AccountEntry| AccountPlace::from(&account.key));
        Ok(AccountPage { accounts, next, ..AccountPage::default() })
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let tables = self.0.lock().unwrap();
        let mut events: Vec<_> = tables
            .events
            .iter()
            .map(|(position, event)| (*position, event))
            .filter(|(position, _)| query.after.is_none_or(|after| *position > after))
            .filter(|(_, (key, _))| {
                key.tenant == query.tenant && query.user.as_ref().is_none_or(|user| key.user == *user)
            })
            .map(|(position, (key, event))| RecordedEvent {
                position,
                user: key.user.clone(),
                event: event.clone(),
            })
            .collect();
        let more = events.len() > query.limit as usize;
        events.truncate(query.limit as usize);
        Ok(EventPage { events, more, ..EventPage::default() })
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        let account = self.load(key).await?.value;
        if account.audit_base != from || account.audit_head.sequence <= to.sequence {
            return Ok(Commit::Conflict);
        }
        round_trip().await;
        let mut tables = self.0.lock().unwrap();
        tables.accounts.entry(key.clone()).or_default().value.audit_base = to;
        tables.events.retain(|_, (of, event)| of != key || event.sequence > to.sequence);
        Ok(Commit::Won)
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        let user = self.0.lock().unwrap().handles.get(&(tenant.clone(), handle.clone())).cloned();
        Ok(user.map(|user| AccountKey::new(tenant.clone(), user)))
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        Some(self)
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let tables = self.0.lock().unwrap();
        let factors = tables.accounts.values().flat_map(|account| &account.value.factors);
        let keys: BTreeSet<_> =
            factors.filter_map(|factor| Some(factor.sealed.as_ref()?.key.clone())).collect();
        Ok(keys.into_iter().collect())
    }
}

#[async_trait]
impl Outbox for NaiveStore {
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError> {
        let mut due = self.due(now);
        due.truncate(limit as usize);
        round_trip().await;
        let mut claimed = Claimed::default();
        for Versioned { value, version } in due {
            let sending = value.sending.claimed(until);
            let message = Versioned { value: Message { sending, ..value }, version: version.next() };
            self.0.lock().unwrap().write(message.clone());
            claimed.messages.push(message);
        }
        Ok(claimed)
    }

    async fn message(
        &self,
        tenant: &TenantId,
        id: MessageId,
    ) -> Result<Option<Versioned<Message>>, StoreError> {
        Ok(self.read_message(tenant, id))
    }

    async fn swap(
        &self,
        tenant: &TenantId,
        id: MessageId,
        expected: Version,
        next: &Sending,
    ) -> Result<Commit, StoreError> {
        match self.read_message(tenant, id) {
            Some(read) if read.version == expected => {
                round_trip().await;
                let value = Message { sending: next.clone(), ..read.value };
                self.0.lock().unwrap().write(Versioned { value, version: expected.next() });
                Ok(Commit::Won)
            }
            _ => Ok(Commit::Conflict),
        }
    }
}

impl NaiveStore {
    fn read_message(&self, tenant: &TenantId, id: MessageId) -> Option<Versioned<Message>> {
        self.0.lock().unwrap().messages.get(&(tenant.clone(), id)).cloned()
    }

    /// The queued and due messages, the most recently due first.
    fn due(&self, now: Timestamp) -> Vec<Versioned<Message>> {
        let tables = self.0.lock().unwrap();
        let is_due = |sending: &Sending| sending.state == MessageState::Queued && sending.due_at <= now;
        let due = tables.messages.values().filter(|message| is_due(&message.value.sending));
        let mut due: Vec<_> = due.cloned().collect();
        due.sort_by_key(|message| Reverse(message.value.sending.due_at));
        due
    }
}

impl Tables {
    fn write(&mut self, message: Versioned<Message>) {
        let place = (message.value.account.tenant.clone(), message.value.id);
        self.messages.insert(place, message);
    }
}

/// The minimum duration of a round trip to a database.
async fn round_trip() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl fmt::Debug for NaiveStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NaiveStore(..)")
    }
}
