//! Commits: many accounts in one statement. Every guard is in a WHERE clause, every verdict from what
//! the statement returns.

use std::collections::HashSet;
use std::sync::Arc;

use mfa_domain::account::{Attempts, BackupCodes};
use mfa_domain::{AccountKey, AuditEvent, BackupCodesChange, Delta, FactorChange, FactorId, Version};
use sqlx::PgConnection;

use crate::PostgresError;
use crate::column::{integer, millis};
use crate::rows::FactorRow;

/// The commits of one wave, in which no account is twice.
///
/// All parts of a statement see the database as it was when the statement began, and a row that
/// another transaction is about to change is waited for. So what makes this right:
///
/// - `changed` compares the version again with the newest row once a wait is over. A version never
///   comes back, so if it is still the expected one, nothing of the account was changed since the
///   statement began, and what the other parts see of it is the truth.
/// - Every other part takes its rows from `won`, so an account that lost is not touched by any.
/// - No row is changed by two parts, which PostgreSQL would not do in any defined order: the changes
///   of one delta are summed up before ([`Change::of`]).
/// - Accounts are in the order of their keys, and with them the locks on their rows, so that two
///   waves never wait for each other.
pub(crate) const COMMIT: &str = "
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(
            $1::text[], $2::text[], $3::int8[], $4::int8[], $5::int8[], $6::text[], $7::int8[], $8::int8[],
            $9::bytea[]
        ) WITH ORDINALITY AS c (
            tenant_id, user_id, version, failures, forgiven, recent_failures, verified_at, audit_sequence,
            audit_hash, number
        )
    ),
    changed AS (
        UPDATE mfa.accounts a
        SET version = a.version + 1, failures = c.failures, forgiven = c.forgiven,
            recent_failures = c.recent_failures::int8[], verified_at = c.verified_at,
            audit_sequence = c.audit_sequence, audit_hash = c.audit_hash
        FROM asked c
        WHERE a.tenant_id = c.tenant_id AND a.user_id = c.user_id AND a.version = c.version
        RETURNING c.number, a.id, a.tenant_id, a.version
    ),
    added AS (
        INSERT INTO mfa.accounts
            (tenant_id, user_id, version, failures, forgiven, recent_failures, verified_at, audit_sequence,
             audit_hash)
        SELECT c.tenant_id, c.user_id, 1, c.failures, c.forgiven, c.recent_failures::int8[], c.verified_at,
            c.audit_sequence, c.audit_hash
        FROM asked c WHERE c.version = 0 ORDER BY c.number
        ON CONFLICT (tenant_id, user_id) DO NOTHING
        RETURNING id, tenant_id, user_id, version
    ),
    won AS MATERIALIZED (
        SELECT number, id, tenant_id, version FROM changed
        UNION ALL
        SELECT c.number, a.id, a.tenant_id, a.version
        FROM added a JOIN asked c ON c.tenant_id = a.tenant_id AND c.user_id = a.user_id
    ),
    factor AS MATERIALIZED (
        SELECT w.id AS account_id, w.version AS added_in, f.*
        FROM unnest(
            $10::int8[], $11::int4[], $12::bool[], $13::text[], $14::text[], $15::text[], $16::text[],
            $17::int8[], $18::text[], $19::int8[], $20::int8[], $21::text[], $22::int2[], $23::int8[],
            $24::int8[], $25::int8[], $26::int2[], $27::int2[], $28::int8[], $29::text[], $30::bytea[]
        ) AS f (
            number, added_as, moved, id, kind, label, state, expires_at, replaces, created_at, last_used_at,
            algorithm, digits, period, t0, last_step, drift, leaning, counter, key_id, secret
        )
        JOIN won w ON w.number = f.number
    ),
    replaced AS (
        UPDATE mfa.factors o
        SET added_in = CASE WHEN f.moved THEN f.added_in ELSE o.added_in END,
            added_as = CASE WHEN f.moved THEN f.added_as ELSE o.added_as END,
            kind = f.kind, label = f.label, state = f.state, expires_at = f.expires_at,
            replaces = f.replaces::uuid, created_at = f.created_at, last_used_at = f.last_used_at,
            algorithm = f.algorithm, digits = f.digits, period = f.period, t0 = f.t0,
            last_step = f.last_step, drift = f.drift, leaning = f.leaning, counter = f.counter,
            key_id = f.key_id, secret = f.secret
        FROM factor f
        WHERE o.account_id = f.account_id AND o.id = f.id::uuid
        RETURNING o.account_id, o.id
    ),
    put AS (
        INSERT INTO mfa.factors
            (account_id, id, added_in, added_as, kind, label, state, expires_at, replaces, created_at,
             last_used_at, algorithm, digits, period, t0, last_step, drift, leaning, counter, key_id, secret)
        SELECT f.account_id, f.id::uuid, f.added_in, f.added_as, f.kind, f.label, f.state, f.expires_at,
            f.replaces::uuid, f.created_at, f.last_used_at, f.algorithm, f.digits, f.period, f.t0,
            f.last_step, f.drift, f.leaning, f.counter, f.key_id, f.secret
        FROM factor f
        WHERE NOT EXISTS (SELECT FROM replaced r WHERE r.account_id = f.account_id AND r.id = f.id::uuid)
    ),
    happened AS (
        INSERT INTO mfa.events
            (tenant_id, account_id, sequence, at, kind, factor_id, actor, detail, previous, hash)
        SELECT w.tenant_id, w.id, e.sequence, e.at, e.kind, e.factor_id::uuid, e.actor, e.detail::jsonb,
            e.previous, e.hash
        FROM unnest(
            $31::int8[], $32::int8[], $33::int8[], $34::text[], $35::text[], $36::text[], $37::text[],
            $38::bytea[], $39::bytea[]
        ) WITH ORDINALITY AS e (number, sequence, at, kind, factor_id, actor, detail, previous, hash, place)
        JOIN won w ON w.number = e.number
        ORDER BY e.place
    )";

