//! Durations as people write them: `500ms`, `15m`, `24h`, `30d`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// The units and their lengths in milliseconds; the largest last.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text)
        .ok_or_else(|| D::Error::custom("not a duration; it must be like 500ms, 30s, 15m, 24h or 30d"))
}

pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&print(*duration))
}

pub(super) fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, millis) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?))
}

/// Prints a duration in the largest unit that divides it.
pub(super) fn print(duration: Duration) -> String {
    let total = duration.as_millis();
    let (unit, millis) =
        UNITS.into_iter().rfind(|(_, millis)| total.is_multiple_of(u128::from(*millis))).unwrap_or(UNITS[0]);
    format!("{}{unit}", total / u128::from(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_in_one_unit() {
        for (text, seconds) in
            [("0d", 0), ("1s", 1), ("90s", 90), ("15m", 900), ("1d", 86_400), ("36h", 129_600)]
        {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse(text), Some(duration), "{text}");
            assert_eq!(print(duration), text);
        }
        assert_eq!(parse("24h").map(print).as_deref(), Some("1d"));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["", "15", "m", "-1s", "1.5h", "1h30m", "1 h", "1H", "99999999999999999999s", "213503982335d"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
