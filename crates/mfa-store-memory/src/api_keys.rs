//! API keys in a map.

use std::collections::btree_map::Entry;

use async_trait::async_trait;
use mfa_domain::ports::{ApiKey, ApiKeyId, ApiKeyList, ApiKeyStore, StoreError};
use mfa_domain::{TenantId, Timestamp};

use crate::MemoryStore;

#[async_trait]
impl ApiKeyStore for MemoryStore {
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let of_tenant = tables.api_keys.values().find(|other| other.tenant == key.tenant);
        let user_case = of_tenant.map_or(key.user_case, |other| other.user_case);
        match tables.api_keys.entry(key.id.clone()) {
            Entry::Occupied(_) => Err(StoreError::new("an API key with this id already exists")),
            Entry::Vacant(place) => {
                place.insert(ApiKey { user_case, ..key.clone() });
                Ok(())
            }
        }
    }

    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.tables().api_keys.get(id).cloned())
    }

    async fn list(&self, tenant: Option<&TenantId>) -> Result<ApiKeyList, StoreError> {
        let tables = self.tables();
        let keys = tables.api_keys.values().filter(|key| tenant.is_none_or(|tenant| key.tenant == *tenant));
        let mut keys: Vec<_> = keys.cloned().collect();
        keys.sort_by_key(|key| key.created_at);
        Ok(ApiKeyList { keys, unreadable: Vec::new() })
    }

    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let Some(key) = tables.api_keys.get_mut(id) else { return Ok(false) };
        key.revoked_at.get_or_insert(at);
        Ok(true)
    }

    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        if let Some(key) = self.tables().api_keys.get_mut(id) {
            key.last_used_at = key.last_used_at.max(Some(at));
        }
        Ok(())
    }
}