/// What only some waves need: factors and backup codes that go, are new, or are spent.
pub(crate) const COMMIT_MORE: &str = ",
    removed AS (
        DELETE FROM mfa.factors o
        USING unnest($40::int8[], $41::text[]) AS r (number, id) JOIN won w ON w.number = r.number
        WHERE o.account_id = w.id AND o.id = r.id::uuid
    ),
    no_codes AS MATERIALIZED (
        SELECT w.id AS account_id, c.kept
        FROM unnest($42::int8[], $43::int4[]) AS c (number, kept) JOIN won w ON w.number = c.number
    ),
    removed_codes AS (
        DELETE FROM mfa.backup_codes o USING no_codes c
        WHERE o.account_id = c.account_id AND o.place >= c.kept
    ),
    removed_sets AS (
        DELETE FROM mfa.backup_code_sets o USING no_codes c WHERE o.account_id = c.account_id AND c.kept = 0
    ),
    issued_sets AS (
        INSERT INTO mfa.backup_code_sets (account_id, scheme, issued_at)
        SELECT w.id, s.scheme, s.issued_at
        FROM unnest($44::int8[], $45::text[], $46::int8[]) AS s (number, scheme, issued_at)
        JOIN won w ON w.number = s.number
        ON CONFLICT (account_id) DO UPDATE SET scheme = excluded.scheme, issued_at = excluded.issued_at
    ),
    issued_codes AS (
        INSERT INTO mfa.backup_codes (account_id, place, hash, spent_at)
        SELECT w.id, c.place, c.hash, c.spent_at
        FROM unnest($47::int8[], $48::int4[], $49::bytea[], $50::int8[]) AS c (number, place, hash, spent_at)
        JOIN won w ON w.number = c.number
        ON CONFLICT (account_id, place) DO UPDATE SET hash = excluded.hash, spent_at = excluded.spent_at
    ),
    spent AS (
        UPDATE mfa.backup_codes o SET spent_at = s.at
        FROM unnest($51::int8[], $52::int4[], $53::int8[]) AS s (number, place, at)
        JOIN won w ON w.number = s.number
        WHERE o.account_id = w.id AND o.place = s.place
    )";

pub(crate) const WINNERS: &str = " SELECT number FROM won";

/// A change of one account, as rows.
pub(crate) struct Change {
    key: AccountKey,
    version: i64,
    failures: i64,
    forgiven: i64,
    recent_failures: String,
    verified_at: Option<i64>,
    audit_sequence: i64,
    audit_hash: [u8; 32],
    factors: Vec<Put>,
    removed: Vec<String>,
    codes: Codes,
    events: Vec<EventRow>,
}

