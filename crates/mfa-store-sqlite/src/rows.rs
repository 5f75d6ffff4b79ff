//! Accounts and factors as JSON documents, the form in which many of them travel in one statement.

use data_encoding::HEXUPPER;
use mfa_domain::account::{Attempts, BackupCodes, CodeHash, HashedCode, KeptAnswers, Verifications};
use mfa_domain::audit::EventHash;
use mfa_domain::{Account, AuditHead, Data, Factor, KeyId, Sealed, StoredFactor, Version, Versioned};
use serde::{Deserialize, Serialize};

use crate::SqliteError;
use crate::column::{Row, integer};

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
        let recent: Vec<i64> = row.read("recent_failures", serde_json::from_str(&self.recent_failures))?;
        let attempts = Attempts {
            failures: row.number("failures", self.failures)?,
            forgiven: row.number("forgiven", self.forgiven)?,
            recent: recent.iter().map(|at| row.time("recent_failures", *at)).collect::<Result<_, _>>()?,
            verified: Verifications {
                low: row.optional_time("verified_low", self.verified_low)?,
                medium: row.optional_time("verified_medium", self.verified_medium)?,
                high: row.optional_time("verified_high", self.verified_high)?,
            },
        };
        let audit_head = AuditHead {
            sequence: row.number("audit_sequence", self.audit_sequence)?,
            hash: EventHash(row.read("audit_hash", bytes(row, "audit_hash", &self.audit_hash)?.try_into())?),
        };
        let audit_base =
            AuditHead {
                sequence: row.number("audit_base_sequence", self.audit_base_sequence)?,
                hash: EventHash(row.read(
                    "audit_base_hash",
                    bytes(row, "audit_base_hash", &self.audit_base_hash)?.try_into(),
                )?),
            };
        let of = |table| Row { table, ..row };
        let value = Account {
            factors: self.factors.into_iter().map(|row| row.read(of("factors"))).collect::<Result<_, _>>()?,
            backup_codes: self.backup_codes.map(|set| set.read(of("backup_codes"))).transpose()?,
            attempts,
            audit_head,
            audit_base,
            answers: row.read("answers", KeptAnswers::from_bytes(&bytes(row, "answers", &self.answers)?))?,
            data: self.data.map(Data::new).unwrap_or_default(),
        };
        Ok(Versioned { value, version: Version(row.number("version", self.version)?) })
    }
}

impl FactorRow {
    pub(crate) fn of(factor: &Factor) -> Result<Self, SqliteError> {
        let factor = StoredFactor::of(factor);
        let time = |column, time: Option<u64>| time.map(|time| integer(column, time)).transpose();
        let (key_id, secret) = factor.sealed.map(|Sealed { key, bytes }| (key, bytes)).unzip();
        Ok(Self {
            id: factor.id,
            kind: factor.kind,
            label: factor.label,
            state: factor.state,
            expires_at: time("expires_at", factor.expires_at)?,
            replaces: factor.replaces,
            created_at: integer("created_at", factor.created_at)?,
            last_used_at: time("last_used_at", factor.last_used_at)?,
            key_id: key_id.map(|key: KeyId| key.to_string()),
            secret: secret.map(|bytes: Vec<u8>| HEXUPPER.encode(&bytes)),
            data: factor.data.as_str().to_owned(),
        })
    }

    fn read(self, row: Row) -> Result<Factor, SqliteError> {
        let time = |column, time: Option<i64>| time.map(|time| row.number(column, time)).transpose();
        let sealed = match (self.key_id, self.secret) {
            (Some(key), Some(secret)) => {
                Some(Sealed { key: KeyId::new(key), bytes: bytes(row, "secret", &secret)? })
            }
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

impl CodeSetRow {
    fn read(self, row: Row) -> Result<BackupCodes, SqliteError> {
        let code = |code: CodeRow| {
            let hash = CodeHash(bytes(row, "hash", &code.hash)?);
            Ok(HashedCode { hash, spent_at: row.optional_time("spent_at", code.spent_at)? })
        };
        Ok(BackupCodes {
            scheme: self.scheme,
            codes: self.codes.into_iter().map(code).collect::<Result<_, SqliteError>>()?,
            issued_at: row.time("issued_at", self.issued_at)?,
        })
    }
}

/// The bytes of a column that SQLite's `hex` printed.
fn bytes(row: Row, column: &'static str, hex: &str) -> Result<Vec<u8>, SqliteError> {
    row.read(column, HEXUPPER.decode(hex.as_bytes()))
}
