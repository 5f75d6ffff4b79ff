//! Randomness.

use std::fmt::Debug;

use super::port_error;

/// Gives randomness that nobody can predict.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills the whole buffer from a cryptographically secure generator, or fails.
    ///
    /// # Errors
    /// [`EntropyError`] if the operating system gives none; the buffer must then not be used.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

port_error! {
    /// There is no randomness to be had.
    EntropyError, "the source of randomness failed"
}
