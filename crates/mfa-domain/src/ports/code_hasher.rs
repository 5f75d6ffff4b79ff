//! Hashing of stored backup codes.

use std::fmt::Debug;

use async_trait::async_trait;

use super::port_error;
use crate::BackupCode;
use crate::account::CodeHash;

/// Hashes backup codes with a slow, salted function.
#[async_trait]
pub trait CodeHasher: Debug + Send + Sync + 'static {
    /// Returns the scheme for a new set of codes: algorithm, costs and a fresh salt, as text.
    ///
    /// # Errors
    /// [`HasherError`] if there is no randomness for the salt.
    fn scheme(&self) -> Result<String, HasherError>;

    /// Hashes one code under a scheme of this hasher or of an earlier version of it. MUST be deterministic. MUST NOT
    /// block the calling thread while it hashes.
    async fn hash(&self, scheme: &str, code: &BackupCode) -> Result<CodeHash, HasherError>;
}

port_error! {
    /// A code could not be hashed.
    HasherError, "the code hasher failed"
}
