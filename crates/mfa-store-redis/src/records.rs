//! Accounts as the fields of a hash.

use std::collections::HashMap;

use data_encoding::{BASE64, HEXLOWER};
use mfa_domain::account::{Attempts, BackupCodes, CodeHash, Drift, HashedCode, KeptAnswers};
use mfa_domain::audit::EventHash;
use mfa_domain::otp_core::{Digits, Hotp, Period, Totp};
use mfa_domain::{
    Account, AuditHead, Authenticator, Factor, FactorId, FactorKind, FactorState, HotpDevice, KeyId, Label,
    Sealed, Timestamp, TotpDevice, Version, Versioned,
};
use serde::{Deserialize, Serialize};

use crate::RedisError;
use crate::field::Fields;

/// A factor, in JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct FactorRecord {
    kind: String,
    label: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    created_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<u64>,
    algorithm: String,
    digits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    t0: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_step: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaning: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<u64>,
    key: Option<String>,
    secret: Option<String>,
}

/// A set of backup codes, in JSON; which of them are spent is told beside it.
#[derive(Serialize, Deserialize)]
struct CodesRecord {
    scheme: String,
    issued_at: u64,
    hashes: Vec<String>,
}

const ACCOUNT: &str = "account";

/// Puts an account together.
pub(crate) fn read(fields: HashMap<String, Vec<u8>>) -> Result<Versioned<Account>, RedisError> {
    if fields.is_empty() {
        return Ok(Versioned::default());
    }
    let fields = Fields { key: ACCOUNT, fields };
    let recent = fields.text("recent")?.split(' ').filter(|at| !at.is_empty());
    let attempts = Attempts {
        failures: fields.number("failures")?,
        forgiven: fields.number("forgiven")?,
        recent: recent.map(|at| fields.time("recent", at.parse().ok())).collect::<Result<_, _>>()?,
        verified_at: fields.optional_time("verified_at")?,
    };
    let (audit_head, audit_base) = ends(&fields)?;
    let index = if fields.has("factors") { fields.text("factors")? } else { "" };
    let factors = index.split(' ').filter(|entry| !entry.is_empty());
    let factors = factors.map(|entry| factor(&fields, entry)).collect::<Result<_, _>>()?;
    let backup_codes = backup_codes(&fields)?;
    let answers = if fields.has("answers") { fields.bytes("answers")? } else { &[] };
    let answers = fields.read("answers", KeptAnswers::from_bytes(answers))?;
    let version = Version(fields.number("version")?);
    let value = Account { factors, backup_codes, attempts, audit_head, audit_base, answers };
    Ok(Versioned { value, version })
}

/// Where an audit chain ends and where it begins, from what the script told of it.
pub(crate) fn audit_ends(parts: &[Option<Vec<u8>>]) -> Result<(AuditHead, AuditHead), RedisError> {
    let names = ["audit_sequence", "audit_hash", "audit_base_sequence", "audit_base_hash"];
    let parts = names.iter().zip(parts).filter_map(|(name, part)| Some(((*name).to_owned(), part.clone()?)));
    ends(&Fields { key: ACCOUNT, fields: parts.collect() })
}

/// As long as no event was removed, there is no base.
fn ends(fields: &Fields) -> Result<(AuditHead, AuditHead), RedisError> {
    let end = |sequence, hash| {
        Ok(AuditHead { sequence: fields.number(sequence)?, hash: EventHash(fields.array(hash)?) })
    };
    let head = end("audit_sequence", "audit_hash")?;
    let trimmed = fields.has("audit_base_sequence");
    let base = if trimmed { end("audit_base_sequence", "audit_base_hash")? } else { AuditHead::default() };
    Ok((head, base))
}

/// A factor by its entry in the index.
fn factor(fields: &Fields, entry: &str) -> Result<Factor, RedisError> {
    let id = entry.split('=').next().unwrap_or(entry);
    let id: FactorId = fields.read("factors", id.parse())?;
    let record = fields.fields.get(&format!("factor:{id}")).ok_or_else(|| fields.undecodable("factors"))?;
    let record: FactorRecord = fields.read("factor", serde_json::from_slice(record))?;
    record.read(id, fields)
}

fn backup_codes(fields: &Fields) -> Result<Option<BackupCodes>, RedisError> {
    if !fields.has("codes") {
        return Ok(None);
    }
    let record: CodesRecord = fields.read("codes", serde_json::from_slice(fields.bytes("codes")?))?;
    let codes = record.hashes.iter().map(|hash| {
        let hash = fields.read("codes", BASE64.decode(hash.as_bytes()))?;
        Ok(HashedCode { hash: CodeHash(hash), spent_at: None })
    });
    let mut codes = codes.collect::<Result<Vec<_>, RedisError>>()?;
    for entry in fields.text("spent")?.split(' ').filter(|entry| !entry.is_empty()) {
        let (place, at) = entry.split_once('=').ok_or_else(|| fields.undecodable("spent"))?;
        let place: usize = fields.read("spent", place.parse())?;
        let at = fields.time("spent", at.parse().ok())?;
        // A place that is not in the set means nothing, as in the domain.
        if let Some(code) = codes.get_mut(place) {
            code.spent_at = Some(at);
        }
    }
    let issued_at = fields.time("codes", Some(record.issued_at))?;
    Ok(Some(BackupCodes { scheme: record.scheme, codes, issued_at }))
}