/// A factor to put in place.
struct Put {
    factor: FactorRow,
    /// Its place among the changes of the delta.
    place: i32,
    /// Whether it was taken away before, so that it comes after all others.
    moved: bool,
}

enum Codes {
    Kept,
    Removed,
    Replaced { scheme: String, issued_at: i64, codes: Vec<CodeRow> },
    Spent { place: i32, at: i64 },
}

struct CodeRow {
    place: i32,
    hash: Vec<u8>,
    spent_at: Option<i64>,
}

struct EventRow {
    sequence: i64,
    at: i64,
    kind: String,
    factor: Option<String>,
    actor: String,
    detail: String,
    previous: [u8; 32],
    hash: [u8; 32],
}

impl Change {
    /// Sums up what becomes of each row.
    pub(crate) fn of(key: &AccountKey, expected: Version, delta: &Delta) -> Result<Self, PostgresError> {
        let Attempts { failures, forgiven, recent, verified_at } = delta.attempts();
        let recent: Vec<_> = recent.iter().map(|at| millis(*at).to_string()).collect();
        let version = integer("version", expected.0)?;
        // The next one must be a number too.
        version.checked_add(1).ok_or(PostgresError::TooLarge { column: "version" })?;
        let (factors, removed) = sum_up(delta.factors())?;
        let head = delta.audit_head();
        Ok(Self {
            key: key.clone(),
            version,
            failures: (*failures).into(),
            forgiven: (*forgiven).into(),
            recent_failures: format!("{{{}}}", recent.join(",")),
            verified_at: verified_at.map(millis),
            audit_sequence: integer("audit_sequence", head.sequence)?,
            audit_hash: head.hash.0,
            factors,
            removed,
            codes: Codes::of(delta.backup_codes())?,
            events: delta.events().iter().map(EventRow::of).collect::<Result<_, _>>()?,
        })
    }

    fn needs_more(&self) -> bool {
        !self.removed.is_empty() || !matches!(self.codes, Codes::Kept)
    }
}

fn sum_up(changes: &[FactorChange]) -> Result<(Vec<Put>, Vec<String>), PostgresError> {
    let mut put: Vec<(FactorId, Put)> = Vec::new();
    let mut removed: Vec<FactorId> = Vec::new();
    for (place, change) in (0..).zip(changes) {
        match change {
            FactorChange::Put(factor) => {
                let row = FactorRow::of(factor)?;
                let moved = removed.contains(&factor.id);
                removed.retain(|id| *id != factor.id);
                match put.iter_mut().find(|(id, _)| *id == factor.id) {
                    Some((_, earlier)) => earlier.factor = row,
                    None => put.push((factor.id, Put { factor: row, place, moved })),
                }
            }
            FactorChange::Remove(id) => {
                put.retain(|(put, _)| put != id);
                if !removed.contains(id) {
                    removed.push(*id);
                }
            }
        }
    }
    let removed = removed.iter().map(FactorId::to_string).collect();
    Ok((put.into_iter().map(|(_, put)| put).collect(), removed))
}

impl Codes {
    fn of(change: Option<&BackupCodesChange>) -> Result<Self, PostgresError> {
        let place =
            |place: usize| i32::try_from(place).map_err(|_| PostgresError::TooLarge { column: "place" });
        Ok(match change {
            None => Self::Kept,
            Some(BackupCodesChange::Remove) => Self::Removed,
            Some(BackupCodesChange::Spend { place: at_place, at }) => {
                Self::Spent { place: place(*at_place)?, at: millis(*at) }
            }
            Some(BackupCodesChange::Replace(BackupCodes { scheme, codes, issued_at })) => {
                let codes = codes.iter().enumerate().map(|(n, code)| {
                    Ok(CodeRow {
                        place: place(n)?,
                        hash: code.hash.0.clone(),
                        spent_at: code.spent_at.map(millis),
                    })
                });
                let codes = codes.collect::<Result<_, PostgresError>>()?;
                Self::Replaced { scheme: scheme.clone(), issued_at: millis(*issued_at), codes }
            }
        })
    }
}

