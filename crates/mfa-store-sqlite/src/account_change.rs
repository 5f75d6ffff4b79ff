//! Changes of accounts, many in a few statements. Every guard is in a WHERE clause; every verdict comes from
//! the rows that the statement returns.

use std::collections::HashMap;

use data_encoding::HEXUPPER;
use mfa_domain::account::{Attempts, BackupCodes};
use mfa_domain::{AccountKey, AuditEvent, BackupCodesChange, Data, Delta, FactorId, HandleChange, Version};
use mfa_rows::{FactorsColumns, integer, millis};
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::change::{Outcome, execute, json};
use crate::{SqliteError, outbox};

/// A whole wave of changes is one JSON array, and each of these statements applies all of it.
///
/// For version zero: the account is new. An existing one, at any version, is a conflict.
pub(crate) const NEW_ACCOUNTS: &str = "
    INSERT INTO accounts
        (tenant, user, version, failures, forgiven, recent_failures, verified_low, verified_medium, verified_high,
         audit_sequence, audit_hash, sealed_with, factors, answers, data)
    SELECT
        c.value ->> 'tenant', c.value ->> 'user', 1, c.value ->> 'failures', c.value ->> 'forgiven',
        c.value ->> 'recent_failures', c.value ->> 'verified_low', c.value ->> 'verified_medium',
        c.value ->> 'verified_high', c.value ->> 'audit_sequence', unhex(c.value ->> 'audit_hash'),
        c.value ->> 'sealed_with', coalesce(c.value ->> 'factors', '[]'), unhex(c.value ->> 'answers'),
        c.value ->> 'data'
    FROM json_each(?) c WHERE true
    ON CONFLICT (tenant, user) DO NOTHING
    RETURNING id, tenant, user, sealed_with";

/// Returns the keys of the secrets as they were before.
pub(crate) const CHANGE_ACCOUNTS: &str = "
    UPDATE accounts
    SET failures = c.value ->> 'failures', forgiven = c.value ->> 'forgiven',
        recent_failures = c.value ->> 'recent_failures', verified_low = c.value ->> 'verified_low',
        verified_medium = c.value ->> 'verified_medium', verified_high = c.value ->> 'verified_high',
        audit_sequence = c.value ->> 'audit_sequence', audit_hash = unhex(c.value ->> 'audit_hash'),
        factors = coalesce(c.value ->> 'factors', factors),
        answers = coalesce(unhex(c.value ->> 'answers'), answers), data = coalesce(c.value ->> 'data', data),
        version = version + 1
    FROM json_each(?) c
    WHERE tenant = c.value ->> 'tenant' AND user = c.value ->> 'user' AND version = c.value ->> 'version'
    RETURNING id, tenant, user, sealed_with";

/// For accounts whose keys change, which are few: SQLite writes an index whenever a statement sets its
/// column, even to the same value.
pub(crate) const CHANGE_KEYS: &str = "
    UPDATE accounts SET sealed_with = c.value ->> 1 FROM json_each(?) c WHERE accounts.id = c.value ->> 0";

pub(crate) const ADD_EVENTS: &str = "
    INSERT INTO events (tenant, account, sequence, at, kind, factor, actor, detail, previous, hash)
    SELECT
        e.value ->> 'tenant', e.value ->> 'account', e.value ->> 'sequence', e.value ->> 'at',
        e.value ->> 'kind', e.value ->> 'factor', e.value ->> 'actor', e.value ->> 'detail',
        unhex(e.value ->> 'previous'), unhex(e.value ->> 'hash')
    FROM json_each(?) e ORDER BY e.key";

/// No other account has the handle: that was checked in the same transaction.
pub(crate) const CLAIM_HANDLE: &str =
    "INSERT INTO handles (tenant, handle, account) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";

pub(crate) const RELEASE_HANDLE: &str = "DELETE FROM handles WHERE tenant = ? AND handle = ? AND account = ?";

/// The user of a handle.
pub(crate) const HANDLE_OWNER: &str = "
    SELECT a.user FROM handles h JOIN accounts a ON a.id = h.account WHERE h.tenant = ? AND h.handle = ?";

/// A cascade deletes the codes of the set.
pub(crate) const REMOVE_CODES: &str = "DELETE FROM backup_code_sets WHERE account = ?";

