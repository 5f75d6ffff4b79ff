#![doc = include_str!("../README.md")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mfa_domain::ports::{ApiKey, ApiKeyId, EventPosition};
use mfa_domain::{
    Account, AccountKey, AuditEvent, Delivery, EndpointId, Handle, TenantId, UserId, Versioned,
};

mod accounts;
mod api_keys;
mod challenges;
mod deliveries;
mod outbox;
mod throttle;

pub use challenges::MemoryChallenges;
pub use throttle::MemoryThrottle;

/// Accounts, events and API keys in memory: shared by all clones, lost with the process.
///
/// One mutex is held during each whole operation; every guarantee of the store follows from that.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

/// The data that a database would store.
#[derive(Default)]
struct Tables {
    /// No entry is ever removed, not even that of an erased account: its version must not start again.
    accounts: BTreeMap<AccountKey, Versioned<Account>>,
    handles: BTreeMap<(TenantId, Handle), UserId>,
    /// Positions start at 1. The last event is never removed, so no position is assigned twice.
    events: BTreeMap<EventPosition, (AccountKey, AuditEvent)>,
    api_keys: BTreeMap<ApiKeyId, ApiKey>,
    deliveries: BTreeMap<EndpointId, Versioned<Delivery>>,
    outbox: outbox::Messages,
}

impl MemoryStore {
    /// The tables, locked for one operation. Nothing between its first and last change can panic, so a
    /// poisoned mutex still guards complete changes.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore(..)")
    }
}
