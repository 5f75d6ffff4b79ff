//! The version of the keys that are there.

use std::sync::LazyLock;

use redis::Value;

use crate::RedisError;
use crate::connections::{Connections, Effect};
use crate::keys::Keys;
use crate::script::{Call, Script};

/// What this program writes. A new minor version leaves the keys so that the program before it still works
/// beside the new one; a new major version does not, and the program before it refuses them from then on.
const MAJOR: u32 = 1;
const MINOR: u32 = 0;

static FORMAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/format.lua")));

/// Takes note of the version of what is kept for accounts, and refuses what this program does not know.
pub(crate) async fn check(connections: &Connections, keys: &Keys) -> Result<(), RedisError> {
    // Tenants come after the version, so they are looked for first.
    let has_tenants = exists(connections, &keys.tenants()).await?;
    if has_tenants && !exists(connections, &keys.format()).await? {
        return Err(RedisError::Foreign { namespace: keys.namespace().to_owned() });
    }
    if take_note(connections, keys, keys.format()).await? {
        tracing::warn!(
            namespace = keys.namespace(),
            "this Redis has kept no accounts so far; a new store begins"
        );
    }
    Ok(())
}

/// The same for what is kept for throttles and challenges, which may be gone at any time.
pub(crate) async fn check_ephemeral(connections: &Connections, keys: &Keys) -> Result<(), RedisError> {
    take_note(connections, keys, keys.ephemeral_format()).await.map(|_| ())
}

/// Whether there was no version.
async fn take_note(connections: &Connections, keys: &Keys, format: String) -> Result<bool, RedisError> {
    let foreign = || RedisError::Foreign { namespace: keys.namespace().to_owned() };
    let call = Call::new(&FORMAT, [format]).with(MAJOR.to_string()).with(MINOR.to_string());
    let answer = connections.call(&call, Effect::Lasting).await?;
    let (found, is_new): (String, bool) = redis::from_redis_value(answer).map_err(|_| foreign())?;
    let found: u32 = found.parse().map_err(|_| foreign())?;
    if found > MAJOR {
        return Err(RedisError::TooNew { found, known: MAJOR });
    }
    Ok(is_new)
}

/// Refuses to tell what is not there where not even the version is: everything is gone.
pub(crate) async fn check_not_emptied(connections: &Connections, keys: &Keys) -> Result<(), RedisError> {
    if exists(connections, &keys.format()).await? { Ok(()) } else { Err(RedisError::Emptied) }
}

async fn exists(connections: &Connections, key: &str) -> Result<bool, RedisError> {
    let mut exists = redis::cmd("EXISTS");
    let answer = connections.command(exists.arg(key), key, Effect::None).await?;
    Ok(answer == Value::Int(1))
}
