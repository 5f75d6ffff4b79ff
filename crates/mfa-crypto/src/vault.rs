//! Encryption of secrets at rest, and opaque event ids.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mfa_domain::ports::{Entropy, EntropyError, EventPosition, SystemEntropy, Vault, VaultError};
use mfa_domain::{EventId, KeyId, SealContext, Sealed, TenantId};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::{KeyRing, KeyRingError};

mod cipher;
mod event_ids;
mod pseudonym;

use cipher::{NONCE_LENGTH, TAG_LENGTH};

/// Seals secrets with AES-256-GCM (NIST SP 800-38D) under the newest key of a [`KeyRing`].
///
/// A sealed secret is one version byte, a random 96-bit nonce, the ciphertext and a 128-bit tag. Its
/// associated data are the version, the key's id and [`SealContext::associated_data`], so it opens only with
/// its own key and in its own row.
///
/// With random nonces one key may seal 2^32 secrets (SP 800-38D, 8.3): the probability that a nonce repeats,
/// which would reveal the authentication key, is then below 2^-32. At one secret per second that takes 136
/// years; an installation that seals more must add a key sooner.
///
/// It does not hide the length of a secret, nor which key sealed it.
///
/// An [`EventId`] is one block of AES-256 (FIPS 197): the position and 64 bits of redundancy that detect
/// forged ids. Its key is derived for the tenant from a secret of the ring that never changes.
pub struct AesGcmVault {
    ring: RwLock<Arc<KeyRing>>,
    entropy: Arc<dyn Entropy>,
    reload: Option<Reload>,
}

/// Why a secret could not be sealed or opened: the source of every [`VaultError`] of this vault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VaultFailure {
    /// No randomness was available for a nonce.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The ring has no such key. If reloading the ring failed, `source` says why.
    #[error("no key {id:?} in the key ring")]
    UnknownKey {
        /// The key that the secret names.
        id: KeyId,
        /// Why the ring could not be reloaded.
        source: Option<BoxError>,
    },
    /// The bytes are not a sealed secret of a known version.
    #[error("not a sealed secret of a known version")]
    Malformed,
    /// The tag is wrong: the bytes, the name of the key or the place of the secret was changed.
    #[error("the sealed secret, its key or its place was changed")]
    NotAuthentic,
    /// The cipher refused to seal.
    #[error("the cipher refused to seal")]
    Refused,
}

/// Any error.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Reloads the ring.
type ReadRing = Arc<dyn Fn() -> Result<KeyRing, BoxError> + Send + Sync>;

struct Reload {
    read: ReadRing,
    /// The time of the last attempt. Locked during an attempt, so that all callers wait for the same read.
    tried: Mutex<Option<Instant>>,
}

impl AesGcmVault {
    /// Minimum time between two reloads: a store full of unknown keys must not cause a flood of reads.
    pub const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

    /// A vault with these keys.
    #[must_use]
    pub fn new(ring: KeyRing) -> Self {
        Self { ring: RwLock::new(Arc::new(ring)), entropy: Arc::new(SystemEntropy), reload: None }
    }

    /// Replaces the randomness of the operating system.
    #[must_use]
    pub fn with_entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Reloads the ring when a secret names an unknown key, at most once per second, on a thread for blocking
    /// work of the Tokio runtime.
    ///
    /// So replicas adopt a key that was added to their common ring while they run. The new ring replaces the
    /// old one only if it has the requested key, every key of the old ring, and the same secret for event
    /// ids.
    #[must_use]
    pub fn with_reload<E: Into<BoxError>>(
        mut self,
        read: impl Fn() -> Result<KeyRing, E> + Send + Sync + 'static,
    ) -> Self {
        let read: ReadRing = Arc::new(move || read().map_err(Into::into));
        self.reload = Some(Reload { read, tried: Mutex::new(None) });
        self
    }

    /// Replaces the ring for all later calls.
    ///
    /// # Errors
    /// [`KeyRingError::OtherEventIds`] if existing event ids would change: the new ring then belongs to
    /// another installation, and the old one stays.
    pub fn replace_ring(&self, ring: KeyRing) -> Result<(), KeyRingError> {
        if !ring.has_event_ids_of(&self.ring()) {
            return Err(KeyRingError::OtherEventIds);
        }
        self.install(Arc::new(ring));
        Ok(())
    }

