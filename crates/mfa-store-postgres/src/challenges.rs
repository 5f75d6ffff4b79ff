//! `ChallengeStore` for PostgreSQL.

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError};
use mfa_domain::signing::Nonce;
use mfa_domain::{Challenge, ChallengeId, FactorId, Progress, UserId, Version, Versioned};
use mfa_rows::{ChallengeColumns, millis};

use crate::connections::Connections;
use crate::transaction::{TimeLimits, by_itself};
use crate::writes::{GuardedWrite, Numbers, column, numbers};
use crate::{PostgresError, PostgresStore};

/// Inserts challenges. For each, deletes up to ten that expired before `$15`: more than one, so that the table
/// shrinks. Rows that another transaction has locked are skipped, so this does not wait for them.
pub(crate) const PUT_CHALLENGES: &str = concat!(
    "
    WITH forgotten AS (
        DELETE FROM mfa.challenges WHERE id = ANY (ARRAY (
            SELECT id FROM mfa.challenges WHERE expires_at <= $15 ORDER BY expires_at
            LIMIT 10 * cardinality($2::text[])
            FOR UPDATE SKIP LOCKED
        ))
    )
    INSERT INTO mfa.challenges
        (id, tenant_id, user_id, factor_id, kind, purpose, caller, nonce, created_at, expires_at, version, state,
            failures, data)
    SELECT id, tenant_id, user_id, factor_id::uuid, kind, purpose, caller, nonce, created_at, expires_at, 1, state,
        failures, data
    FROM unnest(
        $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int8[],
        $11::int8[], $12::text[], $13::int8[], $14::bytea[]
    ) WITH ORDINALITY AS c (
        id, tenant_id, user_id, factor_id, kind, purpose, caller, nonce, created_at,
        expires_at, state, failures, data, number
    )
    WHERE (SELECT set_config('lock_timeout', $1, true)) <> '' AND ",
    by_itself!(),
    "
    ORDER BY number
    ON CONFLICT (id) DO NOTHING
    RETURNING array_position($2::text[], id)::int8"
);

/// It fails on a server that cannot write: the data of a standby may be stale.
pub(crate) const GET_CHALLENGES: &str = concat!(
    "
    SELECT id, tenant_id, user_id, factor_id::text AS factor_id, kind, purpose, caller, nonce, created_at, expires_at,
        version, state, failures, data
    FROM mfa.challenges
    WHERE id = ANY ($1) AND ",
    by_itself!()
);

/// After waiting for another transaction, PostgreSQL evaluates the condition again with the newest row. It waits
/// for no disk: the table is unlogged.
pub(crate) const SWAP_CHALLENGES: &str = concat!(
    "
    UPDATE mfa.challenges c
    SET version = c.version + 1, state = n.state, failures = n.failures, data = n.data
    FROM unnest($2::text[], $3::int8[], $4::text[], $5::int8[], $6::bytea[]) WITH ORDINALITY
        AS n (id, version, state, failures, data, number)
    WHERE (SELECT set_config('lock_timeout', $1, true)) <> ''
      AND ",
    by_itself!(),
    "
      AND c.id = n.id AND c.version = n.version
    RETURNING n.number"
);

/// A row of `mfa.challenges`, not parsed yet.
#[derive(Clone, sqlx_macros::FromRow)]
pub(crate) struct ChallengeRow {
    id: String,
    tenant_id: String,
    user_id: Option<String>,
    factor_id: Option<String>,
    kind: String,
    purpose: String,
    caller: String,
    nonce: Option<String>,
    created_at: i64,
    expires_at: i64,
    version: i64,
    state: String,
    failures: i64,
    data: Vec<u8>,
}

/// The next progress of a challenge at the expected version.
pub(crate) struct ChallengeSwap {
    id: ChallengeId,
    expected: i64,
    next: Progress,
}

