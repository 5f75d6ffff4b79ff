//! The contract of an account store; reading accounts.

use std::sync::Arc;

use async_trait::async_trait;
use mfa_domain::audit::EventHash;
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountQuery, AccountStore, Commit, EventPage, EventQuery, StoreError,
};
use mfa_domain::{Account, AccountKey, AuditHead, Delta, KeyId, TenantId, UserId, Version, Versioned};
use sqlx::{Connection, Executor, PgConnection};

use crate::change::Change;
use crate::column::{Row, integer, millis};
use crate::rows::{self, AccountRow};
use crate::{PostgresError, PostgresStore, events};

/// Whole accounts, one row for each factor: one statement sees one state, and takes one round trip
/// however many are asked for. Backup codes come out of their index in order; `ORDER BY` within the
/// aggregates would sort them twice for each account.
pub(crate) const LOAD: &str = "
    SELECT asked.number, a.id AS account_id, a.version, a.failures, a.forgiven, a.recent_failures,
        a.verified_at, a.audit_sequence, a.audit_hash, a.audit_base_sequence, a.audit_base_hash,
        f.added_in, f.added_as, f.id::text AS factor_id, f.kind, f.label, f.state, f.expires_at,
        f.replaces::text AS replaces, f.created_at, f.last_used_at, f.algorithm, f.digits, f.period, f.t0,
        f.last_step, f.drift, f.leaning, f.counter, f.key_id, f.secret,
        s.scheme, s.issued_at, c.hashes, c.spent
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (tenant_id, user_id, number)
    JOIN mfa.accounts a ON a.tenant_id = asked.tenant_id AND a.user_id = asked.user_id
    LEFT JOIN mfa.factors f ON f.account_id = a.id
    LEFT JOIN mfa.backup_code_sets s ON s.account_id = a.id
    LEFT JOIN LATERAL (
        SELECT array_agg(o.hash) AS hashes, array_agg(o.spent_at) AS spent
        FROM (
            SELECT c.hash, c.spent_at FROM mfa.backup_codes c WHERE c.account_id = s.account_id ORDER BY c.place
        ) o
    ) c ON true";

/// No tenant is empty, so nothing comes before `('', '')`.
pub(crate) const PAGE: &str = "
    SELECT a.id, a.tenant_id, a.user_id, a.audit_sequence, a.audit_hash, a.audit_base_sequence,
        a.audit_base_hash
    FROM mfa.accounts a
    WHERE (a.tenant_id, a.user_id) > ($1, $2)
      AND ($3::text IS NULL
        OR EXISTS (SELECT FROM mfa.factors f WHERE f.account_id = a.id AND f.key_id <> $3))
      AND ($5::int8 IS NULL
        OR EXISTS (SELECT FROM mfa.events e
            WHERE e.account_id = a.id AND e.sequence = a.audit_base_sequence + 2 AND e.at < $5))
    ORDER BY a.tenant_id, a.user_id LIMIT $4";

/// Moves the beginning of a trail, and removes what is before it. What goes is older than the statement,
/// so that all parts see it.
pub(crate) const TRIM: &str = "
    WITH moved AS (
        UPDATE mfa.accounts SET audit_base_sequence = $1, audit_base_hash = $2
        WHERE tenant_id = $3 AND user_id = $4 AND audit_base_sequence = $5 AND audit_base_hash = $6
          AND audit_sequence > $1
        RETURNING id
    ),
    removed AS (
        DELETE FROM mfa.events e USING moved m WHERE e.account_id = m.id AND e.sequence <= $1
    )
    SELECT id FROM moved";

/// Jumps through the index from each key to the next, however many factors have it.
pub(crate) const KEYS_IN_USE: &str = "
    WITH RECURSIVE key (id) AS (
        SELECT min(key_id) FROM mfa.factors
        UNION ALL
        SELECT (SELECT min(f.key_id) FROM mfa.factors f WHERE f.key_id > key.id) FROM key
        WHERE key.id IS NOT NULL
    )
    SELECT id FROM key WHERE id IS NOT NULL";

