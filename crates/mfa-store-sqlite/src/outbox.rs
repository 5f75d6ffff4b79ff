//! `Outbox` for SQLite.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use mfa_domain::ports::{Claimed, Commit, Outbox, StoreError};
use mfa_domain::{Message, MessageId, Sending, TenantId, Timestamp, Version, Versioned};
use mfa_rows::{MessageColumns, SendingColumns, millis};
use sqlx::SqliteConnection;

use crate::change::{Change, Outcome, execute};
use crate::{SqliteError, SqliteStore};

/// Replaces a message with the same id.
pub(crate) const PUT_MESSAGE: &str = "
    INSERT INTO messages
        (tenant, id, user, version, expires_at, state, due_at, tries, last_failure, key, content)
    VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (tenant, id) DO UPDATE
    SET user = excluded.user, version = version + 1, expires_at = excluded.expires_at, state = excluded.state,
        due_at = excluded.due_at, tries = excluded.tries, last_failure = excluded.last_failure,
        key = excluded.key, content = excluded.content";

pub(crate) const FIND_MESSAGE: &str = "
    SELECT tenant, id, user, version, expires_at, state, due_at, tries, last_failure, key, content
    FROM messages WHERE tenant = ? AND id = ?";

/// Due messages, the latest due first: the index is read backwards, so nothing is sorted.
pub(crate) const DUE_MESSAGES: &str = "
    SELECT tenant, id FROM messages WHERE state = 'queued' AND due_at <= ? ORDER BY due_at DESC LIMIT ?";

pub(crate) const CLAIM_MESSAGE: &str = "
    UPDATE messages SET version = version + 1, due_at = ?3, tries = min(tries + 1, 4294967295)
    WHERE tenant = ?1 AND id = ?2
    RETURNING tenant, id, user, version, expires_at, state, due_at, tries, last_failure, key, content";

pub(crate) const SWAP_MESSAGE: &str = "
    UPDATE messages
    SET version = version + 1, state = ?4, due_at = ?5, tries = ?6, last_failure = ?7, key = ?8, content = ?9
    WHERE tenant = ?1 AND id = ?2 AND version = ?3";

/// Deletes some messages that expired long ago.
pub(crate) const FORGET_MESSAGES: &str = "
    DELETE FROM messages WHERE (tenant, id) IN (
        SELECT tenant, id FROM messages WHERE state <> 'queued' AND expires_at <= ? ORDER BY expires_at LIMIT 100
    )";

/// Whether a claim has work, so that the writer is not called without need.
pub(crate) const ANY_MESSAGE: &str = "
    SELECT EXISTS (SELECT 1 FROM messages WHERE state = 'queued' AND due_at <= ?)
        OR EXISTS (SELECT 1 FROM messages WHERE state <> 'queued' AND expires_at <= ?)";

