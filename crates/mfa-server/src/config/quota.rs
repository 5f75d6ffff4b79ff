//! Quotas as people write them: `600/1m` is a burst of 600, refilled evenly within a minute.

use mfa_domain::Quota;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

use super::duration;

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Quota, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).ok_or_else(|| {
        D::Error::custom(
            "not a quota; it must be like 600/1m: 1 to 10000000 in 1ms to 30d, and at most one per microsecond",
        )
    })
}

pub(super) fn serialize<S: Serializer>(quota: &Quota, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&print(*quota))
}

fn parse(text: &str) -> Option<Quota> {
    let (burst, per) = text.split_once('/')?;
    let is_number = !burst.is_empty() && burst.bytes().all(|byte| byte.is_ascii_digit());
    Quota::new(burst.parse().ok().filter(|_| is_number)?, duration::parse(per)?).ok()
}

fn print(quota: Quota) -> String {
    format!("{}/{}", quota.burst(), duration::print(quota.per()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number_and_a_duration() {
        for text in ["1/1ms", "30/30m", "10000000/10s", "6000/36h"] {
            assert_eq!(parse(text).map(print).as_deref(), Some(text));
        }
        for text in ["", "600", "/1m", "600/", "0/1m", "+6/1m", "6 / 1m", "10000001/1d", "1/31d", "1001/1ms"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
