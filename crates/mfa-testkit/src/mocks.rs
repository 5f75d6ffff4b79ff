//! Mocks of every port by `mockall`, for tests that state the expected calls and their answers.
//!
//! ```
//! use mfa_domain::ports::Clock;
//! use mfa_domain::Timestamp;
//! use mfa_testkit::mocks::MockClock;
//!
//! let mut clock = MockClock::new();
//! clock.expect_now().times(1).return_const(Timestamp::from_unix_seconds(59));
//! assert_eq!(clock.now().unix_seconds(), 59);
//! ```

#![allow(missing_docs, clippy::ref_option_ref, reason = "mockall writes these")]

use std::sync::Arc;

use async_trait::async_trait;
use mfa_domain::account::CodeHash;
use mfa_domain::passkey::{
    Aaguid, AssertionResponse, CredentialId, PublicKey, RegistrationResponse, UserHandle,
};
use mfa_domain::ports::{
    AccountPage, AccountQuery, AccountStore, ApiKey, ApiKeyId, ApiKeyList, ApiKeyStore, Assertion,
    AuthenticationRequest, Ceremony, CeremonyError, ChallengeStore, Claimed, Clock, CodeHasher, CodeMessage,
    Commit, CredentialHint, CredentialRefusal, DeliveryStore, Deviation, Entropy, EntropyError, EventPage,
    EventPosition, EventQuery, HasherError, KeyPair, KnownCredential, NewCredential, Outbox, ReferenceClock,
    ReferenceClockError, RegistrationRequest, Sender, SenderError, Signature, SignatureVerifier, Signer,
    SignerError, SigningKeys, StoreError, Throttle, ThrottleKey, TrailPage, Vault, VaultError, Webauthn,
    WebauthnError,
};
use mfa_domain::signing::{SigningAlgorithm, SigningPublicKey};
use mfa_domain::{
    Account, AccountKey, AuditHead, BackupCode, Challenge, ChallengeId, Charge, Delivery, Delta, EndpointId,
    EventId, Handle, KeyId, Message, MessageId, Passkey, Progress, Quota, SealContext, Sealed, Sending,
    TenantId, Timestamp, Version, Versioned,
};
use mockall::mock;
use zeroize::Zeroizing;

mock! {
    #[derive(Debug)]
    pub AccountStore {}

    #[async_trait]
    impl AccountStore for AccountStore {
        async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError>;
        async fn load_without_backup_codes(
            &self,
            key: &AccountKey,
        ) -> Result<Versioned<Account>, StoreError>;
        async fn commit(
            &self,
            key: &AccountKey,
            expected: Version,
            delta: &Delta,
        ) -> Result<Commit, StoreError>;
        async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError>;
        async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError>;
        async fn trim(
            &self,
            key: &AccountKey,
            from: AuditHead,
            to: AuditHead,
        ) -> Result<Commit, StoreError>;
        async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError>;
        async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError>;
    }
}

mock! {
    /// Mocks receive borrowed nested data by value.
    #[derive(Debug)]
    pub ApiKeyStore {
        pub fn insert(&self, key: &ApiKey) -> Result<(), StoreError>;
        pub fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError>;
        pub fn list(&self, tenant: Option<TenantId>) -> Result<ApiKeyList, StoreError>;
        pub fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError>;
        pub fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError>;
    }
}

#[async_trait]
impl ApiKeyStore for MockApiKeyStore {
    async fn insert(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.insert(key)
    }

    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        self.find(id)
    }

    async fn list(&self, tenant: Option<&TenantId>) -> Result<ApiKeyList, StoreError> {
        self.list(tenant.cloned())
    }

    async fn revoke(&self, id: &ApiKeyId, at: Timestamp) -> Result<bool, StoreError> {
        self.revoke(id, at)
    }

    async fn note_use(&self, id: &ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        self.note_use(id, at)
    }
}

mock! {
    #[derive(Debug)]
    pub ChallengeStore {}

    #[async_trait]
    impl ChallengeStore for ChallengeStore {
        async fn put(&self, challenge: &Challenge) -> Result<(), StoreError>;
        async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError>;
        async fn swap(
            &self,
            id: &ChallengeId,
            expected: Version,
            next: &Progress,
        ) -> Result<Commit, StoreError>;
    }
}

