//! Columns of API keys.

use mfa_domain::TenantId;
use mfa_domain::ports::{ApiKey, ApiKeyHash, ApiKeyId, ApiKeyName};

use crate::{ColumnError, Row};

/// An API key.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the column of that name")]
pub struct ApiKeyColumns<'a> {
    pub id: &'a str,
    pub name: Option<&'a str>,
    pub tenant: &'a str,
    pub user_case: &'a str,
    pub scopes: Vec<&'a str>,
    pub hash: &'a [u8],
    pub created_at: i64,
    pub revoked_at: Option<i64>,
    pub last_used_at: Option<i64>,
}

impl ApiKeyColumns<'_> {
    /// The row of every API key.
    pub const ROW: Row = Row::of("api_keys");

    /// Reads the API key.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn read(&self) -> Result<ApiKey, ColumnError> {
        let row = Self::ROW;
        let scopes = self.scopes.iter().map(|scope| scope.parse());
        Ok(ApiKey {
            id: row.read("id", ApiKeyId::new(self.id))?,
            name: row.read("name", self.name.map(ApiKeyName::new).transpose())?,
            tenant: row.read("tenant", TenantId::new(self.tenant))?,
            user_case: row.read("user_case", self.user_case.parse())?,
            scopes: row.read("scopes", scopes.collect())?,
            hash: ApiKeyHash(row.read("hash", self.hash.try_into())?),
            created_at: row.time("created_at", self.created_at)?,
            revoked_at: row.optional_time("revoked_at", self.revoked_at)?,
            last_used_at: row.optional_time("last_used_at", self.last_used_at)?,
        })
    }
}
