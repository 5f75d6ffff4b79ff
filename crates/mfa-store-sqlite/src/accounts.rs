//! The contract of an account store; reading accounts.

use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::HEXUPPER;
use mfa_domain::account::{Attempts, BackupCodes, CodeHash, Drift, HashedCode};
use mfa_domain::audit::EventHash;
use mfa_domain::otp_core::{Digits, Hotp, Period, Totp};
use mfa_domain::ports::{AccountPage, AccountQuery, AccountStore, Commit, EventPage, EventQuery, StoreError};
use mfa_domain::{
    Account, AccountKey, AuditHead, Authenticator, Delta, Factor, FactorKind, FactorState, HotpDevice, KeyId,
    Label, Sealed, TenantId, TotpDevice, UserId, Version, Versioned,
};
use serde::Deserialize;

use crate::change::Change;
use crate::column::Row;
use crate::{SqliteError, SqliteStore, events};

/// A whole account as one document: one statement sees one state, and takes one round trip.
pub(crate) const LOAD: &str = "
    SELECT json_object(
        'id', a.id, 'version', a.version, 'failures', a.failures, 'forgiven', a.forgiven,
        'recent_failures', a.recent_failures, 'verified_at', a.verified_at,
        'audit_sequence', a.audit_sequence, 'audit_hash', hex(a.audit_hash),
        'factors', json((
            SELECT json_group_array(json_object(
                'id', f.id, 'kind', f.kind, 'label', f.label, 'state', f.state, 'expires_at', f.expires_at,
                'replaces', f.replaces, 'created_at', f.created_at, 'last_used_at', f.last_used_at,
                'algorithm', f.algorithm, 'digits', f.digits, 'period', f.period, 't0', f.t0,
                'last_step', f.last_step, 'drift', f.drift, 'leaning', f.leaning, 'counter', f.counter,
                'key_id', f.key_id, 'secret', hex(f.secret)
            ) ORDER BY f.number)
            FROM factors f WHERE f.account = a.id
        )),
        'backup_codes', json((
            SELECT json_object('scheme', s.scheme, 'issued_at', s.issued_at, 'codes', json((
                SELECT json_group_array(json_object('hash', hex(c.hash), 'spent_at', c.spent_at)
                    ORDER BY c.place)
                FROM backup_codes c WHERE c.account = s.account
            )))
            FROM backup_code_sets s WHERE s.account = a.id
        ))
    )
    FROM accounts a WHERE a.tenant = ? AND a.user = ?";

/// No tenant is empty, so nothing comes before `('', '')`.
pub(crate) const PAGE: &str = "
    SELECT a.tenant, a.user FROM accounts a
    WHERE (a.tenant, a.user) > (?1, ?2)
      AND (?3 IS NULL OR EXISTS (SELECT 1 FROM factors f WHERE f.account = a.id AND f.key_id <> ?3))
    ORDER BY a.tenant, a.user LIMIT ?4";

/// Jumps through the index from each key to the next, however many factors have it.
pub(crate) const KEYS_IN_USE: &str = "
    WITH RECURSIVE key (id) AS (
        SELECT min(key_id) FROM factors
        UNION ALL
        SELECT (SELECT min(f.key_id) FROM factors f WHERE f.key_id > key.id) FROM key WHERE key.id IS NOT NULL
    )
    SELECT id FROM key WHERE id IS NOT NULL";

#[async_trait]
impl AccountStore for SqliteStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        let document: Option<String> = sqlx::query_scalar(LOAD)
            .bind(key.tenant.as_str())
            .bind(key.user.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        let Some(document) = document else { return Ok(Versioned::default()) };
        let row: AccountRow =
            serde_json::from_str(&document).map_err(|error| SqliteError::Other(Arc::new(error)))?;
        Ok(row.read()?)
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let change = Change::Account { key: key.clone(), expected, delta: delta.clone() };
        Ok(if self.writer.make(change).await? { Commit::Won } else { Commit::Conflict })
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let (tenant, user) =
            query.after.as_ref().map_or(("", ""), |key| (key.tenant.as_str(), key.user.as_str()));
        let rows: Vec<(String, String)> = sqlx::query_as(PAGE)
            .bind(tenant)
            .bind(user)
            .bind(query.not_sealed_with.as_ref().map(KeyId::as_str))
            .bind(i64::from(query.limit) + 1)
            .fetch_all(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        let more = rows.len() > query.limit as usize;
        let keys = rows.iter().take(query.limit as usize).map(account_key).collect::<Result<_, _>>()?;
        Ok(AccountPage { keys, more })
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        Ok(events::page(&self.readers, query).await?)
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let keys: Vec<String> = sqlx::query_scalar(KEYS_IN_USE)
            .fetch_all(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        Ok(keys.into_iter().map(KeyId::new).collect())
    }
}

fn account_key((tenant, user): &(String, String)) -> Result<AccountKey, SqliteError> {
    let row = Row { table: "accounts", account: 0 };
    let tenant = row.read("tenant", TenantId::new(tenant))?;
    Ok(AccountKey::new(tenant, row.read("user", UserId::new(user))?))
}

#[derive(Deserialize)]
struct AccountRow {
    id: i64,
    version: i64,
    failures: i64,
    forgiven: i64,
    recent_failures: String,
    verified_at: Option<i64>,
    audit_sequence: i64,
    audit_hash: String,
    factors: Vec<FactorRow>,
    backup_codes: Option<CodeSetRow>,
}

#[derive(Deserialize)]
struct FactorRow {
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
    fn read(self) -> Result<Versioned<Account>, SqliteError> {
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
        let of = |table| Row { table, ..row };
        let value = Account {
            factors: self.factors.iter().map(|row| row.read(of("factors"))).collect::<Result<_, _>>()?,
            backup_codes: self.backup_codes.map(|set| set.read(of("backup_codes"))).transpose()?,
            attempts,
            audit_head,
        };
        Ok(Versioned { value, version: Version(row.number("version", self.version)?) })
    }
}

impl FactorRow {
    fn read(&self, row: Row) -> Result<Factor, SqliteError> {
        let state = match self.state.as_str() {
            "active" => FactorState::Active,
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
            codes: self.codes.into_iter().map(code).collect::<Result<_, _>>()?,
            issued_at: row.time("issued_at", self.issued_at)?,
        })
    }
}

/// The bytes of a column that SQLite's `hex` printed.
fn bytes(row: Row, column: &'static str, hex: &str) -> Result<Vec<u8>, SqliteError> {
    row.read(column, HEXUPPER.decode(hex.as_bytes()))
}
