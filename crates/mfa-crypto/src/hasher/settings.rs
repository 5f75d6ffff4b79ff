//! The costs of an evaluation.

use std::thread::available_parallelism;

use thiserror::Error;

/// The costs of one evaluation of Argon2id, and how many may run at a time.
///
/// The defaults are the minimum of the OWASP Password Storage Cheat Sheet: 19 MiB, two iterations, one lane.
/// Backup codes are 80 random bits, not passwords: even with a fast hash they could not be searched, so this
/// is a second line of defence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argon2Settings {
    /// Memory of one evaluation in KiB. Default 19,456; at least 8 for each lane, at most
    /// [`Argon2Settings::MAX_MEMORY_KIB`].
    pub memory_kib: u32,
    /// Passes over the memory. Default 2; 1 to [`Argon2Settings::MAX_ITERATIONS`].
    pub iterations: u32,
    /// Lanes. Default 1; 1 to [`Argon2Settings::MAX_LANES`]. They are computed one after the other.
    pub lanes: u32,
    /// Maximum number of concurrent evaluations; others wait. Default one per processor; 1 to
    /// [`Argon2Settings::MAX_CONCURRENCY`], with a total memory of at most
    /// [`Argon2Settings::MAX_MEMORY_AT_ONCE_KIB`].
    pub concurrency: usize,
}

/// A setting is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{setting} must be {rule}")]
pub struct InvalidSettings {
    /// The name of the setting.
    pub setting: &'static str,
    /// The rule that it violates.
    pub rule: &'static str,
}

impl Argon2Settings {
    /// Maximum memory of one evaluation: 256 MiB. It also applies to stored schemes, so that an attacker who
    /// can write to the store cannot make this process allocate without limit.
    pub const MAX_MEMORY_KIB: u32 = 256 * 1024;

    /// Maximum number of passes over the memory.
    pub const MAX_ITERATIONS: u32 = 16;

    /// Maximum number of lanes.
    pub const MAX_LANES: u32 = 16;

    /// Maximum number of concurrent evaluations; each has a thread.
    pub const MAX_CONCURRENCY: usize = 256;

    /// Maximum memory of all concurrent evaluations: 16 GiB.
    pub const MAX_MEMORY_AT_ONCE_KIB: u64 = 16 * 1024 * 1024;

    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the first setting that is not.
    pub fn validate(&self) -> Result<(), InvalidSettings> {
        check_costs(self.memory_kib, self.iterations, self.lanes)?;
        let at_once = u64::from(self.memory_kib).saturating_mul(self.concurrency as u64);
        all_hold(&[
            ("concurrency", (1..=Self::MAX_CONCURRENCY).contains(&self.concurrency), "1 to 256"),
            (
                "concurrency",
                at_once <= Self::MAX_MEMORY_AT_ONCE_KIB,
                "low enough that all evaluations together need at most 16 GiB",
            ),
        ])
    }

    /// The memory of one evaluation in Argon2's blocks of 1 KiB.
    pub(super) fn blocks(&self) -> usize {
        usize::try_from(self.memory_kib.min(Self::MAX_MEMORY_KIB)).unwrap_or_default()
    }
}

impl Default for Argon2Settings {
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            iterations: 2,
            lanes: 1,
            concurrency: available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Checks the ranges of settings and of stored schemes.
pub(super) fn check_costs(memory_kib: u32, iterations: u32, lanes: u32) -> Result<(), InvalidSettings> {
    const BLOCKS_PER_LANE: u32 = 8;
    all_hold(&[
        ("lanes", (1..=Argon2Settings::MAX_LANES).contains(&lanes), "1 to 16"),
        ("iterations", (1..=Argon2Settings::MAX_ITERATIONS).contains(&iterations), "1 to 16"),
        ("memory_kib", memory_kib >= lanes.saturating_mul(BLOCKS_PER_LANE), "at least 8 for each lane"),
        ("memory_kib", memory_kib <= Argon2Settings::MAX_MEMORY_KIB, "at most 262144"),
    ])
}

fn all_hold(rules: &[(&'static str, bool, &'static str)]) -> Result<(), InvalidSettings> {
    match rules.iter().find(|(_, holds, _)| !holds) {
        None => Ok(()),
        Some((setting, _, rule)) => Err(InvalidSettings { setting, rule }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let good = Argon2Settings::default();
        assert_eq!(good.validate(), Ok(()));
        assert_eq!((good.memory_kib, good.iterations, good.lanes), (19_456, 2, 1));
        for bad in [
            Argon2Settings { memory_kib: 7, ..good.clone() },
            Argon2Settings { memory_kib: 31, lanes: 4, ..good.clone() },
            Argon2Settings { memory_kib: 256 * 1024 + 1, ..good.clone() },
            Argon2Settings { iterations: 0, ..good.clone() },
            Argon2Settings { iterations: 17, ..good.clone() },
            Argon2Settings { lanes: 0, ..good.clone() },
            Argon2Settings { lanes: 17, ..good.clone() },
            Argon2Settings { lanes: u32::MAX, ..good.clone() },
            Argon2Settings { concurrency: 0, ..good.clone() },
            Argon2Settings { concurrency: 257, ..good.clone() },
            Argon2Settings { concurrency: 65, memory_kib: 256 * 1024, ..good.clone() },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
