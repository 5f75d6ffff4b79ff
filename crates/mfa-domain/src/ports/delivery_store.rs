//! The store for delivering the audit trail.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{Commit, EventPosition, RecordedEvent, StoreError, UnreadableEvent};
use crate::delivery::{Delivery, EndpointId};
use crate::{TenantId, Version, Versioned};

/// Stores the progress of each endpoint, and reads the trail. The trail is the outbox: its messages are the events.
/// The store decides nothing; the rules are those of [`Delivery`].
///
/// [`Mfa`](crate::Mfa) does not use this port; the program that delivers events does.
#[async_trait]
pub trait DeliveryStore: Debug + Send + Sync + 'static {
    /// Reads the progress of an endpoint; `None` if none was stored. MUST return a state no older than any swap that
    /// was answered before the call.
    async fn delivery(&self, endpoint: &EndpointId) -> Result<Option<Versioned<Delivery>>, StoreError>;

    /// Stores the progress of an endpoint.
    ///
    /// MUST set the whole delivery and the version `expected.next()`, or change nothing. MUST change something only
    /// if the stored version is `expected`, compared in the same atomic operation that writes; an endpoint without
    /// stored progress is at version zero. MUST be durable before it answers [`Commit::Won`]. MUST NOT decide by its
    /// own clock. After an error it is unknown whether the change was made.
    async fn swap(
        &self,
        endpoint: &EndpointId,
        expected: Version,
        next: &Delivery,
    ) -> Result<Commit, StoreError>;

    /// Returns the events of all tenants after `after`, in the order of their positions. `limit` is the most events
    /// to return; at least 1.
    ///
    /// As for [`AccountStore::events`](super::AccountStore::events), an event MUST NOT appear at or before a position
    /// that a page has already passed, and an event that cannot be read MUST NOT hide the others.
    async fn trail(&self, after: EventPosition, limit: u32) -> Result<TrailPage, StoreError>;

    /// Returns a position after every event that was committed before the call; zero if there never was one. A new
    /// endpoint begins there to get only later events. As for a page, an event MUST NOT appear at or before that
    /// position later.
    async fn last_event(&self) -> Result<EventPosition, StoreError>;
}

/// One page of the trail of all tenants.
#[derive(Clone, Debug, Default)]
pub struct TrailPage {
    /// The events, in the order of their positions.
    pub events: Vec<TrailEvent>,
    /// The events in this range that cannot be read, in the order of their positions.
    pub unreadable: Vec<UnreadableEvent>,
    /// Whether there may be more events after this page.
    pub more: bool,
}

/// A stored event and its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailEvent {
    /// The tenant.
    pub tenant: TenantId,
    /// The event and its user.
    pub recorded: RecordedEvent,
}
