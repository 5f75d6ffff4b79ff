//! Encryption of secrets at rest, and of what ids would tell.

use std::fmt::Debug;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{EventPosition, port_error};
use crate::sealed::{KeyId, SealContext, Sealed};
use crate::{EventId, TenantId};

/// Seals bytes, secrets first of all, and opens them again; and gives events ids that tell nothing.
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

    /// The id by which a tenant knows the event at that position of the trail.
    ///
    /// MUST be a permutation under a key, another one for each tenant, so that without the key ids tell
    /// nothing of their positions: not which is the larger, nor how far they are apart. MUST stay as it is for
    /// the life of an installation, whatever becomes of the keys that seal: tenants keep ids.
    fn event_id(&self, tenant: &TenantId, position: EventPosition) -> EventId;

    /// The position of the event that a tenant knows by that id. MUST be `None` for an id of another tenant,
    /// and for one that was made up without the key.
    fn event_position(&self, tenant: &TenantId, id: EventId) -> Option<EventPosition>;
}

port_error! {
    /// A secret could not be sealed or opened. It is never the user's fault.
    VaultError, "the vault failed"
}