    fn install(&self, ring: Arc<KeyRing>) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
    }

    fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The ring if it has this key; reloads it if necessary.
    async fn ring_with(&self, id: &KeyId) -> Result<Arc<KeyRing>, VaultFailure> {
        let ring = self.ring();
        if ring.contains(id) {
            return Ok(ring);
        }
        let unknown = |source| VaultFailure::UnknownKey { id: id.clone(), source };
        let Some(reload) = &self.reload else { return Err(unknown(None)) };

        let mut tried = reload.tried.lock().await;
        let ring = self.ring();
        if ring.contains(id) {
            return Ok(ring);
        }
        if tried.is_some_and(|last| last.elapsed() < Self::RELOAD_INTERVAL) {
            return Err(unknown(None));
        }
        #[expect(clippy::disallowed_methods, reason = "limits a rate in this process; decides nothing")]
        tried.replace(Instant::now());
        let fresh = reload.ring().await.map_err(|error| unknown(Some(error)))?;
        if !fresh.contains(id) {
            return Err(unknown(None));
        }
        let fresh = Arc::new(fresh);
        // A ring that lacks keys may open this secret, but must not make others unreadable.
        if ring.keys().all(|(id, _)| fresh.contains(id)) && fresh.has_event_ids_of(&ring) {
            self.install(Arc::clone(&fresh));
        }
        Ok(fresh)
    }

    fn seal_now(&self, plain: &[u8], context: &SealContext<'_>) -> Result<Sealed, VaultFailure> {
        let ring = self.ring();
        let mut nonce = [0; NONCE_LENGTH];
        self.entropy.fill(&mut nonce)?;
        let data = associated_data(ring.newest(), context);
        let mut bytes = Vec::with_capacity(1 + NONCE_LENGTH + plain.len() + TAG_LENGTH);
        bytes.push(VERSION);
        bytes.extend_from_slice(&nonce);
        cipher::seal(ring.newest_key(), &nonce, &data, plain, &mut bytes)
            .map_err(|cipher::Failed| VaultFailure::Refused)?;
        Ok(Sealed { key: ring.newest().clone(), bytes })
    }

    async fn open_now(
        &self,
        sealed: &Sealed,
        context: &SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultFailure> {
        let (nonce, ciphertext) = split(&sealed.bytes).ok_or(VaultFailure::Malformed)?;
        let ring = self.ring_with(&sealed.key).await?;
        let Some(key) = ring.key(&sealed.key) else {
            return Err(VaultFailure::UnknownKey { id: sealed.key.clone(), source: None });
        };
        let data = associated_data(&sealed.key, context);
        cipher::open(key, nonce, &data, ciphertext).map_err(|cipher::Failed| VaultFailure::NotAuthentic)
    }
}

impl Reload {
    async fn ring(&self) -> Result<KeyRing, BoxError> {
        let read = Arc::clone(&self.read);
        Handle::try_current()?.spawn_blocking(move || read()).await?
    }
}

#[async_trait]
impl Vault for AesGcmVault {
    async fn seal(&self, plain: &[u8], context: &SealContext<'_>) -> Result<Sealed, VaultError> {
        self.seal_now(plain, context).map_err(VaultError::new)
    }

    async fn open(
        &self,
        sealed: &Sealed,
        context: &SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.open_now(sealed, context).await.map_err(VaultError::new)
    }

    async fn check(&self, key: &KeyId) -> Result<(), VaultError> {
        self.ring_with(key).await.map(drop).map_err(VaultError::new)
    }

    fn newest(&self) -> KeyId {
        self.ring().newest().clone()
    }

    fn supersedes(&self, key: &KeyId) -> bool {
        self.ring().is_older(key)
    }

    fn event_id(&self, tenant: &TenantId, position: EventPosition) -> EventId {
        event_ids::id(self.ring().event_ids(), tenant, position)
    }

    fn event_position(&self, tenant: &TenantId, id: EventId) -> Option<EventPosition> {
        event_ids::position(self.ring().event_ids(), tenant, id)
    }

    fn pseudonym(&self, of: &[u8]) -> [u8; 32] {
        pseudonym::of(self.ring().event_ids(), of)
    }
}

impl fmt::Debug for AesGcmVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AesGcmVault").field("ring", &self.ring()).finish_non_exhaustive()
    }
}

/// The version of the layout.
const VERSION: u8 = 1;

/// Splits into nonce, and ciphertext with tag.
fn split(bytes: &[u8]) -> Option<(&[u8; NONCE_LENGTH], &[u8])> {
    let (version, rest) = bytes.split_first()?;
    let (nonce, ciphertext) = rest.split_first_chunk()?;
    (*version == VERSION && ciphertext.len() >= TAG_LENGTH).then_some((nonce, ciphertext))
}

fn associated_data(key: &KeyId, context: &SealContext<'_>) -> Vec<u8> {
    let key = key.as_str().as_bytes();
    let mut data = vec![VERSION];
    // The length comes first, so no part of the key's id can be read as part of the context.
    data.extend_from_slice(&(key.len() as u64).to_be_bytes());
    data.extend_from_slice(key);
    data.extend_from_slice(&context.associated_data());
    data
}
