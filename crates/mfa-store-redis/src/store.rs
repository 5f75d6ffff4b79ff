//! The stores, and how they are opened.

use std::fmt;

use crate::checks::Needs;
use crate::connections::{Connections, RedisOptions};
use crate::keys::Keys;
use crate::{RedisError, RedisUrl};

/// Throttles and challenges in Redis: what many replicas share for minutes, and may lose.
///
/// A clone is another handle on the same connections.
#[derive(Clone)]
pub struct RedisEphemeral {
    pub(crate) connections: Connections,
    pub(crate) keys: Keys,
}

impl RedisEphemeral {
    /// Opens the Redis at `url` with the usual options. See [`RedisUrl`].
    ///
    /// # Errors
    /// As [`RedisEphemeral::open_with`].
    pub async fn open(url: &str) -> Result<Self, RedisError> {
        Self::open_with(url, &RedisOptions::default()).await
    }

    /// Opens the Redis at `url`. Must be called on a tokio runtime, and lives no longer than that.
    ///
    /// # Errors
    /// [`RedisError`] says what the person who runs the program has to change. A replica is refused, and so
    /// is a server that may drop what has not expired.
    pub async fn open_with(url: &str, options: &RedisOptions) -> Result<Self, RedisError> {
        let url: RedisUrl = url.parse()?;
        let connections = Connections::open(&url, &Needs::Passing, options).await?;
        Ok(Self { connections, keys: Keys::new(&url.parts().namespace) })
    }
}

impl fmt::Debug for RedisEphemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisEphemeral(..)")
    }
}
