//! Throttles and challenges in a Redis that may become reachable after the server has started.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use mfa_domain::ports::{ChallengeStore, Commit, StoreError, Throttle, ThrottleKey};
use mfa_domain::{Challenge, ChallengeId, Charge, Progress, Quota, Timestamp, Version, Versioned};
use mfa_store_redis::{RedisEphemeral, RedisError, RedisOptions, RedisUrl};
use tracing::{error, info, warn};

/// Time limit of a throttle's call. A request waits 250 ms for its charges. The store must give up earlier: only
/// then it notices that a server hangs, and looks for the replacement.
const CALL_TIMEOUT: Duration = Duration::from_millis(200);

/// Time between two attempts to reach Redis.
const PAUSE: Duration = Duration::from_secs(1);

/// Opened at the start, or in the background as soon as Redis is reachable, so that a server that starts while
/// Redis is down can check codes.
#[derive(Clone, Debug)]
pub(super) struct LaterRedis(Arc<OnceLock<RedisEphemeral>>);

impl LaterRedis {
    fn opened(&self) -> Result<&RedisEphemeral, StoreError> {
        self.0.get().ok_or_else(|| {
            RedisError::Unavailable("not reachable since the server started".to_owned()).into()
        })
    }

    /// For throttles.
    pub(super) async fn throttle(url: RedisUrl) -> Result<Self> {
        let options = RedisOptions { call_timeout: CALL_TIMEOUT, replica_timeout: CALL_TIMEOUT / 2 };
        Self::open(url, options).await
    }

    /// For challenges, with the longer time limit of stores: an answer that times out may have used up its code.
    pub(super) async fn challenges(url: RedisUrl) -> Result<Self> {
        Self::open(url, RedisOptions::default()).await
    }

    /// Fails if Redis answers but cannot be used.
    async fn open(url: RedisUrl, options: RedisOptions) -> Result<Self> {
        let opened = Arc::new(OnceLock::new());
        match open(&url, &options).await {
            Ok(redis) => {
                let _ = opened.set(redis);
            }
            Err(error) if may_pass(&error) => {
                warn!(%url, %error, "Redis cannot be reached; until it can, no request is throttled and no code is sent");
                tokio::spawn(open_later(url, options, Arc::downgrade(&opened)));
            }
            Err(error) => return Err(error).with_context(|| format!("{url} cannot be opened")),
        }
        Ok(Self(opened))
    }
}

async fn open(url: &RedisUrl, options: &RedisOptions) -> Result<RedisEphemeral, RedisError> {
    RedisEphemeral::open_with(url.expose(), options).await
}

/// Ends when Redis is open, or its last user was dropped.
async fn open_later(url: RedisUrl, options: RedisOptions, opened: Weak<OnceLock<RedisEphemeral>>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        if opened.strong_count() == 0 {
            return;
        }
        match open(&url, &options).await {
            Ok(redis) => {
                if let Some(opened) = opened.upgrade() {
                    let _ = opened.set(redis);
                    info!(%url, "Redis can be reached; requests are throttled and codes are sent");
                }
                return;
            }
            Err(error) if may_pass(&error) => {}
            Err(error) => {
                error!(%url, %error, "Redis cannot be used; no request is throttled and no code is sent");
            }
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
impl Throttle for LaterRedis {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        self.opened()?.charge(key, quota, now).await
    }
}

#[async_trait]
impl ChallengeStore for LaterRedis {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        self.opened()?.put(challenge).await
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        self.opened()?.get(id).await
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        self.opened()?.swap(id, expected, next).await
    }
}
