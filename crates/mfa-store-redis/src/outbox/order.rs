//! Which tenants claims ask, and in which order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mfa_domain::{Message, TenantId};
use tokio::time::Instant;

use crate::accounts::Tenants;
use crate::{RedisError, RedisStore};

/// Whose turn it is. A clone shares it.
#[derive(Clone, Default)]
pub(crate) struct ClaimOrder(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The tenant that a claim of all has asked last. The next one begins with the tenant after it, so that nobody waits
    /// for a tenant that has very many messages.
    served: Vec<u8>,
    /// The tenants in which this process has queued something since it last asked them; who waits longest is the first.
    recent: VecDeque<TenantId>,
    /// The tenants that are left alone until then.
    set_aside: HashMap<TenantId, Instant>,
}

impl ClaimOrder {
    pub(super) fn served(&self) -> Vec<u8> {
        self.inner().served.clone()
    }

    pub(super) fn serve(&self, tenant: &TenantId) {
        self.inner().served = tenant.as_str().into();
    }

    /// A message of that tenant was queued, or is still there.
    pub(crate) fn queued(&self, tenant: &TenantId) {
        let recent = &mut self.inner().recent;
        if !recent.contains(tenant) {
            recent.push_back(tenant.clone());
        }
    }

    /// Taken before they are asked, so that a message which is queued meanwhile puts its tenant back.
    pub(super) fn take_recent(&self) -> VecDeque<TenantId> {
        std::mem::take(&mut self.inner().recent)
    }

    /// Leaves a tenant alone, for as long as a message is left alone that cannot be read.
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

/// A walk through all tenants once, from the one after a place to the one at that place.
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
