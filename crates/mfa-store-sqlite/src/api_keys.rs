//! The contract of an API key store.

use std::collections::BTreeSet;

use async_trait::async_trait;
use mfa_domain::ports::{
    ApiKey, ApiKeyHash, ApiKeyId, ApiKeyList, ApiKeyName, ApiKeyStore, StoreError, UnreadableApiKey,
};
use mfa_domain::{TenantId, Timestamp};
use sqlx::SqlitePool;

use crate::change::Write;
use crate::column::Row;
use crate::{SqliteError, SqliteStore};

pub(crate) const FIND_API_KEYS: &str = "
    SELECT id, name, tenant, user_case, scopes, hash, created_at, revoked_at, last_used_at FROM api_keys
    WHERE id IN (SELECT value FROM json_each(?))";

/// There are a handful of keys, so this one reads them all.
pub(crate) const LIST_API_KEYS: &str = "
    SELECT id, name, tenant, user_case, scopes, hash, created_at, revoked_at, last_used_at FROM api_keys
    WHERE ?1 IS NULL OR tenant = ?1
    ORDER BY created_at, rowid";

/// An API key, not yet looked at. Texts are bytes, so that the row can be told of whatever is wrong with it.
#[derive(Clone, sqlx_macros::FromRow)]
pub(crate) struct ApiKeyRow {
    id: Vec<u8>,
    name: Option<Vec<u8>>,
    tenant: Vec<u8>,
    user_case: Vec<u8>,
    scopes: Vec<u8>,
    hash: Vec<u8>,
    created_at: i64,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
}

#[async_trait]
impl ApiKeyStore for SqliteStore {
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError> {
        if self.writer.make(Write::AddApiKey(key.clone())).await?.held() {
            Ok(())
        } else {
            Err(SqliteError::DuplicateApiKey.into())
        }
    }

    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.api_keys.ask(id.clone()).await?.as_ref().map(ApiKeyRow::read).transpose()?)
    }

    async fn list(&self, tenant: Option<&TenantId>) -> Result<ApiKeyList, StoreError> {
        let rows: Vec<ApiKeyRow> = sqlx::query_as(LIST_API_KEYS)
            .bind(tenant.map(TenantId::as_str))
            .fetch_all(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        let mut list = ApiKeyList::default();
        for row in rows {
            match row.read() {
                Ok(key) => list.keys.push(key),
                Err(error) => {
                    list.unreadable.push(UnreadableApiKey { id: row.id, what: error.to_string() });
                }
            }
        }
        Ok(list)
    }

    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.writer.make(Write::RevokeApiKey { id: id.clone(), at }).await?.held())
    }

    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        self.writer.make(Write::UseApiKey { id: id.clone(), at }).await?;
        Ok(())
    }
}

/// Reads API keys together: most callers ask for the same one.
pub(crate) async fn find(
    readers: &SqlitePool,
    ids: Vec<ApiKeyId>,
) -> Result<Vec<Option<ApiKeyRow>>, SqliteError> {
    let asked: BTreeSet<&str> = ids.iter().map(ApiKeyId::as_str).collect();
    let asked = serde_json::to_string(&asked).map_err(SqliteError::other)?;
    let rows: Vec<ApiKeyRow> = sqlx::query_as(FIND_API_KEYS)
        .bind(asked)
        .fetch_all(readers)
        .await
        .map_err(SqliteError::from_driver)?;
    let row = |id: &ApiKeyId| rows.iter().find(|row| row.id == id.as_str().as_bytes()).cloned();
    Ok(ids.iter().map(row).collect())
}

impl ApiKeyRow {
    fn read(&self) -> Result<ApiKey, SqliteError> {
        let row = Row { table: "api_keys", account: 0 };
        let name = self.name.as_deref().map(|name| row.text("name", name)).transpose()?;
        let scopes = row.text("scopes", &self.scopes)?.split_whitespace().map(str::parse);
        Ok(ApiKey {
            id: row.read("id", ApiKeyId::new(row.text("id", &self.id)?))?,
            name: row.read("name", name.map(ApiKeyName::new).transpose())?,
            tenant: row.read("tenant", TenantId::new(row.text("tenant", &self.tenant)?))?,
            user_case: row.read("user_case", row.text("user_case", &self.user_case)?.parse())?,
            scopes: row.read("scopes", scopes.collect())?,
            hash: ApiKeyHash(row.read("hash", self.hash.as_slice().try_into())?),
            created_at: row.time("created_at", self.created_at)?,
            revoked_at: row.optional_time("revoked_at", self.revoked_at)?,
            last_used_at: row.optional_time("last_used_at", self.last_used_at)?,
        })
    }
}
