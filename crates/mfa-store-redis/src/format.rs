//! The version of the stored keys.

use std::sync::LazyLock;

use redis::Value;

use crate::RedisError;
use crate::connections::{Connections, Effect};
use crate::keys::Keys;
use crate::script::{Call, Script};

/// The version that this program writes. A new minor version keeps the keys usable for the previous version
/// of the program, which still runs beside it. A new major version does not, and the previous version then
/// refuses the keys.
const MAJOR: u32 = 1;
const MINOR: u32 = 0;

static FORMAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/format.lua")));

/// Stores the version of the accounts' keys if there is none, and refuses an unknown one.
pub(crate) async fn check(connections: &Connections, keys: &Keys) -> Result<(), RedisError> {
    // Tenants are written after the version, so they are checked first.
    let has_tenants = exists(connections, &keys.tenants()).await?;
    if has_tenants && !exists(connections, &keys.format()).await? {
        return Err(RedisError::Foreign { namespace: keys.namespace().to_owned() });
    }
    if take_note(connections, keys, keys.format()).await? {
        tracing::warn!(
            namespace = keys.namespace(),
            "this Redis holds no accounts yet; starting with an empty store"
        );
    }
    Ok(())
}

/// Does the same for the keys of throttles and challenges, which may vanish at any time.
pub(crate) async fn check_ephemeral(connections: &Connections, keys: &Keys) -> Result<(), RedisError> {
    take_note(connections, keys, keys.ephemeral_format()).await.map(|_| ())
}

/// Returns whether there was no version.
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

/// Fails if even the version is missing: all data is gone, so a missing key must not be reported as absent.
pub(crate) async fn check_not_emptied(connections: &Connections, keys: &Keys) -> Result<(), RedisError> {
    if exists(connections, &keys.format()).await? { Ok(()) } else { Err(RedisError::Emptied) }
}

async fn exists(connections: &Connections, key: &str) -> Result<bool, RedisError> {
    let mut exists = redis::cmd("EXISTS");
    let answer = connections.command(exists.arg(key), key, Effect::None).await?;
    Ok(answer == Value::Int(1))
}
