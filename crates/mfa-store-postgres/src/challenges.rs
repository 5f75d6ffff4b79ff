//! `ChallengeStore` for PostgreSQL.

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError};
use mfa_domain::signing::Nonce;
use mfa_domain::{Challenge, ChallengeId, FactorId, Progress, UserId, Version, Versioned};
use mfa_rows::{ChallengeColumns, millis};

use crate::store::reading;
use crate::transaction::by_itself;
use crate::{PostgresError, PostgresStore};

/// Inserts a challenge and deletes up to ten that expired before `$14`: more than one, so that the table
/// shrinks. Rows that another transaction has locked are skipped, so this never waits.
pub(crate) const PUT_CHALLENGE: &str = concat!(
    "
    WITH forgotten AS (
        DELETE FROM mfa.challenges WHERE id = ANY (ARRAY (
            SELECT id FROM mfa.challenges WHERE expires_at <= $14 ORDER BY expires_at LIMIT 10
            FOR UPDATE SKIP LOCKED
        ))
    )
    INSERT INTO mfa.challenges
        (id, tenant_id, user_id, factor_id, kind, purpose, caller, nonce, created_at, expires_at, version, state,
            failures, data)
    SELECT $1, $2, $3, $4::text::uuid, $5, $6, $7, $8, $9, $10, 1, $11, $12, $13
    WHERE ",
    by_itself!(),
    "
    ON CONFLICT (id) DO NOTHING
    RETURNING version"
);

/// It fails on a server that cannot write: the data of a standby may be stale.
pub(crate) const GET_CHALLENGE: &str = concat!(
    "
    SELECT id, tenant_id, user_id, factor_id::text AS factor_id, kind, purpose, caller, nonce, created_at, expires_at,
        version, state, failures, data
    FROM mfa.challenges
    WHERE id = $1 AND ",
    by_itself!()
);

/// After waiting for another transaction, PostgreSQL evaluates the condition again with the newest row.
pub(crate) const SWAP_CHALLENGE: &str = concat!(
    "
    UPDATE mfa.challenges SET version = version + 1, state = $3, failures = $4, data = $5
    WHERE id = $1 AND version = $2 AND ",
    by_itself!(),
    "
    RETURNING version"
);

/// The row that a statement returns if its condition held: a version.
type Held = (i64,);

/// A row of `mfa.challenges`, not parsed yet.
#[derive(sqlx_macros::FromRow)]
struct ChallengeRow {
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

#[async_trait]
impl ChallengeStore for PostgresStore {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let Progress { state, failures, data } = &challenge.progress;
        let put = || {
            sqlx::query_as::<_, Held>(PUT_CHALLENGE)
                .bind(challenge.id.to_string())
                .bind(challenge.tenant.as_str())
                .bind(challenge.user.as_ref().map(UserId::as_str))
                .bind(challenge.factor.as_ref().map(FactorId::to_string))
                .bind(challenge.kind.as_str())
                .bind(challenge.purpose.as_str())
                .bind(challenge.caller.as_str())
                .bind(challenge.nonce.as_ref().map(Nonce::as_str))
                .bind(millis(challenge.created_at))
                .bind(millis(challenge.expires_at))
                .bind(state.as_str())
                .bind(i64::from(*failures))
                .bind(data.as_bytes())
                .bind(ChallengeColumns::forgotten_by(challenge))
        };
        if self.connections.once(put).await?.is_empty() {
            return Err(PostgresError::DuplicateChallenge.into());
        }
        Ok(())
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        let get = || sqlx::query_as(GET_CHALLENGE).bind(id.to_string());
        let rows = self.in_time(reading(|| Box::pin(self.connections.once(get)))).await?;
        Ok(rows.into_iter().next().map(ChallengeRow::read).transpose()?)
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        // No challenge has a greater version than an `i64` holds.
        let Ok(expected) = i64::try_from(expected.0) else { return Ok(Commit::Conflict) };
        let swap = || {
            sqlx::query_as::<_, Held>(SWAP_CHALLENGE)
                .bind(id.to_string())
                .bind(expected)
                .bind(next.state.as_str())
                .bind(i64::from(next.failures))
                .bind(next.data.as_bytes())
        };
        let lost = self.connections.once(swap).await?.is_empty();
        Ok(if lost { Commit::Conflict } else { Commit::Won })
    }
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