pub(crate) const ADD_CODE_SET: &str =
    "INSERT INTO backup_code_sets (account, scheme, issued_at) VALUES (?, ?, ?)";

pub(crate) const ADD_CODE: &str =
    "INSERT INTO backup_codes (account, place, hash, spent_at) VALUES (?, ?, ?, ?)";

pub(crate) const SPEND_CODE: &str = "UPDATE backup_codes SET spent_at = ? WHERE account = ? AND place = ?";

/// A change of one account.
pub(crate) struct AccountChange {
    pub(crate) key: AccountKey,
    expected: Version,
    pub(crate) delta: Delta,
    /// `None` keeps the stored factors. Encoded before the change is queued, since all changes wait for the
    /// writer.
    factors: Option<FactorsColumns>,
}

impl AccountChange {
    pub(crate) fn of(key: &AccountKey, expected: Version, delta: &Delta) -> Result<Self, SqliteError> {
        let factors = delta.factors().map(FactorsColumns::of).transpose()?;
        Ok(Self { key: key.clone(), expected, delta: delta.clone(), factors })
    }

    /// Makes the change, unless it claims a handle of another account.
    pub(crate) async fn make_alone(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        if self.claims_another_accounts(to).await? {
            return Ok(Outcome::HandleTaken);
        }
        Ok(Outcome::of(change_accounts(to, &[self]).await? == [true]))
    }

