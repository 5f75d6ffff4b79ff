//! `ApiKeyStore` for PostgreSQL.

use async_trait::async_trait;
use mfa_domain::ports::{ApiKey, ApiKeyId, ApiKeyList, ApiKeyStore, StoreError, UnreadableApiKey};
use mfa_domain::{TenantId, Timestamp};
use mfa_rows::{ApiKeyColumns, millis};
use sqlx::PgConnection;

use crate::connections::Connections;
use crate::transaction::by_itself;
use crate::{PostgresError, PostgresStore};

/// It fails on a server that cannot write: a standby may not know yet that a key was revoked.
pub(crate) const FIND_API_KEYS: &str = concat!(
    "
    SELECT id, name, tenant_id, user_case, scopes, hash, created_at, revoked_at, last_used_at FROM mfa.api_keys
    WHERE id = ANY ($1) AND ",
    by_itself!()
);

/// Reads the whole table: there are only a few keys.
pub(crate) const LIST_API_KEYS: &str = concat!(
    "
    SELECT id, name, tenant_id, user_case, scopes, hash, created_at, revoked_at, last_used_at FROM mfa.api_keys
    WHERE ($1::text IS NULL OR tenant_id = $1)
      AND ",
    by_itself!(),
    "
    ORDER BY created_at, id"
);

/// Keys are added one at a time, so that each sees the `user_case` of its tenant's first key. Readers do not
/// wait.
pub(crate) const LOCK_API_KEYS: &str = "LOCK TABLE mfa.api_keys IN SHARE ROW EXCLUSIVE MODE";

/// All keys of a tenant get the `user_case` of its first one. The table is scanned: it has only a few rows.
pub(crate) const ADD_API_KEY: &str = "
    INSERT INTO mfa.api_keys (id, name, tenant_id, user_case, scopes, hash, created_at, revoked_at, last_used_at)
    VALUES (
        $1, $2, $3, coalesce((SELECT user_case FROM mfa.api_keys WHERE tenant_id = $3 LIMIT 1), $4), $5, $6, $7,
        $8, $9
    )
    ON CONFLICT (id) DO NOTHING";

pub(crate) const REVOKE_API_KEY: &str =
    "UPDATE mfa.api_keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1";

pub(crate) const USE_API_KEY: &str =
    "UPDATE mfa.api_keys SET last_used_at = greatest(last_used_at, $2) WHERE id = $1";

/// A row of `mfa.api_keys`, not parsed yet.
#[derive(Clone, sqlx_macros::FromRow)]
pub(crate) struct ApiKeyRow {
    id: String,
    name: Option<String>,
    tenant_id: String,
    user_case: String,
    scopes: Vec<String>,
    hash: Vec<u8>,
    created_at: i64,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
}

#[async_trait]
impl ApiKeyStore for PostgresStore {
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError> {
        let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let add = sqlx::query(ADD_API_KEY)
            .bind(key.id.as_str().to_owned())
            .bind(key.name.as_ref().map(|name| name.as_str().to_owned()))
            .bind(key.tenant.as_str().to_owned())
            .bind(key.user_case.as_str())
            .bind(scopes)
            .bind(key.hash.0.to_vec())
            .bind(millis(key.created_at))
            .bind(key.revoked_at.map(millis))
            .bind(key.last_used_at.map(millis));
        let add = self.connections.transact(|on| {
            Box::pin(async move {
                execute(on, sqlx::query(LOCK_API_KEYS)).await?;
                execute(on, add).await
            })
        });
        if add.await? == 1 { Ok(()) } else { Err(PostgresError::DuplicateApiKey.into()) }
    }

    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        let row = self.in_time(self.api_keys.ask(id.clone())).await?;
        Ok(row.as_ref().map(ApiKeyRow::read).transpose()?)
    }

    async fn list(&self, tenant: Option<&TenantId>) -> Result<ApiKeyList, StoreError> {
        let list = || sqlx::query_as(LIST_API_KEYS).bind(tenant.map(TenantId::as_str));
        let rows: Vec<ApiKeyRow> = self.connections.once(list).await?;
        let mut list = ApiKeyList::default();
        for row in rows {
            match row.read() {
                Ok(key) => list.keys.push(key),
                Err(error) => {
                    list.unreadable.push(UnreadableApiKey { id: row.id.into(), what: error.to_string() });
                }
            }
        }
        Ok(list)
    }

    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError> {
        let revoke = sqlx::query(REVOKE_API_KEY).bind(id.as_str().to_owned()).bind(millis(at));
        Ok(self.connections.transact(|on| Box::pin(execute(on, revoke))).await? == 1)
    }

    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        let used = sqlx::query(USE_API_KEY).bind(id.as_str().to_owned()).bind(millis(at));
        self.connections.transact(|on| Box::pin(execute(on, used))).await?;
        Ok(())
    }
}

/// Executes a statement, and returns the number of changed rows.
async fn execute(
    on: &mut PgConnection,
    statement: sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>,
) -> Result<u64, PostgresError> {
    Ok(statement.execute(on).await.map_err(PostgresError::from_driver)?.rows_affected())
}

/// Reads API keys together: most callers ask for the same one.
pub(crate) async fn find(
    connections: &Connections,
    ids: &[ApiKeyId],
) -> Result<Vec<Option<ApiKeyRow>>, PostgresError> {
    let mut asked: Vec<&str> = ids.iter().map(ApiKeyId::as_str).collect();
    asked.sort_unstable();
    asked.dedup();
    let rows: Vec<ApiKeyRow> = connections.once(|| sqlx::query_as(FIND_API_KEYS).bind(&asked)).await?;
    let row = |id: &ApiKeyId| rows.iter().find(|row| row.id == id.as_str()).cloned();
    Ok(ids.iter().map(row).collect())
}

impl ApiKeyRow {
    fn read(&self) -> Result<ApiKey, PostgresError> {
        let columns = ApiKeyColumns {
            id: &self.id,
            name: self.name.as_deref(),
            tenant: &self.tenant_id,
            user_case: &self.user_case,
            scopes: self.scopes.iter().map(String::as_str).collect(),
            hash: &self.hash,
            created_at: self.created_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
        };
        Ok(columns.read()?)
    }
}