/// The record of a factor, and the key of its secret as the indexes name it.
pub(crate) fn factor_record(factor: &Factor) -> Result<(String, String), RedisError> {
    let record = FactorRecord::of(factor)?;
    let key = HEXLOWER.encode(factor.secret().key.as_str().as_bytes());
    Ok((key, json(&record)?))
}

/// The record of a set of backup codes, and which of them are spent.
pub(crate) fn codes_record(set: &BackupCodes) -> Result<(String, String), RedisError> {
    let record = CodesRecord {
        scheme: set.scheme.clone(),
        issued_at: set.issued_at.unix_millis(),
        hashes: set.codes.iter().map(|code| BASE64.encode(&code.hash.0)).collect(),
    };
    let spent = set.codes.iter().enumerate();
    let spent = spent.filter_map(|(place, code)| code.spent_at.map(|at| spent_entry(place, at)));
    Ok((json(&record)?, spent.collect::<Vec<_>>().join(" ")))
}

pub(crate) fn spent_entry(place: usize, at: Timestamp) -> String {
    format!("{place}={}", at.unix_millis())
}

/// The name of a key in the indexes.
pub(crate) fn key_name(key: &KeyId) -> String {
    HEXLOWER.encode(key.as_str().as_bytes())
}

/// The key of such a name.
pub(crate) fn key_named(name: &str) -> Option<KeyId> {
    let bytes = HEXLOWER.decode(name.as_bytes()).ok()?;
    String::from_utf8(bytes).ok().map(KeyId::new)
}

pub(crate) fn json(record: &impl Serialize) -> Result<String, RedisError> {
    serde_json::to_string(record).map_err(|error| RedisError::other(error.to_string()))
}

impl FactorRecord {
    fn of(factor: &Factor) -> Result<Self, RedisError> {
        let (state, expires_at, replaces) = match &factor.state {
            FactorState::Active => ("active", None, None),
            FactorState::Removed => ("removed", None, None),
            FactorState::Pending { expires_at, replaces } => ("pending", Some(*expires_at), *replaces),
        };
        let secret = factor.secret();
        let record = Self {
            kind: factor.kind().as_str().to_owned(),
            label: factor.label.to_string(),
            state: state.to_owned(),
            expires_at: expires_at.map(Timestamp::unix_millis),
            replaces: replaces.as_ref().map(FactorId::to_string),
            created_at: Some(factor.created_at.unix_millis()),
            last_used_at: factor.last_used_at.map(Timestamp::unix_millis),
            digits: Some(factor.digits().value()),
            key: Some(secret.key.to_string()),
            secret: Some(BASE64.encode(&secret.bytes)),
            ..Self::default()
        };
        Ok(match &factor.authenticator {
            Authenticator::Totp(device) => Self {
                algorithm: device.totp.algorithm().name().to_owned(),
                period: Some(device.totp.period().seconds()),
                t0: Some(device.totp.t0()),
                last_step: device.last_step,
                drift: Some(device.drift.steps),
                leaning: Some(device.drift.leaning),
                ..record
            },
            Authenticator::Hotp(device) => Self {
                algorithm: device.hotp.algorithm().name().to_owned(),
                counter: Some(device.counter),
                ..record
            },
            _ => return Err(RedisError::Unsupported { kind: factor.kind().as_str() }),
        })
    }

    fn read(self, id: FactorId, fields: &Fields) -> Result<Factor, RedisError> {
        let state = match self.state.as_str() {
            "active" => FactorState::Active,
            "removed" => FactorState::Removed,
            "pending" => FactorState::Pending {
                expires_at: fields.time("expires_at", self.expires_at)?,
                replaces: fields.read("replaces", self.replaces.as_deref().map(str::parse).transpose())?,
            },
            _ => return Err(fields.undecodable("state")),
        };
        Ok(Factor {
            id,
            label: fields.read("label", Label::new(&self.label))?,
            state,
            created_at: fields.time("created_at", self.created_at)?,
            last_used_at: self.last_used_at.map(|at| fields.time("last_used_at", Some(at))).transpose()?,
            authenticator: self.authenticator(fields)?,
        })
    }

    fn authenticator(self, fields: &Fields) -> Result<Authenticator, RedisError> {
        let algorithm = fields.read("algorithm", self.algorithm.parse())?;
        let digits = fields.read("digits", Digits::new(fields.required("digits", self.digits)?))?;
        let secret = fields.required("secret", self.secret)?;
        let secret = Sealed {
            key: KeyId::new(fields.required("key", self.key)?),
            bytes: fields.read("secret", BASE64.decode(secret.as_bytes()))?,
        };
        match fields.read("kind", self.kind.parse())? {
            FactorKind::Totp => {
                let period = fields.read("period", Period::new(fields.required("period", self.period)?))?;
                Ok(Authenticator::Totp(TotpDevice {
                    totp: Totp::new(algorithm, digits, period).with_t0(fields.required("t0", self.t0)?),
                    secret,
                    last_step: self.last_step,
                    drift: Drift {
                        steps: fields.required("drift", self.drift)?,
                        leaning: fields.required("leaning", self.leaning)?,
                    },
                }))
            }
            FactorKind::Hotp => Ok(Authenticator::Hotp(HotpDevice {
                hotp: Hotp::new(algorithm, digits),
                secret,
                counter: fields.required("counter", self.counter)?,
            })),
            _ => Err(fields.undecodable("kind")),
        }
    }
}
