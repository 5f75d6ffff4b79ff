//! `Outbox` for PostgreSQL.

use async_trait::async_trait;
use mfa_domain::ports::{Claimed, Commit, Outbox, StoreError};
use mfa_domain::{Message, MessageId, Sending, TenantId, Timestamp, Version, Versioned};
use mfa_rows::{MessageColumns, SendingColumns, millis};

use crate::transaction::{TimeLimits, by_itself};
use crate::writes::{GuardedWrite, Numbers, column, numbers};
use crate::{PostgresError, PostgresStore};

/// It fails on a server that cannot write: the data of a standby may be stale.
pub(crate) const FIND_MESSAGE: &str = concat!(
    "
    SELECT tenant_id, id, user_id, version, expires_at, state, due_at, tries, last_failure, key, content
    FROM mfa.messages
    WHERE tenant_id = $1 AND id = $2 AND ",
    by_itself!()
);

/// Claims due messages, the latest due first, and deletes some that expired long ago; no row is both. Rows
/// that another transaction has locked are skipped, so this never waits, and exactly one of any number of
/// callers gets a message. A row that was changed after this statement began is left to the next call.
pub(crate) const CLAIM_MESSAGES: &str = concat!(
    "
    WITH forgotten AS (
        DELETE FROM mfa.messages WHERE ctid = ANY (ARRAY (
            SELECT ctid FROM mfa.messages WHERE state <> 'queued' AND expires_at <= $4
            ORDER BY expires_at LIMIT 100
            FOR UPDATE SKIP LOCKED
        ))
    )
    UPDATE mfa.messages
    SET version = version + 1, due_at = $2, tries = least(tries + 1, 4294967295)
    WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM mfa.messages WHERE state = 'queued' AND due_at <= $1
        ORDER BY due_at DESC LIMIT $3
        FOR UPDATE SKIP LOCKED
    ))
    AND (SELECT set_config('synchronous_commit', 'on', true)) = 'on' AND ",
    by_itself!(),
    "
    RETURNING tenant_id, id, user_id, version, expires_at, state, due_at, tries, last_failure, key, content"
);

/// After waiting for another transaction, PostgreSQL evaluates the condition again with the newest row.
///
/// `ANY` repeats the join, so that also a plan made while the table was empty looks the rows up by their ids.
pub(crate) const SWAP_MESSAGES: &str = concat!(
    "
    UPDATE mfa.messages m
    SET version = m.version + 1, state = n.state, due_at = n.due_at, tries = n.tries,
        last_failure = n.last_failure, key = n.key, content = n.content
    FROM unnest(
        $2::text[], $3::text[], $4::int8[], $5::text[], $6::int8[], $7::int8[], $8::text[], $9::text[], $10::bytea[]
    ) WITH ORDINALITY
        AS n (tenant_id, id, version, state, due_at, tries, last_failure, key, content, number)
    WHERE (SELECT set_config('synchronous_commit', 'on', true) || set_config('lock_timeout', $1, true)) <> ''
      AND ",
    by_itself!(),
    "
      AND m.tenant_id = ANY($2) AND m.id = ANY($3)
      AND m.tenant_id = n.tenant_id AND m.id = n.id AND m.version = n.version
    RETURNING n.number"
);

/// A row of `mfa.messages`, not parsed yet.
#[derive(sqlx_macros::FromRow)]
struct MessageRow {
    tenant_id: String,
    id: String,
    user_id: String,
    version: i64,
    expires_at: i64,
    state: String,
    due_at: i64,
    tries: i64,
    last_failure: Option<String>,
    key: Option<String>,
    content: Option<Vec<u8>>,
}

/// The next sending state of a message at the expected version.
pub(crate) struct MessageSwap {
    /// The tenant and id of the message.
    row: (TenantId, MessageId),
    expected: i64,
    next: SendingColumns,
}

#[async_trait]
impl Outbox for PostgresStore {
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError> {
        let claim = || {
            sqlx::query_as(CLAIM_MESSAGES)
                .bind(millis(now))
                .bind(millis(until))
                .bind(i64::from(limit))
                .bind(MessageColumns::forgotten_at(now))
        };
        let rows: Vec<MessageRow> = self.connections.once(claim).await?;
        Ok(MessageColumns::claimed(rows.into_iter().map(MessageColumns::from)))
    }

    async fn message(
        &self,
        tenant: &TenantId,
        id: MessageId,
    ) -> Result<Option<Versioned<Message>>, StoreError> {
        let find = || sqlx::query_as(FIND_MESSAGE).bind(tenant.as_str()).bind(id.to_string());
        let rows: Vec<MessageRow> = self.connections.once(find).await?;
        Ok(rows.into_iter().next().map(MessageRow::read).transpose()?)
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
        let swap = MessageSwap { row: (tenant.clone(), id), expected, next: SendingColumns::of(next) };
        Ok(self.write(&self.message_swaps, swap).await?)
    }
}

impl GuardedWrite for MessageSwap {
    type Row = (TenantId, MessageId);

    fn row(&self) -> &Self::Row {
        &self.row
    }

    fn statement<'q>(swaps: &[&'q Self], limits: TimeLimits) -> Numbers<'q> {
        numbers(SWAP_MESSAGES, limits)
            .bind(column(swaps, |swap| swap.row.0.as_str()))
            .bind(column(swaps, |swap| swap.row.1.to_string()))
            .bind(column(swaps, |swap| swap.expected))
            .bind(column(swaps, |swap| swap.next.state.as_str()))
            .bind(column(swaps, |swap| swap.next.due_at))
            .bind(column(swaps, |swap| swap.next.tries))
            .bind(column(swaps, |swap| swap.next.last_failure.as_deref()))
            .bind(column(swaps, |swap| swap.next.key.as_deref()))
            .bind(column(swaps, |swap| swap.next.content.as_deref()))
    }
}

impl MessageRow {
    fn read(self) -> Result<Versioned<Message>, PostgresError> {
        Ok(MessageColumns::from(self).read()?)
    }
}

impl From<MessageRow> for MessageColumns {
    fn from(row: MessageRow) -> Self {
        Self {
            tenant: row.tenant_id,
            id: row.id,
            user: row.user_id,
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
