//! Reading the audit trail.

use std::time::Duration;

use mfa_domain::ports::{AccountPlace, EventPage, EventQuery, RecordedEvent, UnreadableEvent};
use mfa_rows::{EventColumns, Row};
use sqlx::PgConnection;
use tokio::time::Instant;

use crate::PostgresError;

/// The last assigned event id; 0 if there is none. `last_value` of a new sequence is 1, which is not assigned
/// yet.
pub(crate) const LAST_ID: &str =
    "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM mfa.events_id_seq";

/// The open transactions that may have written events. A transaction that writes to a table holds a lock of
/// this mode on it from before the first row until its end.
pub(crate) const WRITERS: &str = "
    SELECT virtualtransaction, coalesce(pid, 0) FROM pg_catalog.pg_locks
    WHERE locktype = 'relation' AND relation = 'mfa.events'::regclass AND mode = 'RowExclusiveLock'
      AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND granted";

pub(crate) const EVENTS_OF_TENANT: &str = "
    SELECT e.id, (SELECT a.user_id FROM mfa.accounts a WHERE a.id = e.account_id) AS user_id, e.account_id,
        e.sequence, e.at, e.kind, e.factor_id::text AS factor_id, e.actor, e.detail::text AS detail,
        e.previous, e.hash
    FROM mfa.events e
    WHERE e.tenant_id = $1 AND e.id > $2 AND e.id <= $3
    ORDER BY e.id LIMIT $4";

/// A page of one account's events. Within one account, sequence numbers grow as ids do, and an index has them
/// in order.
///
/// An event whose row names another tenant is left out: that tenant does not see it either. The condition is
/// written so that no index serves it; otherwise the planner could choose the index of tenants.
pub(crate) const EVENTS_OF_USER: &str = "
    SELECT e.id, $5 AS user_id, e.account_id, e.sequence, e.at, e.kind, e.factor_id::text AS factor_id, e.actor,
        e.detail::text AS detail, e.previous, e.hash
    FROM mfa.events e
    WHERE e.account_id = (SELECT a.id FROM mfa.accounts a WHERE a.tenant_id = $1 AND a.user_id = $5)
      AND e.id > $2 AND e.id <= $3 AND e.tenant_id IS NOT DISTINCT FROM $1
    ORDER BY e.sequence LIMIT $4";

/// Pause before checking again whether a transaction has ended: about the length of one transaction.
const PAUSE: Duration = Duration::from_millis(1);

/// A row of an event. `user_id` is `None` if the account's row is missing.
#[derive(sqlx_macros::FromRow)]
pub(crate) struct EventRow {
    id: i64,
    user_id: Option<String>,
    account_id: i64,
    sequence: i64,
    at: i64,
    kind: String,
    factor_id: Option<String>,
    actor: String,
    detail: String,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

/// Reads one page of events.
pub(crate) async fn page(
    on: &mut PgConnection,
    query: &EventQuery,
    patience: Duration,
) -> Result<EventPage, PostgresError> {
    let last = settled(on, patience).await?;
    // A position beyond `i64::MAX` is after every event.
    let after = query.after.map_or(0, |position| i64::try_from(position.0).unwrap_or(i64::MAX));
    let statement = if query.user.is_some() { EVENTS_OF_USER } else { EVENTS_OF_TENANT };
    let statement = sqlx::query_as(statement)
        .bind(query.tenant.as_str())
        .bind(after)
        .bind(last)
        .bind(i64::from(query.limit) + 1);
    let statement = match &query.user {
        Some(user) => statement.bind(user.as_str()),
        None => statement,
    };
    let rows: Vec<EventRow> = statement.fetch_all(on).await.map_err(PostgresError::from_driver)?;
    let more = rows.len() > query.limit as usize;
    let mut page = EventPage { more, ..EventPage::default() };
    for row in rows.into_iter().take(query.limit as usize) {
        match row.read() {
            Ok(event) => page.events.push(event),
            Err(error) => page.unreadable.push(row.unreadable(query.tenant.as_str(), &error)),
        }
    }
    Ok(page)
}

/// Returns an id up to which all events are committed and visible.
///
/// Ids come from a sequence, and of two overlapping transactions the one with the larger ids may commit
/// first; a reader that has passed those ids would never see the others. So this reads the last assigned id,
/// and then waits for the transactions that may have been given ids up to it: those that hold a writer's lock
/// on the table now. A transaction that has released its lock has ended, and one that gets a lock later gets
/// larger ids. The wait is about one commit, and delays no writer.
pub(crate) async fn settled(on: &mut PgConnection, patience: Duration) -> Result<i64, PostgresError> {
    // Three statements, since each must see the state after the one before it.
    let last: i64 =
        sqlx::query_scalar(LAST_ID).fetch_one(&mut *on).await.map_err(PostgresError::from_driver)?;
    let mut open = writers(on).await?;
    let begin = Instant::now();
    while let Some((_, process)) = open.first() {
        if begin.elapsed() >= patience {
            return Err(PostgresError::Unsettled { process: *process });
        }
        tokio::time::sleep(PAUSE).await;
        let still = writers(on).await?;
        open.retain(|writer| still.contains(writer));
    }
    Ok(last)
}

async fn writers(on: &mut PgConnection) -> Result<Vec<(String, i32)>, PostgresError> {
    sqlx::query_as(WRITERS).fetch_all(on).await.map_err(PostgresError::from_driver)
}

impl EventRow {
    pub(crate) fn read(&self) -> Result<RecordedEvent, PostgresError> {
        let columns = EventColumns {
            id: self.id,
            user: self.user_id.as_deref(),
            sequence: self.sequence,
            at: self.at,
            kind: &self.kind,
            factor: self.factor_id.as_deref(),
            actor: &self.actor,
            detail: self.detail.as_bytes(),
            previous: &self.previous,
            hash: &self.hash,
        };
        Ok(columns.read(Row { table: "events", account: self.account_id })?)
    }

    /// The entry of a page for an event that cannot be read.
    pub(crate) fn unreadable(&self, tenant: &str, error: &PostgresError) -> UnreadableEvent {
        let user = self.user_id.as_deref().unwrap_or_default();
        let place = AccountPlace { tenant: tenant.into(), user: user.into() };
        UnreadableEvent { position: EventColumns::position(self.id), place, what: error.to_string() }
    }
}