/// A row of `messages`, not parsed yet.
#[derive(sqlx_macros::FromRow)]
struct MessageRow {
    tenant: String,
    id: String,
    user: String,
    version: i64,
    expires_at: i64,
    state: String,
    due_at: i64,
    tries: i64,
    last_failure: Option<String>,
    key: Option<String>,
    content: Option<Vec<u8>>,
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError> {
        let forgotten_at = MessageColumns::forgotten_at(now);
        let any = sqlx::query_scalar(ANY_MESSAGE).bind(millis(now)).bind(forgotten_at);
        if !any.fetch_one(&self.readers).await.map_err(SqliteError::from_driver)? {
            return Ok(Claimed::default());
        }
        let rows = Arc::default();
        let claim = Claim { now, until, limit, rows: Arc::clone(&rows) };
        self.writer.make(claim).await?;
        let rows = std::mem::take(&mut *rows.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(MessageColumns::claimed(rows.into_iter().map(MessageColumns::from)))
    }

    async fn message(
        &self,
        tenant: &TenantId,
        id: MessageId,
    ) -> Result<Option<Versioned<Message>>, StoreError> {
        let find = sqlx::query_as::<_, MessageRow>(FIND_MESSAGE).bind(tenant.as_str()).bind(id.to_string());
        let row = find.fetch_optional(&self.readers).await.map_err(SqliteError::from_driver)?;
        Ok(row.map(MessageRow::read).transpose()?)
    }

    async fn swap(
        &self,
        tenant: &TenantId,
        id: MessageId,
        expected: Version,
        next: &Sending,
    ) -> Result<Commit, StoreError> {
        // No message has a greater version than an `i64` holds.
        let Ok(expected) = i64::try_from(expected.0) else { return Ok(Commit::Conflict) };
        let swap = SwapMessage { tenant: tenant.clone(), id, expected, next: next.clone() };
        Ok(if self.writer.make(swap).await?.held() { Commit::Won } else { Commit::Conflict })
    }
}

impl MessageRow {
    fn read(self) -> Result<Versioned<Message>, SqliteError> {
        Ok(MessageColumns::from(self).read()?)
    }
}

impl From<MessageRow> for MessageColumns {
    fn from(row: MessageRow) -> Self {
        Self {
            tenant: row.tenant,
            id: row.id,
            user: row.user,
            version: row.version,
            expires_at: row.expires_at,
            sending: SendingColumns {
                state: row.state,
                due_at: row.due_at,
                tries: row.tries,
                last_failure: row.last_failure,
                key: row.key,
                content: row.content,
            },
        }
    }
}

/// Stores a message in the transaction of the change that queues it.
pub(crate) async fn put(to: &mut SqliteConnection, message: &Message) -> Result<(), SqliteError> {
    let MessageColumns { tenant, id, user, expires_at, sending, .. } = MessageColumns::of(message);
    let put = sqlx::query(PUT_MESSAGE)
        .bind(tenant)
        .bind(id)
        .bind(user)
        .bind(expires_at)
        .bind(sending.state)
        .bind(sending.due_at)
        .bind(sending.tries)
        .bind(sending.last_failure)
        .bind(sending.key)
        .bind(sending.content);
    execute(to, put).await.map(drop)
}

/// Claims due messages, and deletes some that expired long ago.
struct Claim {
    now: Timestamp,
    until: Timestamp,
    limit: u32,
    /// The claimed messages, once the transaction is committed.
    rows: Arc<Mutex<Vec<MessageRow>>>,
}

/// Updates a message if its version is unchanged.
struct SwapMessage {
    tenant: TenantId,
    id: MessageId,
    expected: i64,
    next: Sending,
}

#[async_trait]
impl Change for Claim {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let forget = sqlx::query(FORGET_MESSAGES).bind(MessageColumns::forgotten_at(self.now));
        execute(to, forget).await?;
        let due = sqlx::query_as(DUE_MESSAGES).bind(millis(self.now)).bind(i64::from(self.limit));
        let due: Vec<(String, String)> = due.fetch_all(&mut *to).await.map_err(SqliteError::from_driver)?;
        let mut rows = Vec::with_capacity(due.len());
        for (tenant, id) in due {
            let claim = sqlx::query_as(CLAIM_MESSAGE).bind(tenant).bind(id).bind(millis(self.until));
            rows.push(claim.fetch_one(&mut *to).await.map_err(SqliteError::from_driver)?);
        }
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
        Ok(Outcome::Made)
    }
}

#[async_trait]
impl Change for SwapMessage {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let next = SendingColumns::of(&self.next);
        let swap = sqlx::query(SWAP_MESSAGE)
            .bind(self.tenant.as_str())
            .bind(self.id.to_string())
            .bind(self.expected)
            .bind(next.state)
            .bind(next.due_at)
            .bind(next.tries)
            .bind(next.last_failure)
            .bind(next.key)
            .bind(next.content);
        Ok(Outcome::of(execute(to, swap).await? == 1))
    }
}
