//! The contract of an API key store.

use std::collections::BTreeSet;

use async_trait::async_trait;
use mfa_domain::ports::{ApiKey, ApiKeyHash, ApiKeyId, ApiKeyName, ApiKeyStore, Scopes, StoreError};
use mfa_domain::{TenantId, Timestamp};
use sqlx::SqlitePool;

use crate::change::Change;
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

/// An API key, not yet looked at.
#[derive(Clone, sqlx_macros::FromRow)]
pub(crate) struct ApiKeyRow {
    id: String,
    name: Option<String>,
    tenant: String,
    user_case: String,
    scopes: String,
    hash: Vec<u8>,
    created_at: i64,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
}

#[async_trait]
impl ApiKeyStore for SqliteStore {
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError> {
        if self.writer.make(Change::AddApiKey(key.clone())).await?.held() {
            Ok(())
        } else {
            Err(SqliteError::DuplicateApiKey.into())
        }
    }

    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.api_keys.ask(id.clone()).await?.map(ApiKeyRow::read).transpose()?)
    }

    async fn list(&self, tenant: Option<&TenantId>) -> Result<Vec<ApiKey>, StoreError> {
        let rows: Vec<ApiKeyRow> = sqlx::query_as(LIST_API_KEYS)
            .bind(tenant.map(TenantId::as_str))
            .fetch_all(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        Ok(rows.into_iter().map(ApiKeyRow::read).collect::<Result<_, _>>()?)
    }

    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.writer.make(Change::RevokeApiKey { id: id.clone(), at }).await?.held())
    }

    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        self.writer.make(Change::UseApiKey { id: id.clone(), at }).await?;
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
    let row = |id: &ApiKeyId| rows.iter().find(|row| row.id == id.as_str()).cloned();
    Ok(ids.iter().map(row).collect())
}

impl ApiKeyRow {
    fn read(self) -> Result<ApiKey, SqliteError> {
        let row = Row { table: "api_keys", account: 0 };
        let scopes: Result<Scopes, _> = self.scopes.split_whitespace().map(str::parse).collect();
        Ok(ApiKey {
            id: row.read("id", ApiKeyId::new(&self.id))?,
            name: row.read("name", self.name.as_deref().map(ApiKeyName::new).transpose())?,
            tenant: row.read("tenant", TenantId::new(&self.tenant))?,
            user_case: row.read("user_case", self.user_case.parse())?,
            scopes: row.read("scopes", scopes)?,
            hash: ApiKeyHash(row.read("hash", self.hash.try_into())?),
            created_at: row.time("created_at", self.created_at)?,
            revoked_at: row.optional_time("revoked_at", self.revoked_at)?,
            last_used_at: row.optional_time("last_used_at", self.last_used_at)?,
        })
    }
}
