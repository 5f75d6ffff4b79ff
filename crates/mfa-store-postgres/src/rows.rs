//! Factors and backup codes as rows.

use mfa_domain::account::BackupCodes;
use mfa_domain::{Account, Factor, Versioned};
use mfa_rows::{AccountColumns, FactorColumns, Row, backup_codes};

use crate::PostgresError;

/// An account with one of its factors, or with none if it has none.
#[derive(sqlx_macros::FromRow)]
pub(crate) struct AccountRow {
    /// Which of those that were asked for.
    pub(crate) number: i64,
    account_id: i64,
    version: i64,
    failures: i64,
    forgiven: i64,
    recent_failures: Vec<i64>,
    verified_low: Option<i64>,
    verified_medium: Option<i64>,
    verified_high: Option<i64>,
    audit_sequence: i64,
    audit_hash: Vec<u8>,
    audit_base_sequence: i64,
    audit_base_hash: Vec<u8>,
    answers: Option<Vec<u8>>,
    data: Option<String>,
    added_in: Option<i64>,
    added_as: Option<i32>,
    #[sqlx(flatten)]
    factor: FactorRow,
    scheme: Option<String>,
    issued_at: Option<i64>,
    hashes: Option<Vec<Vec<u8>>>,
    spent_at: Option<Vec<Option<i64>>>,
}

/// A factor, as it is read and written. When it is read, all is null if there is none.
#[derive(Clone, Default, sqlx_macros::FromRow)]
pub(crate) struct FactorRow {
    #[sqlx(rename = "factor_id")]
    pub(crate) id: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) replaces: Option<String>,
    pub(crate) created_at: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
    pub(crate) key_id: Option<String>,
    pub(crate) secret: Option<Vec<u8>>,
    #[sqlx(rename = "factor_data")]
    pub(crate) data: Option<String>,
}

/// Puts an account together from its rows, one for each factor.
pub(crate) fn read(mut rows: Vec<AccountRow>) -> Result<Versioned<Account>, PostgresError> {
    rows.sort_by_key(|row| (row.added_in, row.added_as));
    let mut factors = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter();
    let Some(mut first) = rows.next() else { return Ok(Versioned::default()) };
    let row = Row { table: "accounts", account: first.account_id };
    let of = |table| Row { table, ..row };
    for factor in std::iter::once(std::mem::take(&mut first.factor)).chain(rows.map(|row| row.factor)) {
        if factor.id.is_some() {
            factors.push(factor.read(of("factors"))?);
        }
    }
    let backup_codes = first.backup_codes(of("backup_code_sets"))?;
    let columns = AccountColumns {
        version: first.version,
        failures: first.failures,
        forgiven: first.forgiven,
        recent_failures: first.recent_failures,
        verified_low: first.verified_low,
        verified_medium: first.verified_medium,
        verified_high: first.verified_high,
        audit_sequence: first.audit_sequence,
        audit_hash: first.audit_hash,
        audit_base_sequence: first.audit_base_sequence,
        audit_base_hash: first.audit_base_hash,
        answers: first.answers.unwrap_or_default(),
        data: first.data,
    };
    Ok(columns.read(row, factors, backup_codes)?)
}

impl AccountRow {
    fn backup_codes(&mut self, row: Row) -> Result<Option<BackupCodes>, PostgresError> {
        let Some(scheme) = self.scheme.take() else { return Ok(None) };
        let hashes = row.required("hashes", self.hashes.take())?;
        let spent = row.required("spent_at", self.spent_at.take())?;
        if hashes.len() != spent.len() {
            return Err(row.undecodable("spent_at").into());
        }
        let issued_at = row.required("issued_at", self.issued_at)?;
        Ok(Some(backup_codes(row, scheme, issued_at, hashes.into_iter().zip(spent))?))
    }
}

impl FactorRow {
    pub(crate) fn of(factor: &Factor) -> Result<Self, PostgresError> {
        let columns = FactorColumns::of(factor)?;
        Ok(Self {
            id: Some(columns.id),
            kind: Some(columns.kind),
            label: Some(columns.label),
            state: Some(columns.state),
            expires_at: columns.expires_at,
            replaces: columns.replaces,
            created_at: Some(columns.created_at),
            last_used_at: columns.last_used_at,
            key_id: columns.key_id,
            secret: columns.secret,
            data: Some(columns.data),
        })
    }

    fn read(self, row: Row) -> Result<Factor, PostgresError> {
        let columns = FactorColumns {
            id: row.required("id", self.id)?,
            kind: row.required("kind", self.kind)?,
            label: row.required("label", self.label)?,
            state: row.required("state", self.state)?,
            expires_at: self.expires_at,
            replaces: self.replaces,
            created_at: row.required("created_at", self.created_at)?,
            last_used_at: self.last_used_at,
            key_id: self.key_id,
            secret: self.secret,
            data: row.required("data", self.data)?,
        };
        Ok(columns.read(row)?)
    }
}
