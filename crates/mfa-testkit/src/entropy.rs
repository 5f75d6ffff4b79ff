//! Reproducible randomness.

use std::sync::atomic::{AtomicU64, Ordering};

use mfa_domain::ports::{Entropy, EntropyError};
use sha2::{Digest, Sha256};

/// A source that yields the same bytes for the same seed. **For tests only**: the seed reveals every secret.
#[derive(Debug, Default)]
pub struct SeededEntropy {
    seed: u64,
    blocks: AtomicU64,
}

impl SeededEntropy {
    /// Starts the bytes of `seed` from the beginning.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, blocks: AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in buffer.chunks_mut(32) {
            let block = self.blocks.fetch_add(1, Ordering::SeqCst);
            let bytes = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(block.to_be_bytes());
            chunk.copy_from_slice(&bytes.finalize()[..chunk.len()]);
        }
        Ok(())
    }
}