#[async_trait]
impl AccountStore for PostgresStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        let rows = self.in_time(self.loads.ask(key.clone())).await?;
        Ok(rows::read(rows)?)
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let change = Arc::new(Change::of(key, expected, delta)?);
        let won = self.in_time(self.commits.ask(change)).await??;
        Ok(if won { Commit::Won } else { Commit::Conflict })
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let mut connection = self.connections.acquire().await?;
        let rows = if query.not_sealed_with.is_none() && query.second_event_before.is_none() {
            self.in_time(page(&mut connection, query)).await
        } else {
            walk(&mut connection, query).await
        };
        let rows = self.connections.release(connection, rows)?;
        let more = rows.len() > query.limit as usize;
        let accounts =
            rows.into_iter().take(query.limit as usize).map(EntryRow::read).collect::<Result<_, _>>()?;
        Ok(AccountPage { accounts, more })
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let mut connection = self.connections.acquire().await?;
        let patience = self.options.call_timeout / 2;
        let page = self.in_time(events::page(&mut connection, query, patience)).await;
        Ok(self.connections.release(connection, page)?)
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        let mut connection = self.connections.acquire().await?;
        let moved = self.in_time(trim(&mut connection, key, from, to)).await;
        let moved = self.connections.release(connection, moved)?;
        Ok(if moved { Commit::Won } else { Commit::Conflict })
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let mut connection = self.connections.acquire().await?;
        let keys = async {
            let keys = sqlx::query_scalar(KEYS_IN_USE).fetch_all(&mut *connection).await;
            keys.map_err(PostgresError::from_driver)
        };
        let keys = self.in_time(keys).await;
        let keys: Vec<String> = self.connections.release(connection, keys)?;
        Ok(keys.into_iter().map(KeyId::new).collect())
    }
}

async fn page(on: &mut PgConnection, query: &AccountQuery) -> Result<Vec<EntryRow>, PostgresError> {
    let after = query.after.as_ref();
    sqlx::query_as(PAGE)
        .bind(after.map_or("", |key| key.tenant.as_str()))
        .bind(after.map_or("", |key| key.user.as_str()))
        .bind(query.not_sealed_with.as_ref().map(KeyId::as_str))
        .bind(i64::from(query.limit) + 1)
        .bind(query.second_event_before.map(millis))
        .fetch_all(on)
        .await
        .map_err(PostgresError::from_driver)
}

/// A page for re-encryption or retention. When most of it is done, few accounts of very many are left
/// to be found, and whoever asks has time.
async fn walk(on: &mut PgConnection, query: &AccountQuery) -> Result<Vec<EntryRow>, PostgresError> {
    let mut transaction = on.begin().await.map_err(PostgresError::from_driver)?;
    transaction.execute("SET LOCAL statement_timeout = '5min'").await.map_err(PostgresError::from_driver)?;
    let rows = page(&mut transaction, query).await?;
    transaction.commit().await.map_err(PostgresError::from_driver)?;
    Ok(rows)
}

async fn trim(
    on: &mut PgConnection,
    key: &AccountKey,
    from: AuditHead,
    to: AuditHead,
) -> Result<bool, PostgresError> {
    let moved = sqlx::query(TRIM)
        .bind(integer("audit_base_sequence", to.sequence)?)
        .bind(to.hash.0.as_slice())
        .bind(key.tenant.as_str())
        .bind(key.user.as_str())
        .bind(integer("audit_base_sequence", from.sequence)?)
        .bind(from.hash.0.as_slice())
        // All rows, and so the end of the transaction.
        .fetch_all(on)
        .await
        .map_err(PostgresError::from_driver)?;
    Ok(!moved.is_empty())
}

/// What a page tells of an account.
#[derive(sqlx::FromRow)]
struct EntryRow {
    id: i64,
    tenant_id: String,
    user_id: String,
    audit_sequence: i64,
    audit_hash: Vec<u8>,
    audit_base_sequence: i64,
    audit_base_hash: Vec<u8>,
}

impl EntryRow {
    fn read(self) -> Result<AccountEntry, PostgresError> {
        let row = Row { table: "accounts", account: self.id };
        let tenant = row.read("tenant_id", TenantId::new(&self.tenant_id))?;
        Ok(AccountEntry {
            key: AccountKey::new(tenant, row.read("user_id", UserId::new(&self.user_id))?),
            audit_head: AuditHead {
                sequence: row.number("audit_sequence", self.audit_sequence)?,
                hash: EventHash(row.read("audit_hash", self.audit_hash.try_into())?),
            },
            audit_base: AuditHead {
                sequence: row.number("audit_base_sequence", self.audit_base_sequence)?,
                hash: EventHash(row.read("audit_base_hash", self.audit_base_hash.try_into())?),
            },
        })
    }
}

/// Reads accounts together: the rows of each, in the order of the keys.
pub(crate) async fn load(
    on: &mut PgConnection,
    keys: &[AccountKey],
) -> Result<Vec<Vec<AccountRow>>, PostgresError> {
    let tenants: Vec<_> = keys.iter().map(|key| key.tenant.as_str()).collect();
    let users: Vec<_> = keys.iter().map(|key| key.user.as_str()).collect();
    let rows: Vec<AccountRow> = sqlx::query_as(LOAD)
        .bind(tenants)
        .bind(users)
        .fetch_all(on)
        .await
        .map_err(PostgresError::from_driver)?;
    let mut accounts: Vec<Vec<AccountRow>> = keys.iter().map(|_| Vec::new()).collect();
    for row in rows {
        let place = usize::try_from(row.number - 1).ok();
        if let Some(account) = place.and_then(|place| accounts.get_mut(place)) {
            account.push(row);
        }
    }
    Ok(accounts)
}
