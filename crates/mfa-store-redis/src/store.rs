//! The two stores, and how to open them.

use std::fmt;

use crate::checks::Needs;
use crate::connections::{Connections, RedisOptions};
use crate::keys::Keys;
use crate::outbox::ClaimOrder;
use crate::tenants::Tenants;
use crate::{RedisError, RedisUrl, format};

/// Accounts, events, messages and API keys in Redis.
///
/// A clone uses the same connections. Any number of processes may use the same Redis.
#[derive(Clone)]
pub struct RedisStore {
    pub(crate) connections: Connections,
    pub(crate) keys: Keys,
    pub(crate) tenants: Tenants,
    pub(crate) claim_order: ClaimOrder,
}

/// Throttles and challenges in Redis: short-lived data that replicas share and may lose.
///
/// A clone uses the same connections.
#[derive(Clone)]
pub struct RedisEphemeral {
    pub(crate) connections: Connections,
    pub(crate) keys: Keys,
}

impl RedisStore {
    /// Opens the Redis at `url` with the default options. See [`RedisUrl`].
    ///
    /// # Errors
    /// As [`RedisStore::open_with`].
    pub async fn open(url: &str) -> Result<Self, RedisError> {
        Self::open_with(url, &RedisOptions::default()).await
    }

    /// Opens the Redis at `url`. Must be called on a tokio runtime; the store works as long as that runtime.
    ///
    /// # Errors
    /// [`RedisError`] says what the operator has to change. A server that may lose confirmed changes is
    /// refused, unless the URL accepts that; so are a replica, and keys of a newer major version.
    pub async fn open_with(url: &str, options: &RedisOptions) -> Result<Self, RedisError> {
        let url: RedisUrl = url.parse()?;
        let parts = url.parts();
        parts.warn_of_losses();
        let needs = Needs::Lasting { replicas: parts.replicas, loss_accepted: parts.loss_accepted };
        let connections = Connections::open(&url, &needs, options).await?;
        let keys = Keys::new(&parts.namespace);
        format::check(&connections, &keys).await?;
        let tenants = Tenants::new(parts.loss_accepted, parts.replicas);
        Ok(Self { connections, keys, tenants, claim_order: ClaimOrder::default() })
    }
}

impl RedisEphemeral {
    /// Opens the Redis at `url` with the default options. See [`RedisUrl`].
    ///
    /// # Errors
    /// As [`RedisEphemeral::open_with`].
    pub async fn open(url: &str) -> Result<Self, RedisError> {
        Self::open_with(url, &RedisOptions::default()).await
    }

    /// Opens the Redis at `url`. Must be called on a tokio runtime; the store works as long as that runtime.
    ///
    /// # Errors
    /// [`RedisError`] says what the operator has to change. A replica is refused, and so are a
    /// server that may evict keys which have not expired, and keys of a newer major version.
    pub async fn open_with(url: &str, options: &RedisOptions) -> Result<Self, RedisError> {
        let url: RedisUrl = url.parse()?;
        let parts = url.parts();
        let needs = Needs::Passing { replicas: parts.replicas };
        let connections = Connections::open(&url, &needs, options).await?;
        let keys = Keys::new(&parts.namespace);
        format::check_ephemeral(&connections, &keys).await?;
        Ok(Self { connections, keys })
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisStore(..)")
    }
}

impl fmt::Debug for RedisEphemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisEphemeral(..)")
    }
}
