//! What the writer makes, statement by statement. Every guard is in a WHERE clause, every verdict
//! from what the statement returns.

use mfa_domain::account::{Attempts, BackupCodes};
use mfa_domain::ports::{ApiKey, ApiKeyId};
use mfa_domain::{
    AccountKey, AuditEvent, Authenticator, BackupCodesChange, Delta, Factor, FactorChange, FactorId,
    FactorState, Timestamp, Version,
};
use sqlx::SqliteConnection;

use crate::SqliteError;
use crate::column::{integer, millis};

/// A change of the database.
pub(crate) enum Change {
    /// A delta of an account, made if the account is at that version.
    Account { key: AccountKey, expected: Version, delta: Delta },
    /// A new API key, kept if there is none of its id.
    AddApiKey(ApiKey),
    /// An API key is revoked, if there is one.
    RevokeApiKey { id: ApiKeyId, at: Timestamp },
}

/// For version zero: the account is new. One that is there already, at any version, is a conflict.
pub(crate) const NEW_ACCOUNT: &str = "
    INSERT INTO accounts
        (failures, forgiven, recent_failures, verified_at, audit_sequence, audit_hash, tenant, user, version)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ? + 1)
    ON CONFLICT (tenant, user) DO NOTHING
    RETURNING id";

pub(crate) const CHANGE_ACCOUNT: &str = "
    UPDATE accounts
    SET failures = ?, forgiven = ?, recent_failures = ?, verified_at = ?, audit_sequence = ?, audit_hash = ?,
        version = version + 1
    WHERE tenant = ? AND user = ? AND version = ?
    RETURNING id";

/// A factor that is there keeps its number, and with it its place in the order of creation.
pub(crate) const PUT_FACTOR: &str = "
    INSERT INTO factors
        (account, id, kind, label, state, expires_at, replaces, created_at, last_used_at, algorithm, digits,
         period, t0, last_step, drift, leaning, counter, key_id, secret)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (account, id) DO UPDATE
    SET kind = excluded.kind, label = excluded.label, state = excluded.state,
        expires_at = excluded.expires_at, replaces = excluded.replaces, created_at = excluded.created_at,
        last_used_at = excluded.last_used_at, algorithm = excluded.algorithm, digits = excluded.digits,
        period = excluded.period, t0 = excluded.t0, last_step = excluded.last_step, drift = excluded.drift,
        leaning = excluded.leaning, counter = excluded.counter, key_id = excluded.key_id,
        secret = excluded.secret";

pub(crate) const REMOVE_FACTOR: &str = "DELETE FROM factors WHERE account = ? AND id = ?";

/// The codes of the set go with it.
pub(crate) const REMOVE_CODES: &str = "DELETE FROM backup_code_sets WHERE account = ?";

pub(crate) const ADD_CODE_SET: &str =
    "INSERT INTO backup_code_sets (account, scheme, issued_at) VALUES (?, ?, ?)";

pub(crate) const ADD_CODE: &str =
    "INSERT INTO backup_codes (account, place, hash, spent_at) VALUES (?, ?, ?, ?)";

pub(crate) const SPEND_CODE: &str = "UPDATE backup_codes SET spent_at = ? WHERE account = ? AND place = ?";

