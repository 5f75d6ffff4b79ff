//! What delivering the audit trail needs of a store.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{Commit, EventPosition, RecordedEvent, StoreError, UnreadableEvent};
use crate::delivery::{Delivery, EndpointId};
use crate::{TenantId, Version, Versioned};

/// Keeps how far each endpoint is in the trail, and reads the trail: an outbox whose messages are the
/// events themselves. It decides nothing; the rules are those of [`Delivery`].
///
/// Nothing in [`Mfa`](crate::Mfa) uses it: it belongs to whoever sends.
#[async_trait]
pub trait DeliveryStore: Debug + Send + Sync + 'static {
    /// Reads how far an endpoint is; `None` if it was never kept. What is read MUST be no older than any
    /// swap that was answered before the call.
    async fn delivery(&self, endpoint: &EndpointId) -> Result<Option<Versioned<Delivery>>, StoreError>;

    /// Keeps how far an endpoint is.
    ///
    /// MUST set the whole delivery and the version `expected.next()`, or change nothing; and only while
    /// the stored version is `expected`, compared in the same atomic operation that writes. An endpoint
    /// that was never kept is at version zero. MUST be durable before it answers [`Commit::Won`], and MUST
    /// NOT decide by a clock of its own. After an error it is unknown whether the change was made.
    async fn swap(
        &self,
        endpoint: &EndpointId,
        expected: Version,
        next: &Delivery,
    ) -> Result<Commit, StoreError>;

    /// Pages through the events of all tenants in the order of their positions: those after `after`, at most
    /// `limit`, which is at least 1.
    ///
    /// As of [`AccountStore::events`](super::AccountStore::events), an event MUST NOT appear behind
    /// a position that a page has already passed, and one that cannot be read MUST NOT keep the others out.
    async fn trail(&self, after: EventPosition, limit: u32) -> Result<TrailPage, StoreError>;

    /// A position with no event after it that was committed before the call: whoever begins there gets what
    /// happens from now on. Zero if there never was an event. As of a page, an event MUST NOT appear up to
    /// that position later.
    async fn last_event(&self) -> Result<EventPosition, StoreError>;
}

/// One page of the trail of all tenants.
#[derive(Clone, Debug, Default)]
pub struct TrailPage {
    /// In the order of their positions.
    pub events: Vec<TrailEvent>,
    /// Those between them that cannot be read, in the order of their positions.
    pub unreadable: Vec<UnreadableEvent>,
    /// Whether there may be more after the last one.
    pub more: bool,
}

/// An event as it stands in a store, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailEvent {
    /// Of which tenant.
    pub tenant: TenantId,
    /// What happened, and to which user.
    pub recorded: RecordedEvent,
}