#[async_trait]
impl ChallengeStore for PostgresStore {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        if self.write(&self.new_challenges, challenge.clone()).await? == Commit::Won {
            return Ok(());
        }
        Err(PostgresError::DuplicateChallenge.into())
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        let row = self.in_time(self.challenges.ask(*id)).await?;
        Ok(row.map(ChallengeRow::read).transpose()?)
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        // No challenge has a greater version than an `i64` holds.
        let Ok(expected) = i64::try_from(expected.0) else { return Ok(Commit::Conflict) };
        let swap = ChallengeSwap { id: *id, expected, next: next.clone() };
        Ok(self.write(&self.challenge_swaps, swap).await?)
    }
}

impl GuardedWrite for Challenge {
    type Row = ChallengeId;

    fn row(&self) -> &ChallengeId {
        &self.id
    }

    fn statement<'q>(new: &[&'q Self], limits: TimeLimits) -> Numbers<'q> {
        // The earliest time, so that no challenge is forgotten sooner than if each were put alone.
        let forgotten_by = new.iter().map(|challenge| ChallengeColumns::forgotten_by(challenge)).min();
        numbers(PUT_CHALLENGES, limits)
            .bind(column(new, |c| c.id.to_string()))
            .bind(column(new, |c| c.tenant.as_str()))
            .bind(column(new, |c| c.user.as_ref().map(UserId::as_str)))
            .bind(column(new, |c| c.factor.as_ref().map(FactorId::to_string)))
            .bind(column(new, |c| c.kind.as_str()))
            .bind(column(new, |c| c.purpose.as_str()))
            .bind(column(new, |c| c.caller.as_str()))
            .bind(column(new, |c| c.nonce.as_ref().map(Nonce::as_str)))
            .bind(column(new, |c| millis(c.created_at)))
            .bind(column(new, |c| millis(c.expires_at)))
            .bind(column(new, |c| c.progress.state.as_str()))
            .bind(column(new, |c| i64::from(c.progress.failures)))
            .bind(column(new, |c| c.progress.data.as_bytes()))
            .bind(forgotten_by)
    }
}

impl GuardedWrite for ChallengeSwap {
    type Row = ChallengeId;

    fn row(&self) -> &ChallengeId {
        &self.id
    }

    fn statement<'q>(swaps: &[&'q Self], limits: TimeLimits) -> Numbers<'q> {
        numbers(SWAP_CHALLENGES, limits)
            .bind(column(swaps, |swap| swap.id.to_string()))
            .bind(column(swaps, |swap| swap.expected))
            .bind(column(swaps, |swap| swap.next.state.as_str()))
            .bind(column(swaps, |swap| i64::from(swap.next.failures)))
            .bind(column(swaps, |swap| swap.next.data.as_bytes()))
    }
}

/// Reads challenges together, in the order of `ids`. One that does not exist is `None`.
pub(crate) async fn get(
    connections: &Connections,
    ids: &[ChallengeId],
) -> Result<Vec<Option<ChallengeRow>>, PostgresError> {
    let asked: Vec<String> = ids.iter().map(ChallengeId::to_string).collect();
    let rows: Vec<ChallengeRow> = connections.once(|| sqlx::query_as(GET_CHALLENGES).bind(&asked)).await?;
    Ok(asked.iter().map(|id| rows.iter().find(|row| row.id == *id).cloned()).collect())
}

impl ChallengeRow {
    fn read(self) -> Result<Versioned<Challenge>, PostgresError> {
        let columns = ChallengeColumns {
            id: self.id,
            tenant: self.tenant_id,
            user: self.user_id,
            factor: self.factor_id,
            kind: self.kind,
            purpose: self.purpose,
            caller: self.caller,
            nonce: self.nonce,
            created_at: self.created_at,
            expires_at: self.expires_at,
            version: self.version,
            state: self.state,
            failures: self.failures,
            data: self.data,
        };
        Ok(columns.read()?)
    }
}
