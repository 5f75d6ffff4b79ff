//! Factors.

use mfa_domain::{Data, Factor, KeyId, Sealed, StoredFactor};

use crate::{ColumnError, Row, integer};

/// A factor.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the column of that name, and the field of `StoredFactor`")]
pub struct FactorColumns {
    pub id: String,
    pub kind: String,
    pub label: String,
    pub state: String,
    pub expires_at: Option<i64>,
    pub replaces: Option<String>,
    pub created_at: i64,
    pub last_used_at: Option<i64>,
    pub key_id: Option<String>,
    pub secret: Option<Vec<u8>>,
    pub data: String,
}

impl FactorColumns {
    /// The columns of a factor.
    ///
    /// # Errors
    /// [`ColumnError::TooLarge`].
    pub fn of(factor: &Factor) -> Result<Self, ColumnError> {
        let factor = StoredFactor::of(factor);
        let time = |column, time: Option<u64>| time.map(|time| integer(column, time)).transpose();
        let (key_id, secret) = factor.sealed.map(|Sealed { key, bytes }| (key.to_string(), bytes)).unzip();
        Ok(Self {
            id: factor.id,
            kind: factor.kind,
            label: factor.label,
            state: factor.state,
            expires_at: time("expires_at", factor.expires_at)?,
            replaces: factor.replaces,
            created_at: integer("created_at", factor.created_at)?,
            last_used_at: time("last_used_at", factor.last_used_at)?,
            key_id,
            secret,
            data: factor.data.as_str().to_owned(),
        })
    }

    /// The factor of `row`.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn read(self, row: Row) -> Result<Factor, ColumnError> {
        let time = |column, time: Option<i64>| time.map(|time| row.number(column, time)).transpose();
        let sealed = match (self.key_id, self.secret) {
            (Some(key), Some(bytes)) => Some(Sealed { key: KeyId::new(key), bytes }),
            (None, None) => None,
            _ => return Err(row.undecodable("secret")),
        };
        let factor = StoredFactor {
            id: self.id,
            kind: self.kind,
            label: self.label,
            state: self.state,
            expires_at: time("expires_at", self.expires_at)?,
            replaces: self.replaces,
            created_at: row.number("created_at", self.created_at)?,
            last_used_at: time("last_used_at", self.last_used_at)?,
            sealed,
            data: Data::new(self.data),
        };
        factor.read().map_err(|error| row.undecodable(error.field))
    }
}
