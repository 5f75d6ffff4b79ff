//! Encryption of stored secrets, and opaque event ids.

use std::fmt::Debug;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{EventPosition, port_error};
use crate::sealed::{KeyId, SealContext, Sealed};
use crate::{EventId, TenantId};

/// Seals and opens secrets and other bytes, and makes event ids that reveal nothing.
#[async_trait]
pub trait Vault: Debug + Send + Sync + 'static {
    /// Encrypts with the newest key. MUST bind `context` as associated data. MUST NOT return the same bytes twice.
    async fn seal(&self, plain: &[u8], context: &SealContext<'_>) -> Result<Sealed, VaultError>;

    /// Decrypts bytes that any key of the ring sealed. MUST fail if a bit of them, their key or their context
    /// differs.
    async fn open(
        &self,
        sealed: &Sealed,
        context: &SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError>;

    /// Checks that secrets sealed with this key can be opened. MUST fail if the key is not available.
    async fn check(&self, key: &KeyId) -> Result<(), VaultError>;

    /// The key that seals new secrets.
    fn newest(&self) -> KeyId;

    /// Whether secrets that this key sealed are to be sealed again with the newest key.
    ///
    /// MUST be `false` for the newest key, and for a key that this vault knows to be even newer: if only one of two
    /// replicas has the next key, neither may undo the work of the other.
    fn supersedes(&self, key: &KeyId) -> bool {
        *key != self.newest()
    }

    /// Returns the id by which a tenant knows the event at this position of the trail.
    ///
    /// MUST be a permutation under a secret key, a different one for each tenant, so that without the key two ids
    /// reveal neither the order nor the distance of their positions. MUST NOT change during the life of an
    /// installation, whatever happens to the sealing keys, since tenants store ids.
    fn event_id(&self, tenant: &TenantId, position: EventPosition) -> EventId;

    /// Returns the position of the event with this id. MUST return `None` for an id of another tenant, and for one
    /// that was made without the key.
    fn event_position(&self, tenant: &TenantId, id: EventId) -> Option<EventPosition>;

    /// Returns 32 bytes that stand for `of`, and reveal nothing about it.
    ///
    /// MUST be a keyed hash, whose key no caller has. MUST NOT change during the life of an installation, whatever
    /// happens to the sealing keys, and MUST be the same on all replicas.
    fn pseudonym(&self, of: &[u8]) -> [u8; 32];
}

port_error! {
    /// A secret could not be sealed or opened. Never caused by the user's input.
    VaultError, "the vault failed"
}
