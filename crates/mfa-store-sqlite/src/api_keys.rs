//! `ApiKeyStore` for SQLite.

use std::collections::BTreeSet;

use async_trait::async_trait;
use mfa_domain::ports::{
    ApiKey, ApiKeyId, ApiKeyList, ApiKeyName, ApiKeyStore, StoreError, UnreadableApiKey,
};
use mfa_domain::{TenantId, Timestamp};
use mfa_rows::{ApiKeyColumns, millis};
use sqlx::{SqliteConnection, SqlitePool};

use crate::change::{Change, Outcome, execute};
use crate::{SqliteError, SqliteStore};

pub(crate) const FIND_API_KEYS: &str = "
    SELECT id, name, tenant, user_case, scopes, hash, created_at, revoked_at, last_used_at FROM api_keys
    WHERE id IN (SELECT value FROM json_each(?))";

/// Reads the whole table: there are only a few keys.
pub(crate) const LIST_API_KEYS: &str = "
    SELECT id, name, tenant, user_case, scopes, hash, created_at, revoked_at, last_used_at FROM api_keys
    WHERE ?1 IS NULL OR tenant = ?1
    ORDER BY created_at, rowid";

/// All keys of a tenant get the `user_case` of its first one.
pub(crate) const ADD_API_KEY: &str = "
    INSERT INTO api_keys (id, name, tenant, user_case, scopes, hash, created_at, revoked_at, last_used_at)
    VALUES (
        ?1, ?2, ?3, coalesce((SELECT user_case FROM api_keys WHERE tenant = ?3 LIMIT 1), ?4), ?5, ?6, ?7, ?8, ?9
    )
    ON CONFLICT (id) DO NOTHING";

pub(crate) const REVOKE_API_KEY: &str =
    "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?";

pub(crate) const USE_API_KEY: &str =
    "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?";

/// A row of `api_keys`, not parsed yet. Texts are read as bytes, so that a damaged row can still be named.
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
        if self.writer.make(Add(key.clone())).await?.held() {
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
        Ok(self.writer.make(Revoke { id: id.clone(), at }).await?.held())
    }

    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        self.writer.make(Use { id: id.clone(), at }).await?;
        Ok(())
    }
}

/// Inserts an API key if its id is new.
struct Add(ApiKey);

/// Revokes an API key if it exists.
struct Revoke {
    id: ApiKeyId,
    at: Timestamp,
}

/// Notes the use of an API key if it exists.
struct Use {
    id: ApiKeyId,
    at: Timestamp,
}

#[async_trait]
impl Change for Add {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let Self(key) = self;
        let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let add = sqlx::query(ADD_API_KEY)
            .bind(key.id.as_str())
            .bind(key.name.as_ref().map(ApiKeyName::as_str))
            .bind(key.tenant.as_str())
            .bind(key.user_case.as_str())
            .bind(scopes.join(" "))
            .bind(key.hash.0.as_slice())
            .bind(millis(key.created_at))
            .bind(key.revoked_at.map(millis))
            .bind(key.last_used_at.map(millis));
        Ok(Outcome::of(execute(to, add).await? == 1))
    }
}

#[async_trait]
impl Change for Revoke {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let revoke = sqlx::query(REVOKE_API_KEY).bind(millis(self.at)).bind(self.id.as_str());
        Ok(Outcome::of(execute(to, revoke).await? == 1))
    }
}

#[async_trait]
impl Change for Use {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let used = sqlx::query(USE_API_KEY).bind(millis(self.at)).bind(self.id.as_str());
        Ok(Outcome::of(execute(to, used).await? == 1))
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
        let row = ApiKeyColumns::ROW;
        let columns = ApiKeyColumns {
            id: row.text("id", &self.id)?,
            name: row.optional_text("name", self.name.as_deref())?,
            tenant: row.text("tenant", &self.tenant)?,
            user_case: row.text("user_case", &self.user_case)?,
            scopes: row.text("scopes", &self.scopes)?.split_whitespace().collect(),
            hash: &self.hash,
            created_at: self.created_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
        };
        Ok(columns.read()?)
    }
}
