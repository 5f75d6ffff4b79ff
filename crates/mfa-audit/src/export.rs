//! Events as JSON Lines for other systems, complete enough to follow each chain in them.

use std::collections::BTreeMap;

use mfa_domain::ports::RecordedEvent;
use mfa_domain::{AccountKey, AuditEvent, EventId, EventKind, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

mod read;
mod write;

pub use read::Chains;
pub use write::{ExportError, Exported, LeftOut, Selection, write};

/// An event as the HTTP API shows it, with its tenant and the hash of the previous event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    tenant: String,
    user: String,
    at: String,
    kind: String,
    factor: Option<String>,
    actor: String,
    detail: BTreeMap<String, String>,
    sequence: u64,
    previous: String,
    hash: String,
}

impl Line {
    fn of(id: EventId, tenant: &TenantId, RecordedEvent { user, event, .. }: &RecordedEvent) -> Self {
        Self {
            id: id.to_string(),
            tenant: tenant.to_string(),
            user: user.as_str().to_owned(),
            at: event.at.to_string(),
            kind: event.kind.to_string(),
            factor: event.factor.map(|id| id.to_string()),
            actor: event.actor.clone(),
            detail: event.detail.clone(),
            sequence: event.sequence,
            previous: event.previous.to_string(),
            hash: event.hash.to_string(),
        }
    }

    fn read(self) -> Option<(AccountKey, AuditEvent)> {
        self.id.parse::<EventId>().ok()?;
        let key = AccountKey::new(TenantId::new(&self.tenant).ok()?, UserId::new(&self.user).ok()?);
        let at: Timestamp = self.at.parse().ok()?;
        let event = AuditEvent {
            sequence: self.sequence,
            // Only the printed form is accepted: a value with two spellings could be altered unnoticed.
            at: (at.to_string() == self.at).then_some(at)?,
            kind: EventKind::from_name(&self.kind),
            factor: self.factor.map(|id| id.parse()).transpose().ok()?,
            actor: self.actor,
            detail: self.detail,
            previous: self.previous.parse().ok()?,
            hash: self.hash.parse().ok()?,
        };
        Some((key, event))
    }
}

#[cfg(test)]
mod tests {
    use mfa_store_memory::MemoryStore;
    use mfa_testkit::{FakeVault, changes};

    use super::*;

    pub(super) async fn exported(store: &MemoryStore, selection: Selection) -> (Vec<u8>, Exported) {
        let mut text = Vec::new();
        let exported = write(store, &FakeVault::default(), &selection, &mut text, |_| ()).await.unwrap();
        (text, exported)
    }

    /// Three tenants. The order of tenants differs from the order of users.
    pub(super) async fn store() -> MemoryStore {
        let store = MemoryStore::default();
        let longest = "\u{1f9ff}".repeat(UserId::MAX_LENGTH / 4);
        for (tenant, user) in
            [("b", "alice"), ("a", longest.as_str()), ("a", "bob"), ("c", "a"), ("b", "alice")]
        {
            let key = AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap());
            let reason = |draft: &mut mfa_domain::Draft<'_>| {
                let factor = mfa_domain::FactorId::fresh(changes::now(), &[1; 10]);
                draft.record(EventKind::Reset, Some(factor), [("reason", "lost phone".to_owned())]);
            };
            let _ = changes::change(&store, &key, reason).await.unwrap();
        }
        store
    }
}
