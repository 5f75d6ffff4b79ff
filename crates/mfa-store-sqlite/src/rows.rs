//! Accounts and factors as JSON documents, the form in which many of them travel in one statement.

use data_encoding::HEXUPPER;
use mfa_domain::account::{Attempts, BackupCodes, CodeHash, Drift, HashedCode, KeptAnswers};
use mfa_domain::audit::EventHash;
use mfa_domain::otp_core::{Digits, Hotp, Period, Totp};
use mfa_domain::{
    Account, AuditHead, Authenticator, Factor, FactorId, FactorKind, FactorState, HotpDevice, KeyId, Label,
    Sealed, TotpDevice, Version, Versioned,
};
use serde::{Deserialize, Serialize};

use crate::SqliteError;
use crate::column::{Row, integer, millis};

/// An account, as one statement reads it.
#[derive(Deserialize)]
pub(crate) struct AccountRow {
    id: i64,
    version: i64,
    failures: i64,
    forgiven: i64,
    recent_failures: String,
    verified_at: Option<i64>,
    audit_sequence: i64,
    audit_hash: String,
    audit_base_sequence: i64,
    audit_base_hash: String,
    answers: String,
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
    algorithm: String,
    digits: i64,
    period: Option<i64>,
    t0: Option<i64>,
    last_step: Option<i64>,
    drift: Option<i64>,
    leaning: Option<i64>,
    counter: Option<i64>,
    key_id: String,
    secret: String,
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
            verified_at: row.optional_time("verified_at", self.verified_at)?,
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
            factors: self.factors.iter().map(|row| row.read(of("factors"))).collect::<Result<_, _>>()?,
            backup_codes: self.backup_codes.map(|set| set.read(of("backup_codes"))).transpose()?,
            attempts,
            audit_head,
            audit_base,
            answers: row.read("answers", KeptAnswers::from_bytes(&bytes(row, "answers", &self.answers)?))?,
        };
        Ok(Versioned { value, version: Version(row.number("version", self.version)?) })
    }
}

impl FactorRow {
    pub(crate) fn of(factor: &Factor) -> Result<Self, SqliteError> {
        let (state, expires_at, replaces) = match &factor.state {
            FactorState::Active => ("active", None, None),
            FactorState::Removed => ("removed", None, None),
            FactorState::Pending { expires_at, replaces } => ("pending", Some(*expires_at), *replaces),
        };
        let secret = factor.secret();
        let row = Self {
            id: factor.id.to_string(),
            kind: factor.kind().as_str().to_owned(),
            label: factor.label.to_string(),
            state: state.to_owned(),
            expires_at: expires_at.map(millis),
            replaces: replaces.as_ref().map(FactorId::to_string),
            created_at: millis(factor.created_at),
            last_used_at: factor.last_used_at.map(millis),
            algorithm: String::new(),
            digits: factor.digits().value().into(),
            period: None,
            t0: None,
            last_step: None,
            drift: None,
            leaning: None,
            counter: None,
            key_id: secret.key.to_string(),
            secret: HEXUPPER.encode(&secret.bytes),
        };
        Ok(match &factor.authenticator {
            Authenticator::Totp(device) => Self {
                algorithm: device.totp.algorithm().name().to_owned(),
                period: Some(integer("period", device.totp.period().seconds())?),
                t0: Some(integer("t0", device.totp.t0())?),
                last_step: device.last_step.map(|step| integer("last_step", step)).transpose()?,
                drift: Some(device.drift.steps.into()),
                leaning: Some(device.drift.leaning.into()),
                ..row
            },
            Authenticator::Hotp(device) => Self {
                algorithm: device.hotp.algorithm().name().to_owned(),
                counter: Some(integer("counter", device.counter)?),
                ..row
            },
            _ => return Err(SqliteError::Unsupported { kind: factor.kind().as_str() }),
        })
    }

    fn read(&self, row: Row) -> Result<Factor, SqliteError> {
        let state = match self.state.as_str() {
            "active" => FactorState::Active,
            "removed" => FactorState::Removed,
            "pending" => FactorState::Pending {
                expires_at: row.time("expires_at", row.required("expires_at", self.expires_at)?)?,
                replaces: row.read("replaces", self.replaces.as_deref().map(str::parse).transpose())?,
            },
            _ => return Err(row.undecodable("state")),
        };
        Ok(Factor {
            id: row.read("id", self.id.parse())?,
            label: row.read("label", Label::new(&self.label))?,
            state,
            created_at: row.time("created_at", self.created_at)?,
            last_used_at: row.optional_time("last_used_at", self.last_used_at)?,
            authenticator: self.authenticator(row)?,
        })
    }

    fn authenticator(&self, row: Row) -> Result<Authenticator, SqliteError> {
        let algorithm = row.read("algorithm", self.algorithm.parse())?;
        let digits = row.read("digits", Digits::new(row.number("digits", self.digits)?))?;
        let secret = Sealed { key: KeyId::new(&*self.key_id), bytes: bytes(row, "secret", &self.secret)? };
        let required = |column, value| row.required(column, value);
        match row.read("kind", self.kind.parse())? {
            FactorKind::Totp => {
                let period = row.number("period", required("period", self.period)?)?;
                let period = row.read("period", Period::new(period))?;
                let t0 = row.number("t0", required("t0", self.t0)?)?;
                Ok(Authenticator::Totp(TotpDevice {
                    totp: Totp::new(algorithm, digits, period).with_t0(t0),
                    secret,
                    last_step: self.last_step.map(|step| row.number("last_step", step)).transpose()?,
                    drift: Drift {
                        steps: row.number("drift", required("drift", self.drift)?)?,
                        leaning: row.number("leaning", required("leaning", self.leaning)?)?,
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
