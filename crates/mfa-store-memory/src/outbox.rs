//! Messages in a map.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use mfa_domain::ports::{Claimed, Commit, Outbox, StoreError};
use mfa_domain::{Message, MessageId, MessageState, Sending, TenantId, Timestamp, Version, Versioned};

use crate::MemoryStore;

type Place = (TenantId, MessageId);

/// All messages, in three orders.
#[derive(Default)]
pub(crate) struct Messages {
    of: BTreeMap<Place, Versioned<Message>>,
    /// The queued messages, the first due first.
    due: BTreeSet<(Timestamp, Place)>,
    /// The other messages, the first to expire first.
    over: BTreeSet<(Timestamp, Place)>,
}

impl Messages {
    /// Stores a message; replaces one with the same id.
    pub(crate) fn put(&mut self, message: &Message) {
        let place = (message.account.tenant.clone(), message.id);
        let version = self.remove(&place).map_or(Version(1), |before| before.version.next());
        self.insert(place, Versioned { value: message.clone(), version });
    }

    fn insert(&mut self, place: Place, message: Versioned<Message>) {
        let Message { expires_at, sending, .. } = &message.value;
        if sending.state == MessageState::Queued {
            self.due.insert((sending.due_at, place.clone()));
        } else {
            self.over.insert((*expires_at, place.clone()));
        }
        self.of.insert(place, message);
    }

    fn remove(&mut self, place: &Place) -> Option<Versioned<Message>> {
        let message = self.of.remove(place)?;
        self.due.remove(&(message.value.sending.due_at, place.clone()));
        self.over.remove(&(message.value.expires_at, place.clone()));
        Some(message)
    }

    fn swap(&mut self, place: &Place, expected: Version, next: &Sending) -> Option<Versioned<Message>> {
        if self.of.get(place)?.version != expected {
            return None;
        }
        let before = self.remove(place)?.value;
        let next = Versioned { value: Message { sending: next.clone(), ..before }, version: expected.next() };
        self.insert(place.clone(), next.clone());
        Some(next)
    }

    fn claim(&mut self, now: Timestamp, until: Timestamp, limit: u32) -> Vec<Versioned<Message>> {
        // The latest due first.
        let due = self.due.iter().rev().skip_while(|(due_at, _)| *due_at > now).take(limit as usize);
        let due: Vec<Place> = due.map(|(_, place)| place.clone()).collect();
        let claim = |place: &Place| {
            let Versioned { value, version } = self.of.get(place)?;
            let (expected, next) = (*version, value.sending.claimed(until));
            self.swap(place, expected, &next)
        };
        due.iter().filter_map(claim).collect()
    }

    /// Deletes some messages that expired long ago.
    fn forget(&mut self, now: Timestamp) {
        for _ in 0..100 {
            let Some((expires_at, place)) = self.over.first() else { return };
            if now.since(*expires_at) < Message::KEPT {
                return;
            }
            let place = place.clone();
            self.remove(&place);
        }
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError> {
        let outbox = &mut self.tables().outbox;
        outbox.forget(now);
        Ok(Claimed { messages: outbox.claim(now, until, limit), unreadable: Vec::new() })
    }

    async fn message(
        &self,
        tenant: &TenantId,
        id: MessageId,
    ) -> Result<Option<Versioned<Message>>, StoreError> {
        Ok(self.tables().outbox.of.get(&(tenant.clone(), id)).cloned())
    }

    async fn swap(
        &self,
        tenant: &TenantId,
        id: MessageId,
        expected: Version,
        next: &Sending,
    ) -> Result<Commit, StoreError> {
        let won = self.tables().outbox.swap(&(tenant.clone(), id), expected, next).is_some();
        Ok(if won { Commit::Won } else { Commit::Conflict })
    }
}
