//! A throttle in Redis that may come later than the server.

use anyhow::{Context, Result};
use async_trait::async_trait;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey};
use mfa_domain::{Charge, Quota, Timestamp};
use mfa_store_redis::{RedisEphemeral, RedisError, RedisUrl};
use tokio::sync::OnceCell;
use tracing::warn;

/// Opened at the start, or else with the first charge that finds Redis there: a server that starts
/// while Redis is down checks codes like one that was running before.
#[derive(Debug)]
pub(super) struct RedisThrottle {
    url: RedisUrl,
    opened: OnceCell<RedisEphemeral>,
}

impl RedisThrottle {
    /// Refuses a Redis that answers and is not fit.
    pub(super) async fn open(url: RedisUrl) -> Result<Self> {
        let throttle = Self { url, opened: OnceCell::new() };
        match throttle.opened().await {
            Ok(_) => {}
            Err(error) if may_pass(&error) => {
                warn!(url = %throttle.url, %error, "requests are not throttled until Redis is there");
            }
            Err(error) => return Err(error).with_context(|| format!("{} cannot be opened", throttle.url)),
        }
        Ok(throttle)
    }

    async fn opened(&self) -> Result<&RedisEphemeral, RedisError> {
        self.opened.get_or_try_init(|| RedisEphemeral::open(self.url.expose())).await
    }
}

const fn may_pass(error: &RedisError) -> bool {
    matches!(
        error,
        RedisError::Unreachable { .. }
            | RedisError::ConnectionLost(_)
            | RedisError::Timeout
            | RedisError::ReadOnly
            | RedisError::Unavailable(_)
    )
}

#[async_trait]
impl Throttle for RedisThrottle {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        self.opened().await?.charge(key, quota, now).await
    }
}
