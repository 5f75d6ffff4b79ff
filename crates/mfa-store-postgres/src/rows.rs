//! Factors and backup codes as rows.

use mfa_domain::account::{Attempts, BackupCodes, CodeHash, HashedCode, KeptAnswers, Verifications};
use mfa_domain::audit::EventHash;
use mfa_domain::{Account, AuditHead, Data, Factor, KeyId, Sealed, StoredFactor, Version, Versioned};

use crate::PostgresError;
use crate::column::{Row, integer};

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
    let Some(first) = rows.first() else { return Ok(Versioned::default()) };
    let row = Row { table: "accounts", account: first.account_id };
    let recent = first.recent_failures.iter().map(|at| row.time("recent_failures", *at));
    let attempts = Attempts {
        failures: row.number("failures", first.failures)?,
        forgiven: row.number("forgiven", first.forgiven)?,
        recent: recent.collect::<Result<_, _>>()?,
        verified: Verifications {
            low: row.optional_time("verified_low", first.verified_low)?,
            medium: row.optional_time("verified_medium", first.verified_medium)?,
            high: row.optional_time("verified_high", first.verified_high)?,
        },
    };
    let audit_head = AuditHead {
        sequence: row.number("audit_sequence", first.audit_sequence)?,
        hash: EventHash(row.read("audit_hash", first.audit_hash.as_slice().try_into())?),
    };
    let audit_base = AuditHead {
        sequence: row.number("audit_base_sequence", first.audit_base_sequence)?,
        hash: EventHash(row.read("audit_base_hash", first.audit_base_hash.as_slice().try_into())?),
    };
    let of = |table| Row { table, ..row };
    let backup_codes = first.backup_codes(of("backup_code_sets"))?;
    let answers = first.answers.as_deref().unwrap_or_default();
    let answers = row.read("answers", KeptAnswers::from_bytes(answers))?;
    let version = Version(row.number("version", first.version)?);
    let data = first.data.as_deref().map(Data::new).unwrap_or_default();
    let factors = rows.into_iter().map(|row| row.factor).filter(|factor| factor.id.is_some());
    let factors = factors.map(|factor| factor.read(of("factors"))).collect::<Result<_, _>>()?;
    let value = Account { factors, backup_codes, attempts, audit_head, audit_base, answers, data };
    Ok(Versioned { value, version })
}

impl AccountRow {
    fn backup_codes(&self, row: Row) -> Result<Option<BackupCodes>, PostgresError> {
        let Some(scheme) = &self.scheme else { return Ok(None) };
        let hashes = row.required("hashes", self.hashes.as_ref())?;
        let spent = row.required("spent_at", self.spent_at.as_ref())?;
        if hashes.len() != spent.len() {
            return Err(row.undecodable("spent_at"));
        }
        let codes = hashes.iter().zip(spent).map(|(hash, spent_at)| {
            let spent_at = row.optional_time("spent_at", *spent_at)?;
            Ok(HashedCode { hash: CodeHash(hash.clone()), spent_at })
        });
        Ok(Some(BackupCodes {
            scheme: scheme.clone(),
            codes: codes.collect::<Result<_, PostgresError>>()?,
            issued_at: row.time("issued_at", row.required("issued_at", self.issued_at)?)?,
        }))
    }
}

impl FactorRow {
    pub(crate) fn of(factor: &Factor) -> Result<Self, PostgresError> {
        let factor = StoredFactor::of(factor);
        let time = |column, time: Option<u64>| time.map(|time| integer(column, time)).transpose();
        let (key_id, secret) = factor.sealed.map(|Sealed { key, bytes }| (key.to_string(), bytes)).unzip();
        Ok(Self {
            id: Some(factor.id),
            kind: Some(factor.kind),
            label: Some(factor.label),
            state: Some(factor.state),
            expires_at: time("expires_at", factor.expires_at)?,
            replaces: factor.replaces,
            created_at: time("created_at", Some(factor.created_at))?,
            last_used_at: time("last_used_at", factor.last_used_at)?,
            key_id,
            secret,
            data: Some(factor.data.as_str().to_owned()),
        })
    }

    fn read(self, row: Row) -> Result<Factor, PostgresError> {
        let time = |column, time: Option<i64>| time.map(|time| row.number(column, time)).transpose();
        let sealed = match (self.key_id, self.secret) {
            (Some(key), Some(bytes)) => Some(Sealed { key: KeyId::new(key), bytes }),
            (None, None) => None,
            _ => return Err(row.undecodable("secret")),
        };
        let factor = StoredFactor {
            id: row.required("id", self.id)?,
            kind: row.required("kind", self.kind)?,
            label: row.required("label", self.label)?,
            state: row.required("state", self.state)?,
            expires_at: time("expires_at", self.expires_at)?,
            replaces: self.replaces,
            created_at: row.number("created_at", row.required("created_at", self.created_at)?)?,
            last_used_at: time("last_used_at", self.last_used_at)?,
            sealed,
            data: Data::new(row.required("data", self.data)?),
        };
        factor.read().map_err(|error| row.undecodable(error.field))
    }
}
