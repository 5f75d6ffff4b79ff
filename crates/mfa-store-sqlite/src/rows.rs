//! Accounts and factors as JSON documents, the form in which many of them travel in one statement.

use data_encoding::HEXUPPER;
use mfa_domain::account::BackupCodes;
use mfa_domain::{Account, Factor, Versioned};
use mfa_rows::{AccountColumns, FactorColumns, Row, backup_codes};
use serde::{Deserialize, Serialize};

use crate::SqliteError;

/// An account, as one statement reads it.
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
    audit_base_hash: String,
    answers: String,
    data: Option<String>,
    factors: Vec<FactorRow>,
    backup_codes: Option<CodeSetRow>,
}

/// A factor, as it is read and written.
#[derive(Serialize, Deserialize)]
pub(crate) struct FactorRow {
    id: String,
    kind: String,
    label: String,
    state: String,
    expires_at: Option<i64>,
    replaces: Option<String>,
    created_at: i64,
    last_used_at: Option<i64>,
    key_id: Option<String>,
    secret: Option<String>,
    data: String,
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
        let of = |table| Row { table, ..row };
        let factors = self.factors.into_iter().map(|factor| factor.read(of("factors")));
        let factors = factors.collect::<Result<_, _>>()?;
        let backup_codes = self.backup_codes.map(|set| set.read(of("backup_codes"))).transpose()?;
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
            audit_base_hash: bytes(row, "audit_base_hash", &self.audit_base_hash)?,
            answers: bytes(row, "answers", &self.answers)?,
            data: self.data,
        };
        Ok(columns.read(row, factors, backup_codes)?)
    }
}

impl FactorRow {
    pub(crate) fn of(factor: &Factor) -> Result<Self, SqliteError> {
        let columns = FactorColumns::of(factor)?;
        Ok(Self {
            id: columns.id,
            kind: columns.kind,
            label: columns.label,
            state: columns.state,
            expires_at: columns.expires_at,
            replaces: columns.replaces,
            created_at: columns.created_at,
            last_used_at: columns.last_used_at,
            key_id: columns.key_id,
            secret: columns.secret.map(|bytes| HEXUPPER.encode(&bytes)),
            data: columns.data,
        })
    }

    fn read(self, row: Row) -> Result<Factor, SqliteError> {
        let columns = FactorColumns {
            id: self.id,
            kind: self.kind,
            label: self.label,
            state: self.state,
            expires_at: self.expires_at,
            replaces: self.replaces,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            key_id: self.key_id,
            secret: self.secret.map(|secret| bytes(row, "secret", &secret)).transpose()?,
            data: self.data,
        };
        Ok(columns.read(row)?)
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
