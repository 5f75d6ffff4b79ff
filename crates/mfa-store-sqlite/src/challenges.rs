//! `ChallengeStore` for SQLite.

use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError};
use mfa_domain::signing::Nonce;
use mfa_domain::{Challenge, ChallengeId, FactorId, Progress, UserId, Version, Versioned};
use mfa_rows::{ChallengeColumns, millis};
use sqlx::SqliteConnection;

use crate::change::{Change, Outcome, execute};
use crate::{SqliteError, SqliteStore};

pub(crate) const GET_CHALLENGE: &str = "
    SELECT id, tenant, user, factor, kind, purpose, caller, nonce, created_at, expires_at, version, state, failures,
        data
    FROM challenges WHERE id = ?";

pub(crate) const PUT_CHALLENGE: &str = "
    INSERT INTO challenges
        (id, tenant, user, factor, kind, purpose, caller, nonce, created_at, expires_at, version, state, failures, data)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING";

/// Deletes more than one for each new challenge, so that the table shrinks.
pub(crate) const FORGET_CHALLENGES: &str = "
    DELETE FROM challenges WHERE id IN (
        SELECT id FROM challenges WHERE expires_at <= ? ORDER BY expires_at LIMIT 10
    )";

pub(crate) const SWAP_CHALLENGE: &str = "
    UPDATE challenges SET version = version + 1, state = ?, failures = ?, data = ?
    WHERE id = ? AND version = ?";

/// A row of `challenges`, not parsed yet.
#[derive(sqlx_macros::FromRow)]
struct ChallengeRow {
    id: String,
    tenant: String,
    user: Option<String>,
    factor: Option<String>,
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
impl ChallengeStore for SqliteStore {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        let put = PutChallenge(challenge.clone());
        if self.writer.make(put).await?.held() { Ok(()) } else { Err(SqliteError::DuplicateChallenge.into()) }
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        let get = sqlx::query_as::<_, ChallengeRow>(GET_CHALLENGE).bind(id.to_string());
        let row = get.fetch_optional(&self.readers).await.map_err(SqliteError::from_driver)?;
        Ok(row.map(ChallengeRow::read).transpose()?)
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        let swap = SwapChallenge { id: *id, expected, next: next.clone() };
        Ok(if self.writer.make(swap).await?.held() { Commit::Won } else { Commit::Conflict })
    }
}

/// Inserts a challenge if its id is new, and deletes some that expired long ago.
struct PutChallenge(Challenge);

/// Updates a challenge if its version is unchanged.
struct SwapChallenge {
    id: ChallengeId,
    expected: Version,
    next: Progress,
}

#[async_trait]
impl Change for PutChallenge {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let Self(challenge) = self;
        let forget = sqlx::query(FORGET_CHALLENGES).bind(ChallengeColumns::forgotten_by(challenge));
        execute(to, forget).await?;
        let Progress { state, failures, data } = &challenge.progress;
        let put = sqlx::query(PUT_CHALLENGE)
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
            .bind(data.as_bytes());
        Ok(Outcome::of(execute(to, put).await? == 1))
    }
}

#[async_trait]
impl Change for SwapChallenge {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let Self { id, expected, next } = self;
        // No challenge has a greater version than an `i64` holds.
        let Ok(expected) = i64::try_from(expected.0) else { return Ok(Outcome::Refused) };
        let swap = sqlx::query(SWAP_CHALLENGE)
            .bind(next.state.as_str())
            .bind(i64::from(next.failures))
            .bind(next.data.as_bytes())
            .bind(id.to_string())
            .bind(expected);
        Ok(Outcome::of(execute(to, swap).await? == 1))
    }
}

impl ChallengeRow {
    fn read(self) -> Result<Versioned<Challenge>, SqliteError> {
        let columns = ChallengeColumns {
            id: self.id,
            tenant: self.tenant,
            user: self.user,
            factor: self.factor,
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
