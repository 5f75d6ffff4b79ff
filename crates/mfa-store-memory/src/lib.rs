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

/// Accounts, events and API keys in memory: gone with the process, and shared by all clones.
///
/// Every promise of a store follows from one mutex that is held over each whole operation.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

/// What a database would keep.
#[derive(Default)]
struct Tables {
    /// No entry ever goes, not even an erased account's: its version must not come back.
    accounts: BTreeMap<AccountKey, Versioned<Account>>,
    handles: BTreeMap<(TenantId, Handle), UserId>,
    /// Positions are counted from 1. The last one is never removed, so none is given again.
    events: BTreeMap<EventPosition, (AccountKey, AuditEvent)>,
    api_keys: BTreeMap<ApiKeyId, ApiKey>,
    deliveries: BTreeMap<EndpointId, Versioned<Delivery>>,
    outbox: outbox::Messages,
}

impl MemoryStore {
    /// The tables, for one operation. No holder can leave one half done, since nothing between the
    /// first change and the last can panic; so a poisoned mutex is as good as any.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore(..)")
    }
}
