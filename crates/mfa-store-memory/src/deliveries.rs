//! The progress of endpoints in a map, and the trail.

use std::ops::Bound;

use async_trait::async_trait;
use mfa_domain::ports::{Commit, DeliveryStore, EventPosition, StoreError, TrailEvent, TrailPage};
use mfa_domain::{Delivery, EndpointId, Version, Versioned};

use crate::MemoryStore;
use crate::accounts::{first, recorded};

#[async_trait]
impl DeliveryStore for MemoryStore {
    async fn delivery(&self, endpoint: &EndpointId) -> Result<Option<Versioned<Delivery>>, StoreError> {
        Ok(self.tables().deliveries.get(endpoint).cloned())
    }

    async fn swap(
        &self,
        endpoint: &EndpointId,
        expected: Version,
        next: &Delivery,
    ) -> Result<Commit, StoreError> {
        let mut tables = self.tables();
        let stored = tables.deliveries.get(endpoint).map_or_else(Version::default, |stored| stored.version);
        if stored != expected {
            return Ok(Commit::Conflict);
        }
        let next = Versioned { value: next.clone(), version: expected.next() };
        tables.deliveries.insert(endpoint.clone(), next);
        Ok(Commit::Won)
    }

    async fn trail(&self, after: EventPosition, limit: u32) -> Result<TrailPage, StoreError> {
        let tables = self.tables();
        let ahead = tables.events.range((Bound::Excluded(after), Bound::Unbounded));
        let ahead = ahead.map(|(position, (key, event))| TrailEvent {
            tenant: key.tenant.clone(),
            recorded: recorded(*position, key, event),
        });
        let (events, more) = first(ahead, limit);
        Ok(TrailPage { events, more, ..TrailPage::default() })
    }

    async fn last_event(&self) -> Result<EventPosition, StoreError> {
        Ok(self.tables().events.last_key_value().map_or(EventPosition(0), |(position, _)| *position))
    }
}
