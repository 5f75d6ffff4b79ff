//! Randomness.

use std::fmt::Debug;

use rand::TryRng;
use rand::rngs::SysRng;

use super::port_error;

/// Generates unpredictable random bytes.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills the whole buffer from a cryptographically secure generator, or fails.
    ///
    /// # Errors
    /// [`EntropyError`] if the operating system gives no randomness. Do not use the buffer then.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

port_error! {
    /// No randomness is available.
    EntropyError, "the source of randomness failed"
}

/// The generator of the operating system.
///
/// It blocks until the system's pool is seeded once, right after boot, and never again. No generator state is in this
/// process, so a fork or a snapshot cannot copy it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        SysRng.try_fill_bytes(buffer).map_err(EntropyError::new)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::BackupCode;

    /// Predictable backup codes are a weakness of shipped products (CVE-2025-12628).
    #[test]
    fn of_ten_thousand_backup_codes_no_two_are_the_same_and_no_character_is_preferred() {
        let codes: HashSet<String> = (0..10_000)
            .map(|_| {
                let mut random = [0; BackupCode::ENTROPY_BYTES];
                SystemEntropy.fill(&mut random).unwrap();
                BackupCode::from_entropy(&random).expose().to_owned()
            })
            .collect();
        assert_eq!(codes.len(), 10_000);

        let mut seen = HashMap::new();
        for code in &codes {
            for place in code.char_indices() {
                *seen.entry(place).or_insert(0) += 1;
            }
        }
        // 16 places, 32 characters, 312.5 of each; ten standard deviations are 174.
        assert_eq!(seen.len(), 16 * 32);
        assert!(seen.values().all(|count| (139..=486).contains(count)), "{seen:?}");
    }
}
