//! The clock of the database server.

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{Clock, Deviation, ReferenceClock, ReferenceClockError};

use crate::PostgresStore;

/// The current time, not the time at which the transaction began.
const NOW: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::int8";

#[async_trait]
impl ReferenceClock for PostgresStore {
    async fn compare(&self, clock: &dyn Clock) -> Result<Deviation, ReferenceClockError> {
        let before = clock.now();
        let told = self.connections.once(|| sqlx::query_as::<_, (i64,)>(NOW)).await;
        let after = clock.now();
        let told = told.map_err(ReferenceClockError::new)?;
        let millis = told.first().and_then(|(millis,)| u64::try_from(*millis).ok());
        let millis = millis.ok_or_else(|| ReferenceClockError::new("the database returned no time"))?;
        Ok(Deviation::between(before, Timestamp::from_unix_millis(millis), after))
    }
}
