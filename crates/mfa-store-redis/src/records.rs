//! Accounts as fields of a hash.

use std::collections::HashMap;

use data_encoding::{BASE64, HEXLOWER};
use mfa_domain::account::{Attempts, BackupCodes, CodeHash, HashedCode, KeptAnswers, Verifications};
use mfa_domain::audit::EventHash;
use mfa_domain::{Account, AuditHead, Data, Factor, KeyId, StoredFactor, Timestamp, Version, Versioned};
use serde::{Deserialize, Serialize};

use crate::RedisError;
use crate::field::Fields;

/// A set of backup codes as JSON, without the record of which are spent.
#[derive(Serialize, Deserialize)]
struct CodesRecord {
    scheme: String,
    issued_at: u64,
    hashes: Vec<String>,
}

const ACCOUNT: &str = "account";

/// Builds an account from its fields.
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
        verified: Verifications {
            low: fields.optional_time("verified_low")?,
            medium: fields.optional_time("verified_medium")?,
            high: fields.optional_time("verified_high")?,
        },
    };
    let (audit_head, audit_base) = ends(&fields)?;
    let factors = factors(&fields)?;
    let backup_codes = backup_codes(&fields)?;
    let answers = if fields.has("answers") { fields.bytes("answers")? } else { &[] };
    let answers = fields.read("answers", KeptAnswers::from_bytes(answers))?;
    let data = if fields.has("data") { Data::new(fields.text("data")?) } else { Data::default() };
    let version = Version(fields.number("version")?);
    let value = Account { factors, backup_codes, attempts, audit_head, audit_base, answers, data };
    Ok(Versioned { value, version })
}

/// The ends of an audit chain, head and base, from the values that the script returned.
pub(crate) fn audit_ends(parts: &[Option<Vec<u8>>]) -> Result<(AuditHead, AuditHead), RedisError> {
    let names = ["audit_sequence", "audit_hash", "audit_base_sequence", "audit_base_hash"];
    let parts = names.iter().zip(parts).filter_map(|(name, part)| Some(((*name).to_owned(), part.clone()?)));
    ends(&Fields { key: ACCOUNT, fields: parts.collect() })
}

/// The head and base of an audit chain. The base is the default as long as no event was removed.
fn ends(fields: &Fields) -> Result<(AuditHead, AuditHead), RedisError> {
    let end = |sequence, hash| {
        Ok(AuditHead { sequence: fields.number(sequence)?, hash: EventHash(fields.array(hash)?) })
    };
    let head = end("audit_sequence", "audit_hash")?;
    let trimmed = fields.has("audit_base_sequence");
    let base = if trimmed { end("audit_base_sequence", "audit_base_hash")? } else { AuditHead::default() };
    Ok((head, base))
}

fn factors(fields: &Fields) -> Result<Vec<Factor>, RedisError> {
    if !fields.has("factors") {
        return Ok(Vec::new());
    }
    StoredFactor::from_document(fields.text("factors")?).map_err(|error| fields.undecodable(error.field))
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
        // A place outside of the set is ignored, as in the domain.
        if let Some(code) = codes.get_mut(place) {
            code.spent_at = Some(at);
        }
    }
    let issued_at = fields.time("codes", Some(record.issued_at))?;
    Ok(Some(BackupCodes { scheme: record.scheme, codes, issued_at }))
}

/// The document of all factors of an account, and the names of their keys, so that scripts need not parse the
/// document.
pub(crate) fn factors_fields(factors: &[Factor]) -> Result<[(&'static str, Vec<u8>); 2], RedisError> {
    let document = StoredFactor::to_document(factors)
        .map_err(|_| RedisError::other("the data of a factor is not valid JSON"))?;
    let keys: Vec<_> = StoredFactor::sealed_with(factors).into_iter().map(key_name).collect();
    Ok([("factors", document.into()), ("sealed_with", keys.join(" ").into())])
}

/// The record of a set of backup codes, and the record of the spent ones.
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

/// The name of an encryption key in the indexes.
pub(crate) fn key_name(key: &KeyId) -> String {
    HEXLOWER.encode(key.as_str().as_bytes())
}

/// The encryption key of such a name.
pub(crate) fn key_named(name: &str) -> Option<KeyId> {
    let bytes = HEXLOWER.decode(name.as_bytes()).ok()?;
    String::from_utf8(bytes).ok().map(KeyId::new)
}

pub(crate) fn json(record: &impl Serialize) -> Result<String, RedisError> {
    serde_json::to_string(record).map_err(|error| RedisError::other(error.to_string()))
}
