//! `DeliveryStore` for PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{Commit, DeliveryStore, EventPosition, StoreError, TrailEvent, TrailPage};
use mfa_domain::{Delivery, EndpointId, TenantId, Version, Versioned};
use mfa_rows::{DeliveryColumns, Row};
use sqlx::PgConnection;
use tokio::sync::SemaphorePermit;

use crate::events::{EventRow, settled};
use crate::transaction::by_itself;
use crate::{PostgresError, PostgresStore};

pub(crate) const FIND_DELIVERY: &str = concat!(
    "
    SELECT version, position, through, claimed_until, not_before, failures, last_failure, stopped, unreadable
    FROM mfa.deliveries
    WHERE endpoint = $1 AND ",
    by_itself!()
);

/// Inserts the row of an endpoint: its version was zero.
pub(crate) const NEW_DELIVERY: &str = "
    INSERT INTO mfa.deliveries
        (position, through, claimed_until, not_before, failures, last_failure, stopped, endpoint, version,
         unreadable)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::bigint + 1, $10)
    ON CONFLICT (endpoint) DO NOTHING";

pub(crate) const CHANGE_DELIVERY: &str = "
    UPDATE mfa.deliveries
    SET position = $1, through = $2, claimed_until = $3, not_before = $4, failures = $5, last_failure = $6,
        stopped = $7, version = version + 1, unreadable = $10
    WHERE endpoint = $8 AND version = $9";

/// The next events of all tenants. Ids are indexed per tenant only, which saves commits an index. So this
/// jumps through the index from tenant to tenant, takes the next ids of each, and reads the rows of the
/// smallest ones.
pub(crate) const TRAIL: &str = "
    WITH RECURSIVE tenant (id) AS (
        SELECT min(tenant_id) FROM mfa.events
        UNION ALL
        SELECT (SELECT min(e.tenant_id) FROM mfa.events e WHERE e.tenant_id > tenant.id) FROM tenant
        WHERE tenant.id IS NOT NULL
    )
    SELECT e.tenant_id, e.id, (SELECT a.user_id FROM mfa.accounts a WHERE a.id = e.account_id) AS user_id,
        e.account_id, e.sequence, e.at, e.kind, e.factor_id::text AS factor_id, e.actor,
        e.detail::text AS detail, e.previous, e.hash
    FROM (
        SELECT tenant.id AS tenant_id, ahead.id FROM tenant
        CROSS JOIN LATERAL (
            SELECT n.id FROM mfa.events n WHERE n.tenant_id = tenant.id AND n.id > $1 AND n.id <= $2
            ORDER BY n.id LIMIT $3
        ) ahead
        ORDER BY ahead.id LIMIT $3
    ) next
    JOIN mfa.events e ON e.tenant_id = next.tenant_id AND e.id = next.id
    ORDER BY next.id";

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
    tenant_id: String,
    #[sqlx(flatten)]
    event: EventRow,
}

#[async_trait]
impl DeliveryStore for PostgresStore {
    async fn delivery(&self, endpoint: &EndpointId) -> Result<Option<Versioned<Delivery>>, StoreError> {
        let find = || sqlx::query_as(FIND_DELIVERY).bind(endpoint.as_str());
        let rows: Vec<DeliveryRow> = self.connections.once(find).await?;
        Ok(rows.into_iter().next().map(DeliveryRow::read).transpose()?)
    }

    async fn swap(
        &self,
        endpoint: &EndpointId,
        expected: Version,
        next: &Delivery,
    ) -> Result<Commit, StoreError> {
        let statement = if expected == Version::default() { NEW_DELIVERY } else { CHANGE_DELIVERY };
        let next = DeliveryColumns::of(expected, next).map_err(PostgresError::from)?;
        let swap = sqlx::query(statement)
            .bind(next.position)
            .bind(next.through)
            .bind(next.claimed_until)
            .bind(next.not_before)
            .bind(next.failures)
            .bind(next.last_failure)
            .bind(next.stopped)
            .bind(endpoint.as_str().to_owned())
            .bind(next.version)
            .bind(next.unreadable);
        let swapped = self.connections.transact(|on| {
            Box::pin(async move { swap.execute(on).await.map_err(PostgresError::from_driver) })
        });
        let swapped = swapped.await?.rows_affected();
        Ok(if swapped == 1 { Commit::Won } else { Commit::Conflict })
    }

    async fn trail(&self, after: EventPosition, limit: u32) -> Result<TrailPage, StoreError> {
        let _turn = self.turn_to_follow().await?;
        let patience = self.patience();
        let rows = self.connections.transact(|on| Box::pin(trail(on, after, limit, patience))).await?;
        let more = rows.len() > limit as usize;
        let mut page = TrailPage { more, ..TrailPage::default() };
        for row in rows.into_iter().take(limit as usize) {
            match row.read() {
                Ok(event) => page.events.push(event),
                Err(error) => page.unreadable.push(row.event.unreadable(&row.tenant_id, &error)),
            }
        }
        Ok(page)
    }

    async fn last_event(&self) -> Result<EventPosition, StoreError> {
        let _turn = self.turn_to_follow().await?;
        // Not just the last assigned id: its event may be committed after this call.
        let patience = self.patience();
        let last = self.connections.transact(|on| Box::pin(settled(on, patience))).await?;
        let row = Row::of("events");
        Ok(EventPosition(row.number("id", last).map_err(PostgresError::from)?))
    }
}

impl PostgresStore {
    /// Waits for a permit to follow the trail. Following waits for writers and holds a connection meanwhile.
    /// So few calls may do it at a time, and the other connections stay free for any number of endpoints.
    async fn turn_to_follow(&self) -> Result<SemaphorePermit<'_>, PostgresError> {
        self.in_time(async { self.followers.acquire().await.map_err(|_| PostgresError::Closed) }).await
    }

    /// How long to wait for writers.
    fn patience(&self) -> Duration {
        self.options.call_timeout / 2
    }
}

async fn trail(
    on: &mut PgConnection,
    after: EventPosition,
    limit: u32,
    patience: Duration,
) -> Result<Vec<TrailRow>, PostgresError> {
    let last = settled(on, patience).await?;
    // A position beyond `i64::MAX` is after every event.
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    if after >= last {
        return Ok(Vec::new());
    }
    sqlx::query_as(TRAIL)
        .bind(after)
        .bind(last)
        .bind(i64::from(limit) + 1)
        .fetch_all(on)
        .await
        .map_err(PostgresError::from_driver)
}

impl DeliveryRow {
    fn read(self) -> Result<Versioned<Delivery>, PostgresError> {
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
    fn read(&self) -> Result<TrailEvent, PostgresError> {
        let row = Row::of("events");
        let tenant = row.read("tenant", TenantId::new(&self.tenant_id))?;
        Ok(TrailEvent { tenant, recorded: self.event.read()? })
    }
}
