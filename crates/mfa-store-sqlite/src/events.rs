//! Reading the audit trail.

use std::collections::BTreeMap;

use mfa_domain::audit::EventHash;
use mfa_domain::ports::{EventId, EventPage, EventQuery, RecordedEvent};
use mfa_domain::{AuditEvent, EventKind, UserId};
use sqlx::SqlitePool;

use crate::SqliteError;
use crate::column::Row;

pub(crate) const EVENTS_OF_TENANT: &str = "
    SELECT e.id, (SELECT a.user FROM accounts a WHERE a.id = e.account) AS user, e.account,
        e.sequence, e.at, e.kind, e.factor, e.actor, e.detail, e.previous, e.hash
    FROM events e
    WHERE e.tenant = ? AND e.id > ?
    ORDER BY e.id LIMIT ?";

/// Within one account sequence numbers grow as ids do, and there is an index that has them in order.
///
/// An event that says it is another tenant's is missing here: the tenant does not see it either. The `+`
/// keeps that comparison from choosing the index of the tenants.
pub(crate) const EVENTS_OF_USER: &str = "
    SELECT e.id, ?2 AS user, e.account, e.sequence, e.at, e.kind, e.factor, e.actor, e.detail, e.previous, e.hash
    FROM events e
    WHERE e.account = (SELECT a.id FROM accounts a WHERE a.tenant = ?1 AND a.user = ?2) AND e.id > ?3
      AND +e.tenant = ?1
    ORDER BY e.sequence LIMIT ?4";

#[derive(sqlx::FromRow)]
pub(crate) struct EventRow {
    id: i64,
    user: String,
    account: i64,
    sequence: i64,
    at: i64,
    kind: String,
    factor: Option<String>,
    actor: String,
    detail: String,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

/// One page of events.
///
/// Ids are given inside the transaction that writes, and SQLite has one of those at a time, so an
/// event never appears behind an id that a page has passed.
pub(crate) async fn page(readers: &SqlitePool, query: &EventQuery) -> Result<EventPage, SqliteError> {
    // An id beyond i64::MAX is after every event.
    let after = query.after.map_or(0, |id| i64::try_from(id.0).unwrap_or(i64::MAX));
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
    let events = rows.into_iter().take(query.limit as usize).map(EventRow::read).collect::<Result<_, _>>()?;
    Ok(EventPage { events, more })
}

impl EventRow {
    pub(crate) fn read(self) -> Result<RecordedEvent, SqliteError> {
        let row = Row { table: "events", account: self.account };
        let detail: BTreeMap<String, String> = row.read("detail", serde_json::from_str(&self.detail))?;
        Ok(RecordedEvent {
            id: EventId(row.number("id", self.id)?),
            user: row.read("user", UserId::new(&self.user))?,
            event: AuditEvent {
                sequence: row.number("sequence", self.sequence)?,
                at: row.time("at", self.at)?,
                kind: EventKind::from_name(&self.kind),
                factor: row.read("factor", self.factor.as_deref().map(str::parse).transpose())?,
                actor: self.actor,
                detail,
                previous: EventHash(row.read("previous", self.previous.try_into())?),
                hash: EventHash(row.read("hash", self.hash.try_into())?),
            },
        })
    }
}
