//! The clock of the server, or of one server of a cluster.

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{Clock, Deviation, ReferenceClock, ReferenceClockError};

use crate::connections::Effect;
use crate::{RedisError, RedisStore};

#[async_trait]
impl ReferenceClock for RedisStore {
    async fn compare(&self, clock: &dyn Clock) -> Result<Deviation, ReferenceClockError> {
        let before = clock.now();
        let told = self.connections.command(&redis::cmd("TIME"), &self.keys.turn(), Effect::None).await;
        let after = clock.now();
        let told = redis::from_redis_value(told.map_err(ReferenceClockError::new)?);
        let (seconds, micros): (u64, u64) =
            told.map_err(|_| ReferenceClockError::new(RedisError::other("an unexpected answer to TIME")))?;
        let there = Timestamp::from_unix_millis(seconds.saturating_mul(1000).saturating_add(micros / 1000));
        Ok(Deviation::between(before, there, after))
    }
}
