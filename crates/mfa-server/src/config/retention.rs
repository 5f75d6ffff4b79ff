//! A retention: a duration, or `forever`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

use super::duration;

const FOREVER: &str = "forever";

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    match String::deserialize(from)?.as_str() {
        FOREVER => Ok(None),
        text => duration::parse(text).map(Some).ok_or_else(|| {
            D::Error::custom("not a retention; it must be forever, or a duration such as 400d")
        }),
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde needs")]
pub(super) fn serialize<S: Serializer>(retention: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match retention {
        None => to.serialize_str(FOREVER),
        Some(duration) => duration::serialize(duration, to),
    }
}
