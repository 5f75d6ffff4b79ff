//! The tenants that claims ask, and their order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mfa_domain::{Message, TenantId};
use tokio::time::Instant;

use crate::accounts::Tenants;
use crate::{RedisError, RedisStore};

/// The order of tenants. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct ClaimOrder(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The tenant that the last claim of all tenants asked last. The next claim begins with the tenant after
    /// it, so that a tenant with very many messages does not delay the others.
    served: Vec<u8>,
    /// The tenants for which this process has queued messages since it last asked them, the longest waiting
    /// first.
    recent: VecDeque<TenantId>,
    /// Tenants that are skipped, each until a time.
    set_aside: HashMap<TenantId, Instant>,
}

impl ClaimOrder {
    pub(super) fn served(&self) -> Vec<u8> {
        self.inner().served.clone()
    }

    pub(super) fn serve(&self, tenant: &TenantId) {
        self.inner().served = tenant.as_str().into();
    }

    /// Notes that a message of this tenant was queued or is still queued.
    pub(crate) fn queued(&self, tenant: &TenantId) {
        let recent = &mut self.inner().recent;
        if !recent.contains(tenant) {
            recent.push_back(tenant.clone());
        }
    }

    /// Taken before they are asked, so that a message queued meanwhile adds its tenant again.
    pub(super) fn take_recent(&self) -> VecDeque<TenantId> {
        std::mem::take(&mut self.inner().recent)
    }

    /// Skips a tenant as long as an unreadable message is skipped.
    pub(super) fn set_aside(&self, tenant: &TenantId) {
        let now = Instant::now();
        let set_aside = &mut self.inner().set_aside;
        set_aside.retain(|_, until| now < *until);
        set_aside.insert(tenant.clone(), now + Message::CLAIM);
    }

    pub(super) fn is_set_aside(&self, tenant: &TenantId) -> bool {
        self.inner().set_aside.get(tenant).is_some_and(|until| Instant::now() < *until)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Iterates over all tenants once, from the one after a place to the one at that place.
pub(super) struct Round {
    place: Vec<u8>,
    tenants: Tenants,
    begun_again: bool,
}

impl Round {
    pub(super) fn after(place: Vec<u8>) -> Self {
        Self { tenants: Tenants::after(&place), place, begun_again: false }
    }

    pub(super) async fn next(&mut self, store: &RedisStore) -> Result<Option<Vec<u8>>, RedisError> {
        let mut next = self.tenants.next(store).await?;
        if next.is_none() && !self.begun_again {
            self.begun_again = true;
            self.tenants = Tenants::from(None);
            next = self.tenants.next(store).await?;
        }
        Ok(next.filter(|tenant| !self.begun_again || *tenant <= self.place))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    #[test]
    fn recent_tenants_come_in_the_order_in_which_they_queued_and_each_once() {
        let order = ClaimOrder::default();
        for name in ["b", "a", "b", "c"] {
            order.clone().queued(&tenant(name));
        }
        assert_eq!(order.take_recent(), ["b", "a", "c"].map(tenant));
        assert!(order.take_recent().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_is_left_alone_for_two_minutes() {
        let order = ClaimOrder::default();
        order.set_aside(&tenant("a"));
        assert!(order.is_set_aside(&tenant("a")) && !order.is_set_aside(&tenant("b")));
        tokio::time::advance(Duration::from_secs(119)).await;
        order.set_aside(&tenant("b"));
        assert!(order.is_set_aside(&tenant("a")));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!order.is_set_aside(&tenant("a")) && order.is_set_aside(&tenant("b")));
    }
}
