//! Reading the audit trail.

use mfa_domain::ports::{AccountPlace, EventPage, EventQuery, RecordedEvent, UnreadableEvent};
use mfa_rows::{EventColumns, Row};
use sqlx::SqlitePool;

use crate::SqliteError;

pub(crate) const EVENTS_OF_TENANT: &str = "
    SELECT e.id, (SELECT a.user FROM accounts a WHERE a.id = e.account) AS user, e.account,
        e.sequence, e.at, e.kind, e.factor, e.actor, e.detail, e.previous, e.hash
    FROM events e
    WHERE e.tenant = ? AND e.id > ?
    ORDER BY e.id LIMIT ?";

/// A page of one account's events. Within one account, sequence numbers grow as ids do, and an index has them
/// in order.
///
/// An event whose row names another tenant is left out: that tenant does not see it either. The `+` keeps
/// that condition from using the index of tenants.
pub(crate) const EVENTS_OF_USER: &str = "
    SELECT e.id, ?2 AS user, e.account, e.sequence, e.at, e.kind, e.factor, e.actor, e.detail, e.previous, e.hash
    FROM events e
    WHERE e.account = (SELECT a.id FROM accounts a WHERE a.tenant = ?1 AND a.user = ?2) AND e.id > ?3
      AND +e.tenant = ?1
    ORDER BY e.sequence LIMIT ?4";

/// A row of an event. Texts are read as bytes, and the user is `None` if the account's row is missing, so
/// that a damaged row can still be named.
#[derive(sqlx_macros::FromRow)]
pub(crate) struct EventRow {
    id: i64,
    user: Option<Vec<u8>>,
    account: i64,
    sequence: i64,
    at: i64,
    kind: Vec<u8>,
    factor: Option<Vec<u8>>,
    actor: Vec<u8>,
    detail: Vec<u8>,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

/// Reads one page of events.
///
/// Ids are assigned within the writing transaction, and SQLite runs only one of those at a time, so an event
/// never appears behind an id that a page has passed.
pub(crate) async fn page(readers: &SqlitePool, query: &EventQuery) -> Result<EventPage, SqliteError> {
    // A position beyond `i64::MAX` is after every event.
    let after = query.after.map_or(0, |position| i64::try_from(position.0).unwrap_or(i64::MAX));
    let statement = match &query.user {
        None => sqlx::query_as(EVENTS_OF_TENANT).bind(query.tenant.as_str()),
        Some(user) => sqlx::query_as(EVENTS_OF_USER).bind(query.tenant.as_str()).bind(user.as_str()),
    };
    let rows: Vec<EventRow> = statement
        .bind(after)
        .bind(i64::from(query.limit) + 1)
        .fetch_all(readers)
        .await
        .map_err(SqliteError::from_driver)?;
    let more = rows.len() > query.limit as usize;
    let mut page = EventPage { more, ..EventPage::default() };
    for row in rows.into_iter().take(query.limit as usize) {
        match row.read() {
            Ok(event) => page.events.push(event),
            Err(error) => page.unreadable.push(row.unreadable(query.tenant.as_str().into(), &error)),
        }
    }
    Ok(page)
}

impl EventRow {
    pub(crate) fn read(&self) -> Result<RecordedEvent, SqliteError> {
        let row = Row { table: "events", account: self.account };
        let columns = EventColumns {
            id: self.id,
            user: row.optional_text("user", self.user.as_deref())?,
            sequence: self.sequence,
            at: self.at,
            kind: row.text("kind", &self.kind)?,
            factor: row.optional_text("factor", self.factor.as_deref())?,
            actor: row.text("actor", &self.actor)?,
            detail: &self.detail,
            previous: &self.previous,
            hash: &self.hash,
        };
        Ok(columns.read(row)?)
    }

    /// The entry of a page for an event that cannot be read.
    pub(crate) fn unreadable(&self, tenant: Vec<u8>, error: &SqliteError) -> UnreadableEvent {
        let place = AccountPlace { tenant, user: self.user.clone().unwrap_or_default() };
        UnreadableEvent { position: EventColumns::position(self.id), place, what: error.to_string() }
    }
}
