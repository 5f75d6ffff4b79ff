//! Columns of challenges.

use std::time::Duration;

use mfa_domain::{
    Caller, Challenge, ChallengeData, ChallengeKind, Progress, TenantId, Timestamp, UserId, Version,
    Versioned,
};

use crate::{ColumnError, Row, millis};

/// How long an expired challenge is kept, so that callers learn that it is over.
const KEPT: Duration = Duration::from_hours(1);

/// A challenge and its version.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the column of that name")]
pub struct ChallengeColumns {
    pub id: String,
    pub tenant: String,
    pub user: Option<String>,
    pub factor: Option<String>,
    pub kind: String,
    pub purpose: String,
    pub caller: String,
    pub nonce: Option<String>,
    pub created_at: i64,
    pub expires_at: i64,
    pub version: i64,
    pub state: String,
    pub failures: i64,
    pub data: Vec<u8>,
}

impl ChallengeColumns {
    /// Challenges that expired by this time, in milliseconds, may be deleted when `new` is inserted.
    #[must_use]
    pub fn forgotten_by(new: &Challenge) -> i64 {
        millis(new.created_at).saturating_sub(millis(Timestamp::default().plus(KEPT)))
    }

    /// Reads the challenge and its version.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn read(self) -> Result<Versioned<Challenge>, ColumnError> {
        let row = Row::of("challenges");
        let value = Challenge {
            id: row.read("id", self.id.parse())?,
            tenant: row.read("tenant", TenantId::new(&self.tenant))?,
            user: row.read("user", self.user.as_deref().map(UserId::new).transpose())?,
            factor: row.read("factor", self.factor.as_deref().map(str::parse).transpose())?,
            kind: ChallengeKind::from_name(&self.kind),
            purpose: row.read("purpose", self.purpose.parse())?,
            caller: Caller::new(&self.caller),
            nonce: row.read("nonce", self.nonce.as_deref().map(str::parse).transpose())?,
            created_at: row.time("created_at", self.created_at)?,
            expires_at: row.time("expires_at", self.expires_at)?,
            progress: Progress {
                state: row.read("state", self.state.parse())?,
                failures: row.number("failures", self.failures)?,
                data: row.read("data", ChallengeData::new(self.data))?,
            },
        };
        Ok(Versioned { value, version: Version(row.number("version", self.version)?) })
    }
}
