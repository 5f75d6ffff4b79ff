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

/// Takes note of the version, and refuses what this program does not know.
pub(crate) async fn check(connections: &Connections, keys: &Keys) -> Result<(), RedisError> {
    let foreign = || RedisError::Foreign { namespace: keys.namespace().to_owned() };
    let (format, tenants) = (keys.format(), keys.tenants());
    let mut exists = redis::cmd("EXISTS");
    // Tenants come after the version, so they are looked for first.
    let has_tenants = connections.command(exists.arg(&tenants), &tenants, Effect::None).await?;
    let mut exists = redis::cmd("EXISTS");
    let has_format = connections.command(exists.arg(&format), &format, Effect::None).await?;
    if has_tenants == Value::Int(1) && has_format == Value::Int(0) {
        return Err(foreign());
    }
    let call = Call::new(&FORMAT, [format]).with(MAJOR.to_string()).with(MINOR.to_string());
    let answer = connections.call(&call, Effect::Lasting).await?;
    let (found, is_new): (String, bool) = redis::from_redis_value(answer).map_err(|_| foreign())?;
    let found: u32 = found.parse().map_err(|_| foreign())?;
    if found > MAJOR {
        return Err(RedisError::TooNew { found, known: MAJOR });
    }
    if is_new {
        tracing::warn!(
            namespace = keys.namespace(),
            "nothing was kept in this Redis so far; a new store begins"
        );
    }
    Ok(())
}
