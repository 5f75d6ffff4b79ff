//! `DeliveryStore` for SQLite.

use async_trait::async_trait;
use mfa_domain::ports::{Commit, DeliveryStore, EventPosition, StoreError, TrailEvent, TrailPage};
use mfa_domain::{Delivery, EndpointId, TenantId, Version, Versioned};
use mfa_rows::{DeliveryColumns, Row};
use sqlx::SqliteConnection;

use crate::change::{Change, Outcome, execute};
use crate::events::EventRow;
use crate::{SqliteError, SqliteStore};

pub(crate) const FIND_DELIVERY: &str = "
    SELECT version, position, through, claimed_until, not_before, failures, last_failure, stopped, unreadable
    FROM deliveries WHERE endpoint = ?";

/// Inserts the row of an endpoint: its version was zero.
pub(crate) const NEW_DELIVERY: &str = "
    INSERT INTO deliveries
        (position, through, claimed_until, not_before, failures, last_failure, stopped, endpoint, version, unreadable)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 + 1, ?10)
    ON CONFLICT (endpoint) DO NOTHING";

pub(crate) const CHANGE_DELIVERY: &str = "
    UPDATE deliveries
    SET position = ?1, through = ?2, claimed_until = ?3, not_before = ?4, failures = ?5, last_failure = ?6,
        stopped = ?7, version = version + 1, unreadable = ?10
    WHERE endpoint = ?8 AND version = ?9";

pub(crate) const TRAIL: &str = "
    SELECT e.tenant, e.id, (SELECT a.user FROM accounts a WHERE a.id = e.account) AS user, e.account,
        e.sequence, e.at, e.kind, e.factor, e.actor, e.detail, e.previous, e.hash
    FROM events e
    WHERE e.id > ?
    ORDER BY e.id LIMIT ?";

pub(crate) const LAST_EVENT: &str = "SELECT max(id) FROM events";

/// Stores the progress of an endpoint if its version is unchanged.
struct SwapDelivery {
    endpoint: EndpointId,
    expected: Version,
    next: Delivery,
}

#[derive(sqlx_macros::FromRow)]
struct DeliveryRow {
    version: i64,
    position: i64,
    through: Option<i64>,
    claimed_until: i64,
    not_before: i64,
    failures: i64,
    last_failure: Option<String>,
    stopped: bool,
    unreadable: i64,
}

#[derive(sqlx_macros::FromRow)]
struct TrailRow {
    tenant: Vec<u8>,
    #[sqlx(flatten)]
    event: EventRow,
}

#[async_trait]
impl DeliveryStore for SqliteStore {
    async fn delivery(&self, endpoint: &EndpointId) -> Result<Option<Versioned<Delivery>>, StoreError> {
        let row: Option<DeliveryRow> = sqlx::query_as(FIND_DELIVERY)
            .bind(endpoint.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        Ok(row.map(DeliveryRow::read).transpose()?)
    }

    async fn swap(
        &self,
        endpoint: &EndpointId,
        expected: Version,
        next: &Delivery,
    ) -> Result<Commit, StoreError> {
        let swap = SwapDelivery { endpoint: endpoint.clone(), expected, next: next.clone() };
        Ok(if self.writer.make(swap).await?.held() { Commit::Won } else { Commit::Conflict })
    }

    async fn trail(&self, after: EventPosition, limit: u32) -> Result<TrailPage, StoreError> {
        let rows: Vec<TrailRow> = sqlx::query_as(TRAIL)
            // A position beyond `i64::MAX` is after every event.
            .bind(i64::try_from(after.0).unwrap_or(i64::MAX))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        let more = rows.len() > limit as usize;
        let mut page = TrailPage { more, ..TrailPage::default() };
        for row in rows.into_iter().take(limit as usize) {
            match row.read() {
                Ok(event) => page.events.push(event),
                Err(error) => page.unreadable.push(row.event.unreadable(row.tenant.clone(), &error)),
            }
        }
        Ok(page)
    }

    async fn last_event(&self) -> Result<EventPosition, StoreError> {
        let last: Option<i64> = sqlx::query_scalar(LAST_EVENT)
            .fetch_one(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        let row = Row::of("events");
        Ok(EventPosition(row.number("id", last.unwrap_or_default()).map_err(SqliteError::from)?))
    }
}

impl DeliveryRow {
    fn read(self) -> Result<Versioned<Delivery>, SqliteError> {
        let columns = DeliveryColumns {
            version: self.version,
            position: self.position,
            through: self.through,
            claimed_until: self.claimed_until,
            not_before: self.not_before,
            failures: self.failures,
            last_failure: self.last_failure,
            stopped: self.stopped,
            unreadable: self.unreadable,
        };
        Ok(columns.read()?)
    }
}

impl TrailRow {
    fn read(&self) -> Result<TrailEvent, SqliteError> {
        let row = Row::of("events");
        let tenant = row.read("tenant", TenantId::new(row.text("tenant", &self.tenant)?))?;
        Ok(TrailEvent { tenant, recorded: self.event.read()? })
    }
}

#[async_trait]
impl Change for SwapDelivery {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let Self { endpoint, expected, next } = self;
        let statement = if *expected == Version::default() { NEW_DELIVERY } else { CHANGE_DELIVERY };
        let next = DeliveryColumns::of(*expected, next)?;
        let swap = sqlx::query(statement)
            .bind(next.position)
            .bind(next.through)
            .bind(next.claimed_until)
            .bind(next.not_before)
            .bind(next.failures)
            .bind(next.last_failure)
            .bind(next.stopped)
            .bind(endpoint.as_str())
            .bind(next.version)
            .bind(next.unreadable);
        Ok(Outcome::of(execute(to, swap).await? == 1))
    }
}
