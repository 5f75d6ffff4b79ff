//! What this process has seen of each tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mfa_domain::TenantId;

use crate::RedisError;

/// The last event of each tenant that is known to last, and whether this process has listed the tenant in the
/// index.
///
/// If a server has lost confirmed changes by a failover or a restart, the id of the tenant's last event is
/// smaller than before. An accepted code could then be accepted again. So nothing of that tenant is read or
/// changed any more, even after new events have reached the old number, unless losses are accepted.
#[derive(Clone)]
pub(crate) struct Tenants {
    known: Arc<Mutex<HashMap<TenantId, Known>>>,
    loss_accepted: bool,
    /// Whether read data lasts. If replicas are required, they may not have it yet.
    reads_last: bool,
}

#[derive(Clone, Copy, Default)]
struct Known {
    last: u64,
    listed: bool,
    went_back: bool,
}

impl Tenants {
    pub(crate) fn new(loss_accepted: bool, replicas: u32) -> Self {
        Self { known: Arc::default(), loss_accepted, reads_last: replicas == 0 }
    }

    /// The id of the last event that every later answer must include.
    pub(crate) fn lasting(&self, tenant: &TenantId) -> Result<u64, RedisError> {
        match self.known().get(tenant) {
            Some(known) if known.went_back => Err(RedisError::WentBack { tenant: tenant.to_string() }),
            known => Ok(known.map_or(0, |known| known.last)),
        }
    }

    /// Compares an answer with the value of [`lasting`](Self::lasting) before the call, and remembers its
    /// last event if it lasts.
    pub(crate) fn found(
        &self,
        tenant: &TenantId,
        lasting: u64,
        last: u64,
        lasts: bool,
    ) -> Result<(), RedisError> {
        if last < lasting {
            if !self.loss_accepted {
                self.known().entry(tenant.clone()).or_default().went_back = true;
                return Err(RedisError::WentBack { tenant: tenant.to_string() });
            }
            self.known().insert(tenant.clone(), Known { last, ..Known::default() });
        } else if last > lasting && (lasts || self.reads_last) {
            let mut known = self.known();
            let known = known.entry(tenant.clone()).or_default();
            known.last = known.last.max(last);
        }
        Ok(())
    }

    /// Whether this process has added the tenant to the index.
    pub(crate) fn is_listed(&self, tenant: &TenantId) -> bool {
        self.known().get(tenant).is_some_and(|known| known.listed)
    }

    pub(crate) fn listed(&self, tenant: &TenantId) {
        self.known().entry(tenant.clone()).or_default().listed = true;
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TenantId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