pub(crate) const ADD_EVENT: &str = "
    INSERT INTO events (tenant, account, sequence, at, kind, factor, actor, detail, previous, hash)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(crate) const ADD_API_KEY: &str = "
    INSERT INTO api_keys (id, tenant, scopes, hash, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING";

pub(crate) const REVOKE_API_KEY: &str =
    "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?";

impl Change {
    /// Makes the change inside a transaction; `false` if its guard did not hold and nothing was
    /// changed.
    pub(crate) async fn make(&self, to: &mut SqliteConnection) -> Result<bool, SqliteError> {
        match self {
            Self::Account { key, expected, delta } => change_account(to, key, *expected, delta).await,
            Self::AddApiKey(key) => add_api_key(to, key).await,
            Self::RevokeApiKey { id, at } => {
                let revoke = sqlx::query(REVOKE_API_KEY).bind(millis(*at)).bind(id.as_str());
                Ok(execute(to, revoke).await? == 1)
            }
        }
    }
}

async fn change_account(
    to: &mut SqliteConnection,
    key: &AccountKey,
    expected: Version,
    delta: &Delta,
) -> Result<bool, SqliteError> {
    let Attempts { failures, forgiven, recent, verified_at } = delta.attempts();
    let head = delta.audit_head();
    let recent: Vec<i64> = recent.iter().map(|at| millis(*at)).collect();
    let statement = if expected == Version::default() { NEW_ACCOUNT } else { CHANGE_ACCOUNT };
    let account: Option<i64> = sqlx::query_scalar(statement)
        .bind(failures)
        .bind(forgiven)
        .bind(json(&recent)?)
        .bind(verified_at.map(millis))
        .bind(integer("audit_sequence", head.sequence)?)
        .bind(head.hash.0.to_vec())
        .bind(key.tenant.as_str())
        .bind(key.user.as_str())
        .bind(integer("version", expected.0)?)
        .fetch_optional(&mut *to)
        .await
        .map_err(SqliteError::from_driver)?;
    let Some(account) = account else { return Ok(false) };
    for change in delta.factors() {
        match change {
            FactorChange::Put(factor) => put_factor(to, account, factor).await?,
            FactorChange::Remove(id) => {
                execute(to, sqlx::query(REMOVE_FACTOR).bind(account).bind(id.to_string())).await?;
            }
        }
    }
    match delta.backup_codes() {
        None => {}
        Some(BackupCodesChange::Spend { place, at }) => {
            let place = integer("place", *place as u64)?;
            execute(to, sqlx::query(SPEND_CODE).bind(millis(*at)).bind(account).bind(place)).await?;
        }
        Some(BackupCodesChange::Remove) => {
            execute(to, sqlx::query(REMOVE_CODES).bind(account)).await?;
        }
        Some(BackupCodesChange::Replace(set)) => {
            execute(to, sqlx::query(REMOVE_CODES).bind(account)).await?;
            add_codes(to, account, set).await?;
        }
    }
    for event in delta.events() {
        add_event(to, key, account, event).await?;
    }
    Ok(true)
}

async fn put_factor(to: &mut SqliteConnection, account: i64, factor: &Factor) -> Result<(), SqliteError> {
    let (state, expires_at, replaces) = match &factor.state {
        FactorState::Active => ("active", None, None),
        FactorState::Pending { expires_at, replaces } => ("pending", Some(*expires_at), *replaces),
    };
    let put = sqlx::query(PUT_FACTOR)
        .bind(account)
        .bind(factor.id.to_string())
        .bind(factor.kind().as_str())
        .bind(factor.label.as_str())
        .bind(state)
        .bind(expires_at.map(millis))
        .bind(replaces.as_ref().map(FactorId::to_string))
        .bind(millis(factor.created_at))
        .bind(factor.last_used_at.map(millis));
    let put = match &factor.authenticator {
        Authenticator::Totp(device) => put
            .bind(device.totp.algorithm().name())
            .bind(device.totp.digits().value())
            .bind(integer("period", device.totp.period().seconds())?)
            .bind(integer("t0", device.totp.t0())?)
            .bind(device.last_step.map(|step| integer("last_step", step)).transpose()?)
            .bind(device.drift.steps)
            .bind(device.drift.leaning)
            .bind(None::<i64>),
        Authenticator::Hotp(device) => put
            .bind(device.hotp.algorithm().name())
            .bind(device.hotp.digits().value())
            .bind(None::<i64>)
            .bind(None::<i64>)
            .bind(None::<i64>)
            .bind(None::<i8>)
            .bind(None::<i8>)
            .bind(integer("counter", device.counter)?),
        _ => return Err(SqliteError::Unsupported { kind: factor.kind().as_str() }),
    };
    let secret = factor.secret();
    execute(to, put.bind(secret.key.as_str()).bind(secret.bytes.as_slice())).await?;
    Ok(())
}

async fn add_codes(to: &mut SqliteConnection, account: i64, set: &BackupCodes) -> Result<(), SqliteError> {
    let add = sqlx::query(ADD_CODE_SET).bind(account).bind(&set.scheme).bind(millis(set.issued_at));
    execute(to, add).await?;
    for (place, code) in (0_i64..).zip(&set.codes) {
        let add = sqlx::query(ADD_CODE)
            .bind(account)
            .bind(place)
            .bind(code.hash.0.as_slice())
            .bind(code.spent_at.map(millis));
        execute(to, add).await?;
    }
    Ok(())
}

async fn add_event(
    to: &mut SqliteConnection,
    key: &AccountKey,
    account: i64,
    event: &AuditEvent,
) -> Result<(), SqliteError> {
    let add = sqlx::query(ADD_EVENT)
        .bind(key.tenant.as_str())
        .bind(account)
        .bind(integer("sequence", event.sequence)?)
        .bind(millis(event.at))
        .bind(event.kind.as_str())
        .bind(event.factor.as_ref().map(FactorId::to_string))
        .bind(&event.actor)
        .bind(json(&event.detail)?)
        .bind(event.previous.0.as_slice())
        .bind(event.hash.0.as_slice());
    execute(to, add).await?;
    Ok(())
}

async fn add_api_key(to: &mut SqliteConnection, key: &ApiKey) -> Result<bool, SqliteError> {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let add = sqlx::query(ADD_API_KEY)
        .bind(key.id.as_str())
        .bind(key.tenant.as_str())
        .bind(scopes.join(" "))
        .bind(key.hash.0.as_slice())
        .bind(millis(key.created_at))
        .bind(key.revoked_at.map(millis));
    Ok(execute(to, add).await? == 1)
}

/// Executes a statement, and tells how many rows it changed.
async fn execute(
    to: &mut SqliteConnection,
    statement: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
) -> Result<u64, SqliteError> {
    Ok(statement.execute(to).await.map_err(SqliteError::from_driver)?.rows_affected())
}

fn json(value: &impl serde::Serialize) -> Result<String, SqliteError> {
    serde_json::to_string(value).map_err(|error| SqliteError::Other(std::sync::Arc::new(error)))
}