    async fn claims_another_accounts(&self, to: &mut SqliteConnection) -> Result<bool, SqliteError> {
        for change in self.delta.handles() {
            let HandleChange::Claim(handle) = change else { continue };
            let owner =
                sqlx::query_scalar(HANDLE_OWNER).bind(self.key.tenant.as_str()).bind(handle.as_bytes());
            let owner: Option<Vec<u8>> =
                owner.fetch_optional(&mut *to).await.map_err(SqliteError::from_driver)?;
            if owner.is_some_and(|owner| owner != self.key.user.as_str().as_bytes()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Makes changes of different accounts whose handles are known to be free; returns which were made.
pub(crate) async fn change_accounts(
    to: &mut SqliteConnection,
    changes: &[&AccountChange],
) -> Result<Vec<bool>, SqliteError> {
    let swapped = swap_versions(to, changes).await?;
    let swapped: HashMap<_, _> =
        swapped.iter().map(|row| ((row.tenant.as_str(), row.user.as_str()), row)).collect();
    let won = |change: &AccountChange| {
        swapped.get(&(change.key.tenant.as_str(), change.key.user.as_str())).copied()
    };
    let mut keys = Vec::new();
    let mut events = Vec::new();
    for change in changes {
        let Some(&Swapped { id: account, ref sealed_with, .. }) = won(change) else { continue };
        if let Some(factors) = change.factors.as_ref().filter(|factors| factors.sealed_with != *sealed_with) {
            keys.push((account, factors.sealed_with.as_deref()));
        }
        if let Some(codes) = change.delta.backup_codes() {
            change_codes(to, account, codes).await?;
        }
        for handle in change.delta.handles() {
            let (statement, handle) = match handle {
                HandleChange::Claim(handle) => (CLAIM_HANDLE, handle),
                HandleChange::Release(handle) => (RELEASE_HANDLE, handle),
            };
            let tenant = change.key.tenant.as_str();
            execute(to, sqlx::query(statement).bind(tenant).bind(handle.as_bytes()).bind(account)).await?;
        }
        for message in change.delta.messages() {
            outbox::put(to, message).await?;
        }
        for event in change.delta.events() {
            events.push(NewEvent::of(&change.key, account, event)?);
        }
    }
    if !keys.is_empty() {
        execute(to, sqlx::query(CHANGE_KEYS).bind(json(&keys)?)).await?;
    }
    execute(to, sqlx::query(ADD_EVENTS).bind(json(&events)?)).await?;
    Ok(changes.iter().map(|change| won(change).is_some()).collect())
}

/// Compares and swaps versions; returns the accounts whose version was the expected one.
async fn swap_versions(
    to: &mut SqliteConnection,
    changes: &[&AccountChange],
) -> Result<Vec<Swapped>, SqliteError> {
    let (new, known): (Vec<_>, Vec<_>) =
        changes.iter().partition(|change| change.expected == Version::default());
    let mut swapped = Vec::new();
    for (statement, changes) in [(NEW_ACCOUNTS, new), (CHANGE_ACCOUNTS, known)] {
        if !changes.is_empty() {
            let rows = changes.into_iter().map(SwapRow::of).collect::<Result<Vec<_>, _>>()?;
            let swap = sqlx::query_as(statement).bind(json(&rows)?);
            swapped.extend(swap.fetch_all(&mut *to).await.map_err(SqliteError::from_driver)?);
        }
    }
    Ok(swapped)
}

/// An account whose version was swapped.
#[derive(sqlx_macros::FromRow)]
struct Swapped {
    id: i64,
    tenant: String,
    user: String,
    sealed_with: Option<String>,
}

/// The values of a swap.
#[derive(Serialize)]
struct SwapRow<'a> {
    tenant: &'a str,
    user: &'a str,
    version: i64,
    failures: u32,
    forgiven: u32,
    recent_failures: String,
    verified_low: Option<i64>,
    verified_medium: Option<i64>,
    verified_high: Option<i64>,
    audit_sequence: i64,
    audit_hash: String,
    /// Also `None` if the factors do not change.
    sealed_with: Option<&'a str>,
    /// `None` keeps the stored factors.
    factors: Option<&'a str>,
    /// `None` keeps the stored answers.
    answers: Option<String>,
    /// `None` keeps the stored data.
    data: Option<&'a str>,
}

impl<'a> SwapRow<'a> {
    fn of(change: &'a AccountChange) -> Result<Self, SqliteError> {
        let AccountChange { key, expected, delta, factors } = change;
        let Attempts { failures, forgiven, recent, verified } = delta.attempts();
        let recent: Vec<i64> = recent.iter().map(|at| millis(*at)).collect();
        let head = delta.audit_head();
        Ok(Self {
            tenant: key.tenant.as_str(),
            user: key.user.as_str(),
            version: integer("version", expected.0)?,
            failures: *failures,
            forgiven: *forgiven,
            recent_failures: json(&recent)?,
            verified_low: verified.low.map(millis),
            verified_medium: verified.medium.map(millis),
            verified_high: verified.high.map(millis),
            audit_sequence: integer("audit_sequence", head.sequence)?,
            audit_hash: HEXUPPER.encode(&head.hash.0),
            sealed_with: factors.as_ref().and_then(|factors| factors.sealed_with.as_deref()),
            factors: factors.as_ref().map(|factors| factors.factors.as_str()),
            answers: delta.answers().map(|answers| HEXUPPER.encode(&answers.to_bytes())),
            data: delta.data().map(Data::as_str),
        })
    }
}

#[derive(Serialize)]
struct NewEvent<'a> {
    tenant: &'a str,
    account: i64,
    sequence: i64,
    at: i64,
    kind: &'a str,
    factor: Option<String>,
    actor: &'a str,
    detail: String,
    previous: String,
    hash: String,
}

impl<'a> NewEvent<'a> {
    fn of(key: &'a AccountKey, account: i64, event: &'a AuditEvent) -> Result<Self, SqliteError> {
        Ok(Self {
            tenant: key.tenant.as_str(),
            account,
            sequence: integer("sequence", event.sequence)?,
            at: millis(event.at),
            kind: event.kind.as_str(),
            factor: event.factor.as_ref().map(FactorId::to_string),
            actor: &event.actor,
            detail: json(&event.detail)?,
            previous: HEXUPPER.encode(&event.previous.0),
            hash: HEXUPPER.encode(&event.hash.0),
        })
    }
}

async fn change_codes(
    to: &mut SqliteConnection,
    account: i64,
    change: &BackupCodesChange,
) -> Result<(), SqliteError> {
    match change {
        BackupCodesChange::Spend { place, at } => {
            let place = integer("place", *place as u64)?;
            execute(to, sqlx::query(SPEND_CODE).bind(millis(*at)).bind(account).bind(place)).await?;
        }
        BackupCodesChange::Remove => {
            execute(to, sqlx::query(REMOVE_CODES).bind(account)).await?;
        }
        BackupCodesChange::Replace(set) => {
            execute(to, sqlx::query(REMOVE_CODES).bind(account)).await?;
            add_codes(to, account, set).await?;
        }
    }
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