impl EventRow {
    fn of(event: &AuditEvent) -> Result<Self, PostgresError> {
        Ok(Self {
            sequence: integer("sequence", event.sequence)?,
            at: millis(event.at),
            kind: event.kind.as_str().to_owned(),
            factor: event.factor.as_ref().map(FactorId::to_string),
            actor: event.actor.clone(),
            detail: serde_json::to_string(&event.detail).map_err(PostgresError::other)?,
            previous: event.previous.0,
            hash: event.hash.0,
        })
    }
}

/// Makes changes, each of them whole or not at all; tells for each whether it won.
///
/// A change that cannot be made fails alone: nobody must fail for what another one asked. But it is
/// only tried again where the server said that it has changed nothing.
pub(crate) async fn commit_all(
    on: &mut PgConnection,
    changes: &[Arc<Change>],
) -> Vec<Result<bool, PostgresError>> {
    let mut results = Vec::with_capacity(changes.len());
    while let Some(rest) = changes.get(results.len()..).filter(|rest| !rest.is_empty()) {
        let wave = wave(rest);
        match commit(on, &wave).await {
            Ok(won) => results.extend(won.into_iter().map(Ok)),
            Err(error) if wave.len() > 1 && error.changed_nothing() => {
                for change in wave {
                    results.push(commit(on, &[change]).await.map(|won| won == [true]));
                }
            }
            Err(error) => results.extend(wave.iter().map(|_| Err(error.clone()))),
        }
    }
    results
}

/// The changes at the beginning that can be made at once: of no account two. Of two at the same
/// version of one account the second must see what the first has done.
fn wave(changes: &[Arc<Change>]) -> Vec<&Change> {
    let mut accounts = HashSet::new();
    changes.iter().map(AsRef::as_ref).take_while(|change: &&Change| accounts.insert(&change.key)).collect()
}

async fn commit(on: &mut PgConnection, changes: &[&Change]) -> Result<Vec<bool>, PostgresError> {
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|n| &changes[*n].key);
    let wave: Vec<&Change> = order.iter().map(|n| changes[*n]).collect();
    let more = wave.iter().any(|change| change.needs_more());
    let query = bind_factors_and_events(bind_accounts(statement(more), &wave), &wave);
    let query = if more { bind_more(query, &wave) } else { query };
    // All rows, not the first: rows may be sent before the transaction is committed, and the end of them
    // only after it. So whoever stops reading early may take for made what never was.
    let winners = query.fetch_all(on).await.map_err(PostgresError::from_driver)?;
    let mut won = vec![false; changes.len()];
    for number in winners {
        let place = usize::try_from(number - 1).ok().and_then(|place| order.get(place));
        *place.and_then(|place| won.get_mut(*place)).ok_or_else(unexpected)? = true;
    }
    Ok(won)
}

fn unexpected() -> PostgresError {
    PostgresError::other(std::io::Error::other("the database returned a row that was not asked for"))
}

type Query<'q> = sqlx::query::QueryScalar<'q, sqlx::Postgres, i64, sqlx::postgres::PgArguments>;

/// The statement of a wave: most need the shorter one.
fn statement(more: bool) -> Query<'static> {
    static SHORT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("{COMMIT}{WINNERS}"));
    static LONG: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| format!("{COMMIT}{COMMIT_MORE}{WINNERS}"));
    sqlx::query_scalar(sqlx::AssertSqlSafe(if more { LONG.as_str() } else { SHORT.as_str() }))
}

