//! API keys as callers send them.

use std::fmt;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use mfa_domain::ports::{ApiKey, ApiKeyHash, ApiKeyId, Entropy, EntropyError, Scopes};
use mfa_domain::{TenantId, Timestamp, UserCase};
use thiserror::Error;
use zeroize::Zeroizing;

/// An API key in plain text: `mfa_<id>_<secret>`. Show it once and store its [`record`](Self::record).
///
/// ```
/// # use mfa_domain::ports::{Entropy, EntropyError};
/// use mfa_actix::api_key::PlainApiKey;
///
/// # #[derive(Debug)] struct Os;
/// # impl Entropy for Os { fn fill(&self, b: &mut [u8]) -> Result<(), EntropyError> { b.fill(7); Ok(()) } }
/// let key = PlainApiKey::generate(&Os)?;
/// let read = PlainApiKey::parse(key.expose()).unwrap();
/// assert_eq!((read.id(), read.hash()), (key.id(), key.hash()));
/// # Ok::<(), EntropyError>(())
/// ```
pub struct PlainApiKey {
    id: ApiKeyId,
    text: Zeroizing<String>,
}

/// An API key for [`TenantId::installation`], which has no users: with one, a caller could change what the installation
/// keeps there, such as its signing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the tenant is reserved: there are no API keys for it")]
pub struct ReservedTenant;

impl PlainApiKey {
    const PREFIX: &str = "mfa_";
    const ID_BYTES: usize = 10;
    const SECRET_BYTES: usize = 32;

    /// Generates a key: an id of 80 random bits and a secret of 256.
    ///
    /// # Errors
    /// [`EntropyError`] if the source of randomness fails.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut id = [0; Self::ID_BYTES];
        let mut secret = Zeroizing::new([0; Self::SECRET_BYTES]);
        entropy.fill(&mut id)?;
        entropy.fill(secret.as_mut_slice())?;
        let id = BASE32_NOPAD.encode(&id).to_ascii_lowercase();
        let secret = Zeroizing::new(BASE64URL_NOPAD.encode(secret.as_slice()));
        let id = ApiKeyId::new(&id).map_err(EntropyError::new)?;
        let text = Zeroizing::new(format!("{}{id}_{}", Self::PREFIX, *secret));
        Ok(Self { id, text })
    }

    /// Parses a key as a caller sent it; `None` if it does not have the form of a key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(Self::PREFIX)?.split_once('_')?;
        let id = ApiKeyId::new(id).ok()?;
        // 32 bytes are 43 characters. A key of another length is in no store, so it needs no lookup.
        (secret.len() == 43).then(|| Self { id, text: Zeroizing::new(text.to_owned()) })
    }

    /// The id, which is the public part.
    #[must_use]
    pub const fn id(&self) -> &ApiKeyId {
        &self.id
    }

    /// The hash of the whole key.
    #[must_use]
    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash::of(&self.text)
    }

    /// The whole key, as a caller sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The record to store: the hash of the key, without a name. User ids are compared exactly; if the tenant already
    /// has a key, the store keeps that key's comparison.
    ///
    /// # Errors
    /// [`ReservedTenant`] for [`TenantId::installation`].
    pub fn record(&self, tenant: TenantId, scopes: Scopes, now: Timestamp) -> Result<ApiKey, ReservedTenant> {
        if tenant == TenantId::installation() {
            return Err(ReservedTenant);
        }
        Ok(ApiKey {
            id: self.id.clone(),
            name: None,
            tenant,
            user_case: UserCase::Exact,
            scopes,
            hash: self.hash(),
            created_at: now,
            revoked_at: None,
            last_used_at: None,
        })
    }
}

impl fmt::Debug for PlainApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}
