//! Encryption of secrets at rest.

use std::fmt::Debug;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::port_error;
use crate::sealed::{KeyId, SealContext, Sealed};

/// Seals bytes, secrets first of all, and opens them again.
#[async_trait]
pub trait Vault: Debug + Send + Sync + 'static {
    /// Encrypts with the newest key. MUST bind `context` as associated data and MUST NOT give the same
    /// bytes twice.
    async fn seal(&self, plain: &[u8], context: &SealContext<'_>) -> Result<Sealed, VaultError>;

    /// Decrypts what was sealed with any key of the ring. MUST fail if a bit of it, its key or its
    /// context differs.
    async fn open(
        &self,
        sealed: &Sealed,
        context: &SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError>;

    /// Whether secrets of that key can be opened. MUST fail if the key is not at hand.
    async fn check(&self, key: &KeyId) -> Result<(), VaultError>;

    /// The key that new secrets are sealed with.
    fn newest(&self) -> KeyId;

    /// Whether secrets of that key are to be sealed anew with the newest. MUST be `false` for the
    /// newest, and for a key that this vault knows to be newer still: of two replicas of which one
    /// has the next key already, neither may undo what the other does.
    fn supersedes(&self, key: &KeyId) -> bool {
        *key != self.newest()
    }
}

port_error! {
    /// A secret could not be sealed or opened. It is never the user's fault.
    VaultError, "the vault failed"
}