fn bind_accounts<'q>(query: Query<'q>, wave: &[&'q Change]) -> Query<'q> {
    query
        .bind(column(wave, |c| c.key.tenant.as_str()))
        .bind(column(wave, |c| c.key.user.as_str()))
        .bind(column(wave, |c| c.version))
        .bind(column(wave, |c| c.failures))
        .bind(column(wave, |c| c.forgiven))
        .bind(column(wave, |c| c.recent_failures.as_str()))
        .bind(column(wave, |c| c.verified_at))
        .bind(column(wave, |c| c.audit_sequence))
        .bind(column(wave, |c| c.audit_hash.as_slice()))
}

fn bind_factors_and_events<'q>(query: Query<'q>, wave: &[&'q Change]) -> Query<'q> {
    let puts = numbered(wave, |change| &change.factors);
    let events = numbered(wave, |change| &change.events);
    query
        .bind(column(&puts, |(number, _)| number))
        .bind(column(&puts, |(_, put)| put.place))
        .bind(column(&puts, |(_, put)| put.moved))
        .bind(column(&puts, |(_, put)| put.factor.id.as_deref()))
        .bind(column(&puts, |(_, put)| put.factor.kind.as_deref()))
        .bind(column(&puts, |(_, put)| put.factor.label.as_deref()))
        .bind(column(&puts, |(_, put)| put.factor.state.as_deref()))
        .bind(column(&puts, |(_, put)| put.factor.expires_at))
        .bind(column(&puts, |(_, put)| put.factor.replaces.as_deref()))
        .bind(column(&puts, |(_, put)| put.factor.created_at))
        .bind(column(&puts, |(_, put)| put.factor.last_used_at))
        .bind(column(&puts, |(_, put)| put.factor.algorithm.as_deref()))
        .bind(column(&puts, |(_, put)| put.factor.digits))
        .bind(column(&puts, |(_, put)| put.factor.period))
        .bind(column(&puts, |(_, put)| put.factor.t0))
        .bind(column(&puts, |(_, put)| put.factor.last_step))
        .bind(column(&puts, |(_, put)| put.factor.drift))
        .bind(column(&puts, |(_, put)| put.factor.leaning))
        .bind(column(&puts, |(_, put)| put.factor.counter))
        .bind(column(&puts, |(_, put)| put.factor.key_id.as_deref()))
        .bind(column(&puts, |(_, put)| put.factor.secret.as_deref()))
        .bind(column(&events, |(number, _)| number))
        .bind(column(&events, |(_, event)| event.sequence))
        .bind(column(&events, |(_, event)| event.at))
        .bind(column(&events, |(_, event)| event.kind.as_str()))
        .bind(column(&events, |(_, event)| event.factor.as_deref()))
        .bind(column(&events, |(_, event)| event.actor.as_str()))
        .bind(column(&events, |(_, event)| event.detail.as_str()))
        .bind(column(&events, |(_, event)| event.previous.as_slice()))
        .bind(column(&events, |(_, event)| event.hash.as_slice()))
}

fn bind_more<'q>(query: Query<'q>, wave: &[&'q Change]) -> Query<'q> {
    let removed = numbered(wave, |change| &change.removed);
    let mut shortened: Vec<(i64, i32)> = Vec::new();
    let mut sets: Vec<(i64, &str, i64)> = Vec::new();
    let mut codes: Vec<(i64, &CodeRow)> = Vec::new();
    let mut spent: Vec<(i64, i32, i64)> = Vec::new();
    for (number, change) in (1..).zip(wave) {
        match &change.codes {
            Codes::Kept => {}
            Codes::Removed => shortened.push((number, 0)),
            Codes::Spent { place, at } => spent.push((number, *place, *at)),
            Codes::Replaced { scheme, issued_at, codes: new } => {
                sets.push((number, scheme, *issued_at));
                codes.extend(new.iter().map(|code| (number, code)));
                shortened.push((number, new.last().map_or(i32::MIN, |code| code.place + 1)));
            }
        }
    }
    query
        .bind(column(&removed, |(number, _)| number))
        .bind(column(&removed, |(_, id)| id.as_str()))
        .bind(column(&shortened, |(number, _)| number))
        .bind(column(&shortened, |(_, kept)| kept))
        .bind(column(&sets, |(number, ..)| number))
        .bind(column(&sets, |(_, scheme, _)| scheme))
        .bind(column(&sets, |(.., issued_at)| issued_at))
        .bind(column(&codes, |(number, _)| number))
        .bind(column(&codes, |(_, code)| code.place))
        .bind(column(&codes, |(_, code)| code.hash.as_slice()))
        .bind(column(&codes, |(_, code)| code.spent_at))
        .bind(column(&spent, |(number, ..)| number))
        .bind(column(&spent, |(_, place, _)| place))
        .bind(column(&spent, |(.., at)| at))
}

/// One column of many rows.
fn column<T: Copy, V>(rows: &[T], value: impl Fn(T) -> V) -> Vec<V> {
    rows.iter().copied().map(value).collect()
}

/// What belongs to each change, with the number of the change as the statement counts them.
fn numbered<'a, T>(wave: &[&'a Change], of: impl Fn(&'a Change) -> &'a Vec<T>) -> Vec<(i64, &'a T)> {
    (1..)
        .zip(wave)
        .flat_map(move |(number, change)| of(change).iter().map(move |item| (number, item)))
        .collect()
}