mock! {
    #[derive(Debug)]
    pub DeliveryStore {}

    #[async_trait]
    impl DeliveryStore for DeliveryStore {
        async fn delivery(&self, endpoint: &EndpointId) -> Result<Option<Versioned<Delivery>>, StoreError>;
        async fn swap(
            &self,
            endpoint: &EndpointId,
            expected: Version,
            next: &Delivery,
        ) -> Result<Commit, StoreError>;
        async fn trail(&self, after: EventPosition, limit: u32) -> Result<TrailPage, StoreError>;
        async fn last_event(&self) -> Result<EventPosition, StoreError>;
    }
}

mock! {
    #[derive(Debug)]
    pub Outbox {}

    #[async_trait]
    impl Outbox for Outbox {
        async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError>;
        async fn message(
            &self,
            tenant: &TenantId,
            id: MessageId,
        ) -> Result<Option<Versioned<Message>>, StoreError>;
        async fn swap(
            &self,
            tenant: &TenantId,
            id: MessageId,
            expected: Version,
            next: &Sending,
        ) -> Result<Commit, StoreError>;
    }
}

mock! {
    #[derive(Debug)]
    pub Throttle {}

    #[async_trait]
    impl Throttle for Throttle {
        async fn charge(&self, key: &ThrottleKey, quota: Quota, now: Timestamp) -> Result<Charge, StoreError>;
    }
}

