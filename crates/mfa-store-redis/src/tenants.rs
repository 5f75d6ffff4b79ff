//! What this process has seen of each tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mfa_domain::TenantId;

use crate::RedisError;

/// The last event of each tenant that is known to last, and whether it is known that the tenant is in the
/// index.
///
/// A server that has lost changes which it had answered, by a failover or a restart, shows: the last event's
/// id has gone back. Then a code that was accepted could be accepted again, so nothing is read or changed
/// there any more, even once further events have filled up the numbers; unless it was said that losses are
/// accepted.
#[derive(Clone)]
pub(crate) struct Tenants {
    known: Arc<Mutex<HashMap<TenantId, Known>>>,
    loss_accepted: bool,
    /// Whether what is read lasts. Where replicas are asked for, they may not have it yet.
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

    /// The last event of a tenant that whoever asks from now on must be shown.
    pub(crate) fn lasting(&self, tenant: &TenantId) -> Result<u64, RedisError> {
        match self.known().get(tenant) {
            Some(known) if known.went_back => Err(RedisError::WentBack { tenant: tenant.to_string() }),
            known => Ok(known.map_or(0, |known| known.last)),
        }
    }

    /// Compares what was found with what was [`lasting`](Self::lasting) before it was asked for, and takes
    /// note of it if it lasts.
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

    /// Whether this process has put the tenant into the index.
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
