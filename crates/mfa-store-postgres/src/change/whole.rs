//! The statement for commits of every kind.

use crate::transaction::by_itself;
use crate::writes::{Numbers, column};

use super::sending::queued;
use super::{Arrays, ChangeRows, CodeSetRow, Codes, bind_attempts, bind_messages, numbered};

/// Commits a wave of changes: new accounts, any number of events, backup codes, handles, messages.
///
/// The rules of [`USUAL`](super::USUAL) apply: the `UPDATE` compares the version, and every other part takes
/// its rows from `won`. No row is changed by two parts: PostgreSQL would not do that in a defined order.
///
/// Rows are locked in the order of their keys. An insert of an account that already exists waits for nothing,
/// whoever is changing that account.
pub(crate) const WHOLE: &str = concat!(
    "
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(
            $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::int4[], $8::int4[], $9::int8[], $10::int8[], $11::int8[],
            $13::int8[], $14::bytea[], $15::text[], $16::text[], $17::bytea[], $18::text[]
        ) WITH ORDINALITY AS c (
            tenant_id, user_id, version, failures, forgiven, first_failure, last_failure,
            verified_low, verified_medium, verified_high,
            audit_sequence, audit_hash, factors, sealed_with, answers, data, number
        )
        WHERE (SELECT set_config('synchronous_commit', 'on', true) || set_config('lock_timeout', $1, true)) <> ''
          AND ",
    by_itself!(),
    "
    ),
    changed AS (
        UPDATE mfa.accounts a
        SET version = a.version + 1, failures = c.failures, forgiven = c.forgiven,
            recent_failures = nullif(($12::int8[])[c.first_failure:c.last_failure], '{}'),
            verified_low = c.verified_low, verified_medium = c.verified_medium, verified_high = c.verified_high,
            audit_sequence = c.audit_sequence, audit_hash = c.audit_hash,
            factors = coalesce(c.factors::json, a.factors),
            sealed_with = CASE WHEN c.factors IS NULL THEN a.sealed_with ELSE c.sealed_with END,
            answers = coalesce(c.answers, a.answers), data = coalesce(c.data::jsonb, a.data)
        FROM asked c
        WHERE a.tenant_id = c.tenant_id AND a.user_id = c.user_id AND a.version = c.version
        RETURNING c.number, a.id, a.tenant_id, a.version
    ),
    added AS (
        INSERT INTO mfa.accounts
            (tenant_id, user_id, version, failures, forgiven, recent_failures, verified_low, verified_medium,
             verified_high, audit_sequence, audit_hash, factors, sealed_with, answers, data)
        SELECT c.tenant_id, c.user_id, 1, c.failures, c.forgiven,
            nullif(($12::int8[])[c.first_failure:c.last_failure], '{}'), c.verified_low, c.verified_medium,
            c.verified_high, c.audit_sequence, c.audit_hash, coalesce(c.factors, '[]')::json, c.sealed_with,
            c.answers, c.data::jsonb
        FROM asked c
        WHERE c.version = 0 AND NOT EXISTS (
            SELECT FROM mfa.accounts a WHERE a.tenant_id = c.tenant_id AND a.user_id = c.user_id)
        ORDER BY c.number
        ON CONFLICT (tenant_id, user_id) DO NOTHING
        RETURNING id, tenant_id, user_id, version
    ),
    won AS MATERIALIZED (
        SELECT number, id, tenant_id, version FROM changed
        UNION ALL
        SELECT c.number, a.id, a.tenant_id, a.version
        FROM added a JOIN asked c ON c.tenant_id = a.tenant_id AND c.user_id = a.user_id
    ),
    happened AS (
        INSERT INTO mfa.events
            (tenant_id, account_id, sequence, at, kind, factor_id, actor, detail, previous, hash)
        SELECT w.tenant_id, w.id, e.sequence, e.at, e.kind, e.factor_id::uuid, e.actor, e.detail::jsonb,
            e.previous, e.hash
        FROM unnest(
            $19::int8[], $20::int8[], $21::int8[], $22::text[], $23::text[], $24::text[], $25::text[],
            $26::bytea[], $27::bytea[]
        ) WITH ORDINALITY AS e (number, sequence, at, kind, factor_id, actor, detail, previous, hash, place)
        JOIN won w ON w.number = e.number
        ORDER BY e.place
    ),
    removed_sets AS (
        DELETE FROM mfa.backup_code_sets o
        USING unnest($28::int8[]) AS r (number) JOIN won w ON w.number = r.number
        WHERE o.account_id = w.id
    ),
    issued_sets AS (
        INSERT INTO mfa.backup_code_sets (account_id, scheme, issued_at, count, hashes, spent_at)
        SELECT w.id, s.scheme, s.issued_at, s.count, s.hashes, nullif(($36::int8[])[s.first:s.last], '{}')
        FROM unnest($29::int8[], $30::text[], $31::int8[], $32::int2[], $33::bytea[], $34::int4[], $35::int4[])
            AS s (number, scheme, issued_at, count, hashes, first, last)
        JOIN won w ON w.number = s.number
        ON CONFLICT (account_id) DO UPDATE
        SET scheme = excluded.scheme, issued_at = excluded.issued_at, count = excluded.count,
            hashes = excluded.hashes, spent_at = excluded.spent_at
    ),
    spent AS (
        UPDATE mfa.backup_code_sets o SET spent_at = (
            SELECT b.spent_at[:s.place] || s.at || b.spent_at[s.place + 2:]
            FROM (SELECT coalesce(o.spent_at, array_fill(NULL::int8, ARRAY[o.count::int4]))) AS b (spent_at))
        FROM unnest($37::int8[], $38::int4[], $39::int8[]) AS s (number, place, at)
        JOIN won w ON w.number = s.number
        WHERE o.account_id = w.id AND s.place < o.count
    ),
    claimed AS (
        INSERT INTO mfa.handles (tenant_id, handle, account_id)
        SELECT w.tenant_id, h.handle, w.id
        FROM unnest($40::int8[], $41::bytea[]) AS h (number, handle) JOIN won w ON w.number = h.number
        WHERE NOT EXISTS (
            SELECT FROM mfa.handles o
            WHERE o.tenant_id = w.tenant_id AND o.handle = h.handle AND o.account_id = w.id)
        ORDER BY w.tenant_id, h.handle
    ),
    released AS (
        DELETE FROM mfa.handles o
        USING unnest($42::int8[], $43::bytea[]) AS h (number, handle) JOIN won w ON w.number = h.number
        WHERE o.tenant_id = w.tenant_id AND o.handle = h.handle AND o.account_id = w.id
    ),
    ",
    queued!(
        "$44::int8[], $45::text[], $46::text[], $47::int8[], $48::text[], $49::int8[], $50::int8[], $51::text[], \
         $52::text[], $53::bytea[]"
    )
);

