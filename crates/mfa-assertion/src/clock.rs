//! The clock of a host that names no other.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time by the clock of the operating system, in whole seconds since 1970. 0 for any earlier time: then every
/// assertion is dated ahead, and refused.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the system's clock is read")]
pub fn system_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
