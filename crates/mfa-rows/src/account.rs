//! Columns of accounts.

use std::fmt;

use mfa_domain::account::{Attempts, KeptAnswers, Verifications};
use mfa_domain::audit::EventHash;
use mfa_domain::ports::AccountEntry;
use mfa_domain::{Account, AccountKey, AuditHead, BackupCodes, Data, TenantId, UserId, Version, Versioned};

use crate::{ColumnError, Row, factor};

/// An account without its backup codes, which have their own table.
#[expect(
    missing_docs,
    reason = "each is the column of that name, documented at the domain's field of that name"
)]
pub struct AccountColumns {
    pub version: i64,
    pub failures: i64,
    pub forgiven: i64,
    pub recent_failures: Vec<i64>,
    pub verified_low: Option<i64>,
    pub verified_medium: Option<i64>,
    pub verified_high: Option<i64>,
    pub audit_sequence: i64,
    pub audit_hash: Vec<u8>,
    pub audit_base_sequence: i64,
    pub audit_base_hash: Option<Vec<u8>>,
    pub factors: String,
    pub answers: Vec<u8>,
    pub data: Option<String>,
}

/// An entry of a page of accounts.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the column of that name")]
pub struct EntryColumns<'a> {
    pub tenant: &'a str,
    pub user: &'a str,
    pub audit_sequence: i64,
    pub audit_hash: &'a [u8],
    pub audit_base_sequence: i64,
    pub audit_base_hash: Option<&'a [u8]>,
}

impl AccountColumns {
    /// Reads the account of `row` and joins its backup codes.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn read(
        self,
        row: Row,
        backup_codes: Option<BackupCodes>,
    ) -> Result<Versioned<Account>, ColumnError> {
        let recent = self.recent_failures.iter().map(|at| row.time("recent_failures", *at));
        let attempts = Attempts {
            failures: row.number("failures", self.failures)?,
            forgiven: row.number("forgiven", self.forgiven)?,
            recent: recent.collect::<Result<_, _>>()?,
            verified: Verifications {
                low: row.optional_time("verified_low", self.verified_low)?,
                medium: row.optional_time("verified_medium", self.verified_medium)?,
                high: row.optional_time("verified_high", self.verified_high)?,
            },
        };
        let value = Account {
            factors: factor::read(row, &self.factors)?,
            backup_codes,
            attempts,
            audit_head: head(row, self.audit_sequence, &self.audit_hash)?,
            audit_base: base(row, self.audit_base_sequence, self.audit_base_hash.as_deref())?,
            answers: row.read("answers", KeptAnswers::from_bytes(&self.answers))?,
            data: self.data.map(Data::new).unwrap_or_default(),
        };
        Ok(Versioned { value, version: Version(row.number("version", self.version)?) })
    }
}

impl fmt::Debug for AccountColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountColumns").field("version", &self.version).finish_non_exhaustive()
    }
}

impl EntryColumns<'_> {
    /// Reads the entry of `row`.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn read(&self, row: Row) -> Result<AccountEntry, ColumnError> {
        let tenant = row.read("tenant", TenantId::new(self.tenant))?;
        Ok(AccountEntry {
            key: AccountKey::new(tenant, row.read("user", UserId::new(self.user))?),
            audit_head: head(row, self.audit_sequence, self.audit_hash)?,
            audit_base: base(row, self.audit_base_sequence, self.audit_base_hash)?,
        })
    }
}

fn head(row: Row, sequence: i64, hash: &[u8]) -> Result<AuditHead, ColumnError> {
    Ok(AuditHead {
        sequence: row.number("audit_sequence", sequence)?,
        hash: EventHash(row.read("audit_hash", hash.try_into())?),
    })
}

fn base(row: Row, sequence: i64, hash: Option<&[u8]>) -> Result<AuditHead, ColumnError> {
    let sequence = row.number("audit_base_sequence", sequence)?;
    match (sequence, hash) {
        (0, None) => Ok(AuditHead::default()),
        (1.., Some(hash)) => {
            Ok(AuditHead { sequence, hash: EventHash(row.read("audit_base_hash", hash.try_into())?) })
        }
        _ => Err(row.undecodable("audit_base_hash")),
    }
}

/// The hash of a base for its column: `None` if no event was removed.
#[must_use]
pub fn base_hash(base: &AuditHead) -> Option<&[u8]> {
    (*base != AuditHead::default()).then_some(base.hash.0.as_slice())
}
