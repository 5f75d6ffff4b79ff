//! Hashing of backup codes at rest.

use std::fmt::Debug;

use async_trait::async_trait;

use super::port_error;
use crate::BackupCode;
use crate::account::CodeHash;

/// Hashes backup codes with a slow, salted function.
#[async_trait]
pub trait CodeHasher: Debug + Send + Sync + 'static {
    /// A scheme for a new set of codes: algorithm, costs and a fresh salt, as text.
    ///
    /// # Errors
    /// [`HasherError`] if there is no randomness for the salt.
    fn scheme(&self) -> Result<String, HasherError>;

    /// Hashes one code under a scheme that this hasher gave, now or in an earlier version. MUST be
    /// deterministic, and MUST NOT block the caller's thread for the time that it takes.
    async fn hash(&self, scheme: &str, code: &BackupCode) -> Result<CodeHash, HasherError>;
}

port_error! {
    /// A code could not be hashed.
    HasherError, "the code hasher failed"
}
