//! Factors and backup codes as rows.

use mfa_domain::account::{Attempts, BackupCodes, CodeHash, Drift, HashedCode, KeptAnswers};
use mfa_domain::audit::EventHash;
use mfa_domain::otp_core::{Digits, Hotp, Period, Totp};
use mfa_domain::{
    Account, AuditHead, Authenticator, Factor, FactorId, FactorKind, FactorState, HotpDevice, KeyId, Label,
    Sealed, TotpDevice, Version, Versioned,
};

use crate::PostgresError;
use crate::column::{Row, integer, millis};

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
    verified_at: Option<i64>,
    audit_sequence: i64,
    audit_hash: Vec<u8>,
    audit_base_sequence: i64,
    audit_base_hash: Vec<u8>,
    answers: Option<Vec<u8>>,
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
    pub(crate) algorithm: Option<String>,
    pub(crate) digits: Option<i16>,
    pub(crate) period: Option<i64>,
    pub(crate) t0: Option<i64>,
    pub(crate) last_step: Option<i64>,
    pub(crate) drift: Option<i16>,
    pub(crate) leaning: Option<i16>,
    pub(crate) counter: Option<i64>,
    pub(crate) key_id: Option<String>,
    pub(crate) secret: Option<Vec<u8>>,
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
        verified_at: row.optional_time("verified_at", first.verified_at)?,
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
    let factors = rows.iter().filter(|row| row.factor.id.is_some());
    let factors = factors.map(|row| row.factor.read(of("factors"))).collect::<Result<_, _>>()?;
    let value = Account { factors, backup_codes, attempts, audit_head, audit_base, answers };
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
        let (state, expires_at, replaces) = match &factor.state {
            FactorState::Active => ("active", None, None),
            FactorState::Removed => ("removed", None, None),
            FactorState::Pending { expires_at, replaces } => ("pending", Some(*expires_at), *replaces),
        };
        let secret = factor.secret();
        let row = Self {
            id: Some(factor.id.to_string()),
            kind: Some(factor.kind().as_str().to_owned()),
            label: Some(factor.label.to_string()),
            state: Some(state.to_owned()),
            expires_at: expires_at.map(millis),
            replaces: replaces.as_ref().map(FactorId::to_string),
            created_at: Some(millis(factor.created_at)),
            last_used_at: factor.last_used_at.map(millis),
            digits: Some(factor.digits().value().into()),
            key_id: Some(secret.key.to_string()),
            secret: Some(secret.bytes.clone()),
            ..Self::default()
        };
        Ok(match &factor.authenticator {
            Authenticator::Totp(device) => Self {
                algorithm: Some(device.totp.algorithm().name().to_owned()),
                period: Some(integer("period", device.totp.period().seconds())?),
                t0: Some(integer("t0", device.totp.t0())?),
                last_step: device.last_step.map(|step| integer("last_step", step)).transpose()?,
                drift: Some(device.drift.steps),
                leaning: Some(device.drift.leaning.into()),
                ..row
            },
            Authenticator::Hotp(device) => Self {
                algorithm: Some(device.hotp.algorithm().name().to_owned()),
                counter: Some(integer("counter", device.counter)?),
                ..row
            },
            _ => return Err(PostgresError::Unsupported { kind: factor.kind().as_str() }),
        })
    }

    fn read(&self, row: Row) -> Result<Factor, PostgresError> {
        let time = |column, value| row.time(column, row.required(column, value)?);
        let state = match self.state.as_deref() {
            Some("active") => FactorState::Active,
            Some("removed") => FactorState::Removed,
            Some("pending") => FactorState::Pending {
                expires_at: time("expires_at", self.expires_at)?,
                replaces: row.read("replaces", self.replaces.as_deref().map(str::parse).transpose())?,
            },
            _ => return Err(row.undecodable("state")),
        };
        Ok(Factor {
            id: row.read("id", text(row, "id", self.id.as_deref())?.parse())?,
            label: row.read("label", Label::new(text(row, "label", self.label.as_deref())?))?,
            state,
            created_at: time("created_at", self.created_at)?,
            last_used_at: row.optional_time("last_used_at", self.last_used_at)?,
            authenticator: self.authenticator(row)?,
        })
    }

    fn authenticator(&self, row: Row) -> Result<Authenticator, PostgresError> {
        let algorithm = row.read("algorithm", text(row, "algorithm", self.algorithm.as_deref())?.parse())?;
        let digits = row.number("digits", row.required("digits", self.digits)?.into())?;
        let digits = row.read("digits", Digits::new(digits))?;
        let secret = Sealed {
            key: KeyId::new(text(row, "key_id", self.key_id.as_deref())?),
            bytes: row.required("secret", self.secret.clone())?,
        };
        let required = |column, value| row.required(column, value);
        match row.read("kind", text(row, "kind", self.kind.as_deref())?.parse())? {
            FactorKind::Totp => {
                let period = row.number("period", required("period", self.period)?)?;
                let period = row.read("period", Period::new(period))?;
                let t0 = row.number("t0", required("t0", self.t0)?)?;
                let leaning = row.required("leaning", self.leaning)?;
                Ok(Authenticator::Totp(TotpDevice {
                    totp: Totp::new(algorithm, digits, period).with_t0(t0),
                    secret,
                    last_step: self.last_step.map(|step| row.number("last_step", step)).transpose()?,
                    drift: Drift {
                        steps: row.required("drift", self.drift)?,
                        leaning: row.number("leaning", leaning.into())?,
                    },
                }))
            }
            FactorKind::Hotp => Ok(Authenticator::Hotp(HotpDevice {
                hotp: Hotp::new(algorithm, digits),
                secret,
                counter: row.number("counter", required("counter", self.counter)?)?,
            })),
            _ => Err(row.undecodable("kind")),
        }
    }
}

fn text<'a>(row: Row, column: &'static str, value: Option<&'a str>) -> Result<&'a str, PostgresError> {
    row.required(column, value)
}