/// Binds the values of a wave.
pub(super) fn bind<'q>(query: Numbers<'q>, wave: &[&'q ChangeRows]) -> Numbers<'q> {
    let query = bind_accounts(query, wave);
    let query = bind_codes(bind_events(query, wave), wave);
    let claimed = numbered(wave, |change| &change.claimed);
    let released = numbered(wave, |change| &change.released);
    let query = query
        .bind(column(&claimed, |(number, _)| number))
        .bind(column(&claimed, |(_, handle)| handle.as_slice()))
        .bind(column(&released, |(number, _)| number))
        .bind(column(&released, |(_, handle)| handle.as_slice()));
    bind_messages(query, wave)
}

fn bind_accounts<'q>(query: Numbers<'q>, wave: &[&'q ChangeRows]) -> Numbers<'q> {
    bind_attempts(query, wave)
        .bind(column(wave, |c| c.audit_sequence))
        .bind(column(wave, |c| c.audit_hash.as_slice()))
        .bind(column(wave, |c| Some(c.factors.as_ref()?.factors.as_str())))
        .bind(column(wave, |c| c.factors.as_ref()?.sealed_with.as_deref()))
        .bind(column(wave, |c| c.answers.as_deref()))
        .bind(column(wave, |c| c.data.as_deref()))
}

fn bind_events<'q>(query: Numbers<'q>, wave: &[&'q ChangeRows]) -> Numbers<'q> {
    let events = numbered(wave, |change| &change.events);
    query
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

fn bind_codes<'q>(query: Numbers<'q>, wave: &[&'q ChangeRows]) -> Numbers<'q> {
    let mut no_codes: Vec<i64> = Vec::new();
    let mut sets: Vec<(i64, &CodeSetRow)> = Vec::new();
    let mut spent: Vec<(i64, i32, i64)> = Vec::new();
    for (number, change) in (1..).zip(wave) {
        match &change.codes {
            Codes::Kept => {}
            Codes::Removed => no_codes.push(number),
            Codes::Spent { place, at } => spent.push((number, *place, *at)),
            Codes::Replaced(set) => sets.push((number, set)),
        }
    }
    let spent_before = Arrays::of(sets.iter().map(|(_, set)| &set.spent_at));
    query
        .bind(no_codes)
        .bind(column(&sets, |(number, _)| number))
        .bind(column(&sets, |(_, set)| set.scheme.as_str()))
        .bind(column(&sets, |(_, set)| set.issued_at))
        .bind(column(&sets, |(_, set)| set.count))
        .bind(column(&sets, |(_, set)| set.hashes.as_slice()))
        .bind(spent_before.first)
        .bind(spent_before.last)
        .bind(column(&spent_before.items, |at| *at))
        .bind(column(&spent, |(number, ..)| number))
        .bind(column(&spent, |(_, place, _)| place))
        .bind(column(&spent, |(.., at)| at))
}
