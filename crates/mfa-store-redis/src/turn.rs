//! The lock under which one process at a time creates an installation.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use crate::connections::Effect;
use crate::script::{Call, Script};
use crate::{RedisError, RedisStore};

static TAKE_TURN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/take_turn.lua")));
static END_TURN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/end_turn.lua")));

/// After this time the turn of a process that vanished ends.
const LEASE: Duration = Duration::from_secs(30);

/// Pause before asking for the turn again.
const PAUSE: Duration = Duration::from_millis(100);

/// Held by the process that creates an installation on this Redis: things that belong to the accounts but are
/// stored elsewhere, such as a key ring. It ends 30 seconds after it began, or when it is [ended](Self::end).
pub struct InstallationTurn {
    store: RedisStore,
    number: String,
}

impl RedisStore {
    /// Waits until no other process, on any machine, is creating an installation in this namespace. Check
    /// afterwards whether it still has to be created.
    ///
    /// # Errors
    /// [`RedisError`] if Redis fails, or others hold the turn for 35 seconds.
    pub async fn turn(&self) -> Result<InstallationTurn, RedisError> {
        let deadline = Instant::now() + LEASE + LEASE / 6;
        loop {
            let lease = LEASE.as_millis().to_string();
            let call = Call::new(&TAKE_TURN, [self.keys.turn(), self.keys.turns()]).with(lease);
            let answer = self.connections.call(&call, Effect::Lasting).await?;
            let unreadable = |_| RedisError::Undecodable { key: "turn", field: "number" };
            let number: Option<String> = redis::from_redis_value(answer).map_err(unreadable)?;
            if let Some(number) = number {
                return Ok(InstallationTurn { store: self.clone(), number });
            }
            if Instant::now() >= deadline {
                return Err(RedisError::Unavailable(
                    "another process is creating the installation".to_owned(),
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl InstallationTurn {
    /// Admits the next process.
    ///
    /// # Errors
    /// [`RedisError`] if Redis fails; the next process then waits until the turn expires.
    pub async fn end(self) -> Result<(), RedisError> {
        let Self { store, number } = self;
        let call = Call::new(&END_TURN, [store.keys.turn()]).with(number);
        store.connections.call(&call, Effect::Lasting).await.map(|_: Value| ())
    }
}

impl fmt::Debug for InstallationTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstallationTurn(..)")
    }
}
