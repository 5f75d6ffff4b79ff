//! A throttle in Redis that may come later than the server.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey};
use mfa_domain::{Charge, Quota, Timestamp};
use mfa_store_redis::{RedisEphemeral, RedisError, RedisOptions, RedisUrl};
use tracing::{error, info, warn};

/// A request waits a quarter of a second for its charges. The store hears of a server that hangs, and looks
/// where another has taken its place, only if it gives up before the request does.
const CALL_TIMEOUT: Duration = Duration::from_millis(200);

/// Before a Redis that was not there is looked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// Opened at the start, or else in the background once Redis is there: a server that starts while Redis is
/// down checks codes like one that was running before.
#[derive(Debug)]
pub(super) struct RedisThrottle(Arc<OnceLock<RedisEphemeral>>);

impl RedisThrottle {
    /// Refuses a Redis that answers and is not fit.
    pub(super) async fn open(url: RedisUrl) -> Result<Self> {
        let opened = Arc::new(OnceLock::new());
        match open(&url).await {
            Ok(redis) => {
                let _ = opened.set(redis);
            }
            Err(error) if may_pass(&error) => {
                warn!(%url, %error, "requests are not throttled until Redis is there");
                tokio::spawn(open_later(url, Arc::downgrade(&opened)));
            }
            Err(error) => return Err(error).with_context(|| format!("{url} cannot be opened")),
        }
        Ok(Self(opened))
    }
}

async fn open(url: &RedisUrl) -> Result<RedisEphemeral, RedisError> {
    let options = RedisOptions { call_timeout: CALL_TIMEOUT, replica_timeout: CALL_TIMEOUT / 2 };
    RedisEphemeral::open_with(url.expose(), &options).await
}

/// Ends when the throttle is open, or nobody has it any more.
async fn open_later(url: RedisUrl, opened: Weak<OnceLock<RedisEphemeral>>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        if opened.strong_count() == 0 {
            return;
        }
        match open(&url).await {
            Ok(redis) => {
                if let Some(opened) = opened.upgrade() {
                    let _ = opened.set(redis);
                    info!(%url, "requests are throttled");
                }
                return;
            }
            Err(error) if may_pass(&error) => {}
            Err(error) => error!(%url, %error, "requests are not throttled: Redis cannot be used"),
        }
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
            | RedisError::Unacknowledged { .. }
            | RedisError::OutOfMemory
            | RedisError::DiskFailed(_)
    )
}

#[async_trait]
impl Throttle for RedisThrottle {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        match self.0.get() {
            Some(redis) => redis.charge(key, quota, now).await,
            None => Err(RedisError::Unavailable("it was not there so far".to_owned()).into()),
        }
    }
}
