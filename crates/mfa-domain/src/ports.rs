//! The ports: small traits for everything the domain needs from outside, each with its contract in MUST sentences.
//!
//! The suites of `mfa-testkit` test the same sentences. An adapter runs them in its tests.

use std::sync::Arc;

use async_trait::async_trait;

use crate::passkey::{Aaguid, AssertionResponse, PublicKey, RegistrationResponse};
use crate::{Challenge, ChallengeId, Progress, TenantId, Version, Versioned};

pub mod account_store;
pub mod api_key_store;
pub mod challenge_store;
pub mod clock;
pub mod code_hasher;
pub mod delivery_store;
pub mod entropy;
pub mod outbox;
pub mod reference_clock;
pub mod sender;
pub mod signer;
pub mod signing_keys;
pub mod throttle;
pub mod vault;
pub mod webauthn;

pub use account_store::{
    AccountEntry, AccountPage, AccountPlace, AccountQuery, AccountStore, Commit, EventPage, EventPosition,
    EventQuery, RecordedEvent, StoreError, UnreadableAccount, UnreadableEvent,
};
pub use api_key_store::{
    ApiKey, ApiKeyHash, ApiKeyId, ApiKeyList, ApiKeyName, ApiKeyStore, Scope, Scopes, UnreadableApiKey,
};
pub use challenge_store::ChallengeStore;
pub use clock::{Clock, ClockBeforeEpoch, SystemClock};
pub use code_hasher::{CodeHasher, HasherError};
pub use delivery_store::{DeliveryStore, TrailEvent, TrailPage};
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use outbox::{Claimed, Outbox, UnreadableMessage};
pub use reference_clock::{Deviation, ReferenceClock, ReferenceClockError};
pub use sender::{CodeMessage, InvalidRecipient, Sender, SenderError};
pub use signer::{Signature, SignatureVerifier, Signer, SignerError};
pub use signing_keys::{KeyPair, SigningKeys};
pub use throttle::{Throttle, ThrottleKey, ThrottleKind};
pub use vault::{Vault, VaultError};
pub use webauthn::{
    Assertion, AuthenticationRequest, Ceremony, CeremonyError, CredentialHint, CredentialRefusal,
    KnownCredential, NewCredential, RegistrationRequest, Webauthn, WebauthnError,
};

/// Every port that [`Mfa`](crate::Mfa) uses. To replace one in a test, write `Ports { accounts, ..ports }`.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Stores accounts and their events.
    pub accounts: Arc<dyn AccountStore>,
    /// Seals secrets.
    pub vault: Arc<dyn Vault>,
    /// Hashes backup codes.
    pub hasher: Arc<dyn CodeHasher>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Generates random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Stores challenges. Without it, factors whose codes are sent cannot be used.
    pub challenges: Arc<dyn ChallengeStore>,
    /// Sends codes. Without it, no code is sent.
    pub sender: Arc<dyn Sender>,
    /// Checks passkeys. Default: none, and every passkey fails.
    pub webauthn: Arc<dyn Webauthn>,
    /// Makes the keys that sign assertions. Default: none, and nothing is signed.
    pub signing_keys: Option<Arc<dyn SigningKeys>>,
}

impl Ports {
    /// The required ports, with the clock and the randomness of the operating system.
    #[must_use]
    pub fn new(accounts: impl AccountStore, vault: impl Vault, hasher: impl CodeHasher) -> Self {
        Self::shared(Arc::new(accounts), Arc::new(vault), Arc::new(hasher))
    }

    /// As [`new`](Self::new), with adapters that are shared with other parts of the program.
    #[must_use]
    pub fn shared(
        accounts: Arc<dyn AccountStore>,
        vault: Arc<dyn Vault>,
        hasher: Arc<dyn CodeHasher>,
    ) -> Self {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        Self {
            accounts,
            vault,
            hasher,
            clock,
            entropy,
            challenges: Arc::new(Missing),
            sender: Arc::new(Missing),
            webauthn: Arc::new(Missing),
            signing_keys: None,
        }
    }

    /// Replaces the clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the source of randomness.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Sets the challenge store.
    #[must_use]
    pub fn challenges(mut self, challenges: Arc<dyn ChallengeStore>) -> Self {
        self.challenges = challenges;
        self
    }

    /// Sets the sender of codes.
    #[must_use]
    pub fn sender(mut self, sender: Arc<dyn Sender>) -> Self {
        self.sender = sender;
        self
    }

    /// With what checks passkeys.
    #[must_use]
    pub fn webauthn(mut self, webauthn: Arc<dyn Webauthn>) -> Self {
        self.webauthn = webauthn;
        self
    }

    /// With what makes the keys that sign assertions.
    #[must_use]
    pub fn signing_keys(mut self, keys: Arc<dyn SigningKeys>) -> Self {
        self.signing_keys = Some(keys);
        self
    }
}

/// Stands in for a port that was not set: every call fails.
#[derive(Debug)]
struct Missing;

#[async_trait]
impl ChallengeStore for Missing {
    async fn put(&self, _: &Challenge) -> Result<(), StoreError> {
        Err(StoreError::new("no challenge store is configured"))
    }

    async fn get(&self, _: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        Err(StoreError::new("no challenge store is configured"))
    }

    async fn swap(&self, _: &ChallengeId, _: Version, _: &Progress) -> Result<Commit, StoreError> {
        Err(StoreError::new("no challenge store is configured"))
    }
}

#[async_trait]
impl Sender for Missing {
    async fn send(&self, _: &CodeMessage<'_>) -> Result<(), SenderError> {
        Err(SenderError::not_sent("no sender is configured"))
    }
}

impl Webauthn for Missing {
    fn rp_id(&self, _: &TenantId) -> &'static str {
        ""
    }

    fn begin_registration(
        &self,
        _: &TenantId,
        _: &RegistrationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        Err(no_webauthn())
    }

    fn finish_registration(
        &self,
        _: &TenantId,
        _: &[u8],
        _: &RegistrationResponse,
    ) -> Result<NewCredential, CeremonyError> {
        Err(no_webauthn().into())
    }

    fn begin_authentication(
        &self,
        _: &TenantId,
        _: &AuthenticationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        Err(no_webauthn())
    }

    fn finish_authentication(
        &self,
        _: &TenantId,
        _: &[u8],
        _: &AssertionResponse,
        _: Option<KnownCredential<'_>>,
    ) -> Result<Assertion, CeremonyError> {
        Err(no_webauthn().into())
    }

    fn check_key(&self, _: &PublicKey) -> Result<(), CredentialRefusal> {
        Err(CredentialRefusal::PublicKey)
    }

    fn model(&self, _: Aaguid) -> Option<String> {
        None
    }
}

fn no_webauthn() -> WebauthnError {
    WebauthnError::new("no relying party is configured")
}

/// Defines an opaque error of a port. The domain passes it on; only the adapter and the log know the cause.
macro_rules! port_error {
    ($(#[$doc:meta])* $name:ident, $message:literal) => {
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        #[error($message)]
        pub struct $name(#[source] Box<dyn std::error::Error + Send + Sync>);

        impl $name {
            /// Wraps an adapter's own error.
            pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
                Self(source.into())
            }
        }
    };
}
pub(crate) use port_error;
