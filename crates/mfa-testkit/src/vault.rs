//! A vault without secrecy that keeps the rest of the contract.

use std::sync::Mutex;

use async_trait::async_trait;
use mfa_domain::ports::{EventPosition, Vault, VaultError};
use mfa_domain::{EventId, KeyId, SealContext, Sealed, TenantId};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// A vault that opens only what it sealed, under the same key and in the same place, and never returns the
/// same bytes twice. **For tests only**: the name of a key is the key, and an event id encodes tenant and
/// position, so one id reveals others and a forged id of the tenant may be accepted.
#[derive(Debug)]
pub struct FakeVault(Mutex<Ring>);

#[derive(Debug)]
struct Ring {
    /// Oldest first.
    keys: Vec<KeyId>,
    sealed: u64,
}

const NONCE: usize = 8;
const TAG: usize = 32;

impl FakeVault {
    /// Makes `key` the newest key. Older keys still open.
    pub fn rotate(&self, key: KeyId) {
        self.0.lock().unwrap().keys.push(key);
    }

    /// Drops every key but the newest, so that content sealed with older keys is lost.
    pub fn forget_older(&self) {
        let mut ring = self.0.lock().unwrap();
        let older = ring.keys.len() - 1;
        ring.keys.drain(..older);
    }
}

impl Default for FakeVault {
    /// With one key, named `fake-1`.
    fn default() -> Self {
        Self(Mutex::new(Ring { keys: vec![KeyId::new("fake-1")], sealed: 0 }))
    }
}

#[async_trait]
impl Vault for FakeVault {
    async fn seal(&self, plain: &[u8], context: &SealContext<'_>) -> Result<Sealed, VaultError> {
        let key = self.newest();
        let nonce = {
            let mut ring = self.0.lock().unwrap();
            ring.sealed += 1;
            ring.sealed.to_be_bytes()
        };
        let mut bytes = nonce.to_vec();
        bytes.extend(masked(plain, &key, &nonce));
        bytes.extend(tag(&key, context, &bytes));
        Ok(Sealed { key, bytes })
    }

    async fn open(
        &self,
        sealed: &Sealed,
        context: &SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.check(&sealed.key).await?;
        let end = sealed.bytes.len().checked_sub(TAG).filter(|end| *end >= NONCE);
        let (body, found) = sealed.bytes.split_at(end.ok_or_else(|| VaultError::new("too short"))?);
        if found != tag(&sealed.key, context, body) {
            return Err(VaultError::new("altered, or moved to another place"));
        }
        let (nonce, masked_secret) = body.split_at(NONCE);
        Ok(Zeroizing::new(masked(masked_secret, &sealed.key, nonce)))
    }

    async fn check(&self, key: &KeyId) -> Result<(), VaultError> {
        let known = self.0.lock().unwrap().keys.contains(key);
        if known { Ok(()) } else { Err(VaultError::new("the key is not in the ring")) }
    }

    fn newest(&self) -> KeyId {
        self.0.lock().unwrap().keys.last().unwrap().clone()
    }

    fn event_id(&self, tenant: &TenantId, position: EventPosition) -> EventId {
        let (mut block, position) = ([0; 16], position.0.to_be_bytes());
        block[..8].copy_from_slice(&mark(tenant));
        block[8..].copy_from_slice(&position);
        EventId::from_block(block)
    }

    fn event_position(&self, tenant: &TenantId, id: EventId) -> Option<EventPosition> {
        let block = id.block();
        let (marked, position) = (block.first_chunk()?, block.last_chunk()?);
        (*marked == mark(tenant)).then(|| EventPosition(u64::from_be_bytes(*position)))
    }

    fn pseudonym(&self, of: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(b"pseudonym").chain_update(of).finalize().into()
    }
}

/// The part of event ids that differs between tenants.
fn mark(tenant: &TenantId) -> [u8; 8] {
    let hash = Sha256::digest(tenant.as_str());
    std::array::from_fn(|n| hash[n])
}

/// Masks bytes, or unmasks them.
fn masked(bytes: &[u8], key: &KeyId, nonce: &[u8]) -> Vec<u8> {
    let block = |n: usize| {
        Sha256::new().chain_update(key.as_str()).chain_update(nonce).chain_update(n.to_be_bytes()).finalize()
    };
    let mask = (0..).flat_map(block);
    bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
}

fn tag(key: &KeyId, context: &SealContext<'_>, body: &[u8]) -> [u8; TAG] {
    let tag = Sha256::new().chain_update(key.as_str()).chain_update(context.associated_data());
    tag.chain_update(body).finalize().into()
}
