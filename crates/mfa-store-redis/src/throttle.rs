//! `Throttle` for Redis.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::{Charge, Quota};
use redis::Value;

use crate::connections::Effect;
use crate::script::{Call, Script};
use crate::{RedisEphemeral, RedisError};

/// How long a bucket is kept after it has recovered: setting the clock back by less gains nothing.
const KEPT: Duration = Duration::from_hours(1);

static CHARGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/charge.lua")));

#[async_trait]
impl Throttle for RedisEphemeral {
    async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError> {
        let interval = quota.per().as_micros().div_ceil(u128::from(quota.burst()));
        let call = Call::new(&CHARGE, [self.keys.bucket(key)])
            .with(now.unix_millis().saturating_mul(1000).to_string())
            .with(interval.to_string())
            .with(quota.burst().to_string())
            .with(KEPT.as_millis().to_string());
        match self.connections.call(&call, Effect::Passing).await? {
            Value::Int(0) => Ok(Charge::Admitted),
            Value::Int(micros @ 1..) => {
                let retry_after = Duration::from_micros(micros.unsigned_abs());
                Ok(Charge::Refused { retry_after })
            }
            _ => Err(RedisError::Undecodable { key: "throttle", field: "bucket" }.into()),
        }
    }
}
