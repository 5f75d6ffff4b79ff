//! The statement for the most frequent commits: a code was right or wrong.

use crate::writes::{Numbers, column};

use super::{ChangeRows, bind_attempts};

/// What [`USUAL`] and [`SENDING`](super::SENDING) begin with: the accounts and their events.
macro_rules! won_and_happened {
    () => {
        concat!(
            "
    WITH won AS MATERIALIZED (
        UPDATE mfa.accounts a
        SET version = a.version + 1, failures = c.failures, forgiven = c.forgiven,
            recent_failures = nullif(($12::int8[])[c.first_failure:c.last_failure], '{}'),
            verified_low = c.verified_low, verified_medium = c.verified_medium, verified_high = c.verified_high,
            audit_sequence = c.sequence, audit_hash = c.hash,
            factors = coalesce(c.factors::json, a.factors),
            sealed_with = CASE WHEN c.factors IS NULL THEN a.sealed_with ELSE c.sealed_with END
        FROM unnest(
            $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::int4[], $8::int4[], $9::int8[], $10::int8[], $11::int8[],
            $13::text[], $14::text[],
            $15::int8[], $16::int8[], $17::text[], $18::text[], $19::text[], $20::text[], $21::bytea[], $22::bytea[]
        ) WITH ORDINALITY AS c (
            tenant_id, user_id, version, failures, forgiven, first_failure, last_failure,
            verified_low, verified_medium, verified_high,
            factors, sealed_with,
            sequence, at, kind, factor_id, actor, detail, previous, hash, number
        )
        WHERE (SELECT set_config('synchronous_commit', 'on', true) || set_config('lock_timeout', $1, true)) <> ''
          AND ",
            crate::transaction::by_itself!(),
            "
          AND a.tenant_id = c.tenant_id AND a.user_id = c.user_id AND a.version = c.version
        RETURNING a.id AS account_id, c.tenant_id, c.sequence, c.at, c.kind, c.factor_id, c.actor, c.detail,
            c.previous, c.hash, c.number
    ),
    happened AS (
        INSERT INTO mfa.events
            (tenant_id, account_id, sequence, at, kind, factor_id, actor, detail, previous, hash)
        SELECT tenant_id, account_id, sequence, at, kind, factor_id::uuid, actor, detail::jsonb, previous,
            hash
        FROM won ORDER BY number
    )"
        )
    };
}

pub(super) use won_and_happened;

/// Commits a wave of changes, each of a different, existing account, with one event each.
///
/// All parts of a statement see the database as it was when the statement began, and a row that another
/// transaction is changing is waited for. The result is correct for these reasons:
///
/// - After a wait, `won` compares the version again with the newest row. A version never returns, so if it is
///   still the expected one, the account has not changed since the statement began, and the other parts see
///   its current state.
/// - Every other part takes its rows from `won`, so no part touches an account that lost. All values go
///   through `won`, since joining a second list would compare every row with every other.
/// - Accounts, and with them the locks on their rows, are in the order of their keys, so that two waves never
///   deadlock.
/// - It waits for the disk, and for locks within the given limit, whatever the session is set to: both are
///   set before the first row is touched, and last until the transaction ends.
pub(crate) const USUAL: &str = concat!(
    won_and_happened!(),
    "
    SELECT number FROM won"
);

/// Binds the values of a wave.
pub(super) fn bind<'q>(query: Numbers<'q>, wave: &[&'q ChangeRows]) -> Numbers<'q> {
    let events: Vec<_> = wave.iter().flat_map(|change| &change.events).collect();
    bind_attempts(query, wave)
        .bind(column(wave, |c| Some(c.factors.as_ref()?.factors.as_str())))
        .bind(column(wave, |c| c.factors.as_ref()?.sealed_with.as_deref()))
        .bind(column(&events, |event| event.sequence))
        .bind(column(&events, |event| event.at))
        .bind(column(&events, |event| event.kind.as_str()))
        .bind(column(&events, |event| event.factor.as_deref()))
        .bind(column(&events, |event| event.actor.as_str()))
        .bind(column(&events, |event| event.detail.as_str()))
        .bind(column(&events, |event| event.previous.as_slice()))
        .bind(column(&events, |event| event.hash.as_slice()))
}