mock! {
    /// Mocks receive a context as the bytes that it binds ([`SealContext::associated_data`]).
    #[derive(Debug)]
    pub Vault {
        pub fn seal(&self, plain: &[u8], context: Vec<u8>) -> Result<Sealed, VaultError>;
        pub fn open(&self, sealed: &Sealed, context: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, VaultError>;
        pub fn check(&self, key: &KeyId) -> Result<(), VaultError>;
        pub fn newest(&self) -> KeyId;
        pub fn supersedes(&self, key: &KeyId) -> bool;
        pub fn event_id(&self, tenant: &TenantId, position: EventPosition) -> EventId;
        pub fn event_position(&self, tenant: &TenantId, id: EventId) -> Option<EventPosition>;
        pub fn pseudonym(&self, of: &[u8]) -> [u8; 32];
    }
}

#[async_trait]
impl Vault for MockVault {
    async fn seal(&self, plain: &[u8], context: &SealContext<'_>) -> Result<Sealed, VaultError> {
        self.seal(plain, context.associated_data())
    }

    async fn open(
        &self,
        sealed: &Sealed,
        context: &SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.open(sealed, context.associated_data())
    }

    async fn check(&self, key: &KeyId) -> Result<(), VaultError> {
        self.check(key)
    }

    fn newest(&self) -> KeyId {
        self.newest()
    }

    fn supersedes(&self, key: &KeyId) -> bool {
        self.supersedes(key)
    }

    fn event_id(&self, tenant: &TenantId, position: EventPosition) -> EventId {
        self.event_id(tenant, position)
    }

    fn event_position(&self, tenant: &TenantId, id: EventId) -> Option<EventPosition> {
        self.event_position(tenant, id)
    }

    fn pseudonym(&self, of: &[u8]) -> [u8; 32] {
        self.pseudonym(of)
    }
}

mock! {
    #[derive(Debug)]
    pub CodeHasher {}

    #[async_trait]
    impl CodeHasher for CodeHasher {
        fn scheme(&self) -> Result<String, HasherError>;
        async fn hash(&self, scheme: &str, code: &BackupCode) -> Result<CodeHash, HasherError>;
    }
}

mock! {
    /// Mocks receive borrowed data by value: the address and the code.
    #[derive(Debug)]
    pub Sender {
        pub fn send(&self, to: String, code: String) -> Result<(), SenderError>;
    }
}

#[async_trait]
impl Sender for MockSender {
    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError> {
        self.send(message.to.expose().to_owned(), message.code.as_str().to_owned())
    }
}

mock! {
    #[derive(Debug)]
    pub Clock {}

    impl Clock for Clock {
        fn now(&self) -> Timestamp;
    }
}

mock! {
    /// Mocks expect a comparison with any clock.
    #[derive(Debug)]
    pub ReferenceClock {
        pub fn compare(&self) -> Result<Deviation, ReferenceClockError>;
    }
}

#[async_trait]
impl ReferenceClock for MockReferenceClock {
    async fn compare(&self, _: &dyn Clock) -> Result<Deviation, ReferenceClockError> {
        self.compare()
    }
}

mock! {
    #[derive(Debug)]
    pub Entropy {}

    impl Entropy for Entropy {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
    }
}

mock! {
    #[derive(Debug)]
    pub Signer {}

    #[async_trait]
    impl Signer for Signer {
        fn key_id(&self) -> String;
        async fn sign(&self, message: &[u8]) -> Result<Signature, SignerError>;
    }
}

mock! {
    #[derive(Debug)]
    pub SignatureVerifier {}

    impl SignatureVerifier for SignatureVerifier {
        fn key_id(&self) -> String;
        fn verify(&self, message: &[u8], signature: &Signature) -> bool;
    }
}

mock! {
    #[derive(Debug)]
    pub SigningKeys {}

    impl SigningKeys for SigningKeys {
        fn generate(&self, algorithm: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, EntropyError>;
        fn read(&self, algorithm: SigningAlgorithm, private: &[u8]) -> Result<Arc<dyn KeyPair>, SignerError>;
    }
}

mock! {
    #[derive(Debug)]
    pub KeyPair {}

    impl KeyPair for KeyPair {
        fn public_key(&self) -> SigningPublicKey;
        fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError>;
    }
}

mock! {
    /// Mocks receive borrowed data by value: the user handle, the challenge, and the ids of the credentials of a
    /// request, and a passkey with its public key.
    #[derive(Debug)]
    pub Webauthn {
        pub fn rp_id(&self, tenant: &TenantId) -> &'static str;
        pub fn begin_registration(
            &self,
            tenant: &TenantId,
            user_handle: UserHandle,
            exclude: Vec<CredentialId>,
        ) -> Result<Ceremony, WebauthnError>;
        pub fn finish_registration(
            &self,
            tenant: &TenantId,
            state: &[u8],
            response: &RegistrationResponse,
        ) -> Result<NewCredential, CeremonyError>;
        pub fn begin_authentication(
            &self,
            tenant: &TenantId,
            challenge: [u8; 32],
            allow: Option<Vec<CredentialId>>,
        ) -> Result<Ceremony, WebauthnError>;
        pub fn finish_authentication(
            &self,
            tenant: &TenantId,
            state: &[u8],
            response: &AssertionResponse,
            passkey: Option<(Passkey, PublicKey)>,
        ) -> Result<Assertion, CeremonyError>;
        pub fn check_key(&self, public_key: &PublicKey) -> Result<(), CredentialRefusal>;
        pub fn model(&self, aaguid: Aaguid) -> Option<String>;
    }
}

impl Webauthn for MockWebauthn {
    fn rp_id(&self, tenant: &TenantId) -> &str {
        self.rp_id(tenant)
    }

    fn begin_registration(
        &self,
        tenant: &TenantId,
        request: &RegistrationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        self.begin_registration(tenant, request.user_handle.clone(), ids(&request.exclude))
    }

    fn finish_registration(
        &self,
        tenant: &TenantId,
        state: &[u8],
        response: &RegistrationResponse,
    ) -> Result<NewCredential, CeremonyError> {
        self.finish_registration(tenant, state, response)
    }

    fn begin_authentication(
        &self,
        tenant: &TenantId,
        request: &AuthenticationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        self.begin_authentication(tenant, request.challenge, request.allow.as_deref().map(ids))
    }

    fn finish_authentication(
        &self,
        tenant: &TenantId,
        state: &[u8],
        response: &AssertionResponse,
        passkey: Option<KnownCredential<'_>>,
    ) -> Result<Assertion, CeremonyError> {
        let passkey = passkey.map(|known| (known.passkey.clone(), known.public_key.clone()));
        self.finish_authentication(tenant, state, response, passkey)
    }

    fn check_key(&self, public_key: &PublicKey) -> Result<(), CredentialRefusal> {
        self.check_key(public_key)
    }

    fn model(&self, aaguid: Aaguid) -> Option<String> {
        self.model(aaguid)
    }
}

fn ids(hints: &[CredentialHint<'_>]) -> Vec<CredentialId> {
    hints.iter().map(|hint| hint.id.clone()).collect()
}
