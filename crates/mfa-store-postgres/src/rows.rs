//! Rows of accounts.

use mfa_domain::account::BackupCodes;
use mfa_domain::{Account, Versioned};
use mfa_rows::{AccountColumns, Row, backup_codes};

use crate::PostgresError;

/// A row of an account, with its backup codes.
#[derive(sqlx_macros::FromRow)]
pub(crate) struct AccountRow {
    /// The number of the account in the request.
    pub(crate) number: i64,
    account_id: i64,
    version: i64,
    failures: i64,
    forgiven: i64,
    recent_failures: Option<Vec<i64>>,
    verified_low: Option<i64>,
    verified_medium: Option<i64>,
    verified_high: Option<i64>,
    audit_sequence: i64,
    audit_hash: Vec<u8>,
    audit_base_sequence: Option<i64>,
    audit_base_hash: Option<Vec<u8>>,
    factors: String,
    answers: Option<Vec<u8>>,
    data: Option<String>,
    scheme: Option<String>,
    issued_at: Option<i64>,
    count: Option<i16>,
    hashes: Option<Vec<u8>>,
    spent_at: Option<Vec<Option<i64>>>,
}

impl AccountRow {
    pub(crate) fn read(mut self) -> Result<Versioned<Account>, PostgresError> {
        let row = Row { table: "accounts", account: self.account_id };
        let backup_codes = self.backup_codes(Row { table: "backup_code_sets", ..row })?;
        let columns = AccountColumns {
            version: self.version,
            failures: self.failures,
            forgiven: self.forgiven,
            recent_failures: self.recent_failures.unwrap_or_default(),
            verified_low: self.verified_low,
            verified_medium: self.verified_medium,
            verified_high: self.verified_high,
            audit_sequence: self.audit_sequence,
            audit_hash: self.audit_hash,
            audit_base_sequence: self.audit_base_sequence.unwrap_or_default(),
            audit_base_hash: self.audit_base_hash,
            factors: self.factors,
            answers: self.answers.unwrap_or_default(),
            data: self.data,
        };
        Ok(columns.read(row, backup_codes)?)
    }

    fn backup_codes(&mut self, row: Row) -> Result<Option<BackupCodes>, PostgresError> {
        let Some(scheme) = self.scheme.take() else { return Ok(None) };
        let count = row.number("count", row.required("count", self.count)?.into())?;
        let hashes = split(row, count, &row.required("hashes", self.hashes.take())?)?;
        let spent = self.spent_at.take().unwrap_or_else(|| vec![None; count]);
        if hashes.len() != spent.len() {
            return Err(row.undecodable("spent_at").into());
        }
        let issued_at = row.required("issued_at", self.issued_at)?;
        Ok(Some(backup_codes(row, scheme, issued_at, hashes.into_iter().zip(spent))?))
    }
}

/// Splits the hashes of a set of `count` codes, which all have one length.
fn split(row: Row, count: usize, hashes: &[u8]) -> Result<Vec<Vec<u8>>, PostgresError> {
    let Some(length) = hashes.len().checked_div(count) else { return Ok(Vec::new()) };
    if hashes.is_empty() || length * count != hashes.len() {
        return Err(row.undecodable("hashes").into());
    }
    Ok(hashes.chunks_exact(length).map(<[u8]>::to_vec).collect())
}
