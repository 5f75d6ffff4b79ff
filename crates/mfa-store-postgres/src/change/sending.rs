//! The statement for commits of a login by a sent code: a code was sent, right or wrong.

use crate::writes::Numbers;

use super::usual::{self, won_and_happened};
use super::{ChangeRows, bind_messages};

/// The end of a statement that queues messages: `$arrays` are their columns, and first the numbers of their
/// changes.
macro_rules! queued {
    ($arrays:literal) => {
        concat!(
            "
    queued AS (
        INSERT INTO mfa.messages AS o
            (tenant_id, id, user_id, version, expires_at, state, due_at, tries, last_failure, key, content)
        SELECT w.tenant_id, m.id, m.user_id, 1, m.expires_at, m.state, m.due_at, m.tries, m.last_failure, m.key,
            m.content
        FROM unnest(",
            $arrays,
            ") AS m (number, id, user_id, expires_at, state, due_at, tries, last_failure, key, content)
        JOIN won w ON w.number = m.number
        ORDER BY w.tenant_id, m.id
        ON CONFLICT (tenant_id, id) DO UPDATE
        SET user_id = excluded.user_id, version = o.version + 1, expires_at = excluded.expires_at,
            state = excluded.state, due_at = excluded.due_at, tries = excluded.tries,
            last_failure = excluded.last_failure, key = excluded.key, content = excluded.content
    )
    SELECT number FROM won"
        )
    };
}

pub(super) use queued;

/// Commits a wave as [`USUAL`](super::USUAL) does, of which some changes queue messages.
///
/// [`WHOLE`](super::WHOLE) could do it, too, but most of its parts would have nothing to do.
pub(crate) const SENDING: &str = concat!(
    won_and_happened!(),
    ",",
    queued!(
        "$23::int8[], $24::text[], $25::text[], $26::int8[], $27::text[], $28::int8[], $29::int8[], $30::text[], \
         $31::text[], $32::bytea[]"
    )
);

/// Binds the values of a wave.
pub(super) fn bind<'q>(query: Numbers<'q>, wave: &[&'q ChangeRows]) -> Numbers<'q> {
    bind_messages(usual::bind(query, wave), wave)
}
