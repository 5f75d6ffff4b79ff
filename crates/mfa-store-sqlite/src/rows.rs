//! Accounts as JSON documents: one statement returns many of them.

use data_encoding::HEXUPPER;
use mfa_domain::account::BackupCodes;
use mfa_domain::{Account, Versioned};
use mfa_rows::{AccountColumns, Row, backup_codes};
use serde::Deserialize;

use crate::SqliteError;

/// An account as a statement returns it.
#[derive(Deserialize)]
pub(crate) struct AccountRow {
    id: i64,
    version: i64,
    failures: i64,
    forgiven: i64,
    recent_failures: String,
    verified_low: Option<i64>,
    verified_medium: Option<i64>,
    verified_high: Option<i64>,
    audit_sequence: i64,
    audit_hash: String,
    audit_base_sequence: i64,
    audit_base_hash: Option<String>,
    factors: String,
    answers: String,
    data: Option<String>,
    backup_codes: Option<CodeSetRow>,
}

#[derive(Deserialize)]
struct CodeSetRow {
    scheme: String,
    issued_at: i64,
    codes: Vec<CodeRow>,
}

#[derive(Deserialize)]
struct CodeRow {
    hash: String,
    spent_at: Option<i64>,
}

impl AccountRow {
    pub(crate) fn read(self) -> Result<Versioned<Account>, SqliteError> {
        let row = Row { table: "accounts", account: self.id };
        let backup_codes = Row { table: "backup_codes", ..row };
        let backup_codes = self.backup_codes.map(|set| set.read(backup_codes)).transpose()?;
        let base = self.audit_base_hash.map(|hash| bytes(row, "audit_base_hash", &hash));
        let recent = serde_json::from_str(&self.recent_failures);
        let columns = AccountColumns {
            version: self.version,
            failures: self.failures,
            forgiven: self.forgiven,
            recent_failures: row.read("recent_failures", recent)?,
            verified_low: self.verified_low,
            verified_medium: self.verified_medium,
            verified_high: self.verified_high,
            audit_sequence: self.audit_sequence,
            audit_hash: bytes(row, "audit_hash", &self.audit_hash)?,
            audit_base_sequence: self.audit_base_sequence,
            audit_base_hash: base.transpose()?,
            factors: self.factors,
            answers: bytes(row, "answers", &self.answers)?,
            data: self.data,
        };
        Ok(columns.read(row, backup_codes)?)
    }
}

impl CodeSetRow {
    fn read(self, row: Row) -> Result<BackupCodes, SqliteError> {
        let code = |code: CodeRow| Ok((bytes(row, "hash", &code.hash)?, code.spent_at));
        let codes = self.codes.into_iter().map(code).collect::<Result<Vec<_>, SqliteError>>()?;
        Ok(backup_codes(row, self.scheme, self.issued_at, codes)?)
    }
}

/// The bytes of a column that SQLite's `hex` printed.
fn bytes(row: Row, column: &'static str, hex: &str) -> Result<Vec<u8>, SqliteError> {
    Ok(row.read(column, HEXUPPER.decode(hex.as_bytes()))?)
}
