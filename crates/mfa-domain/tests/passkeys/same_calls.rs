//! A challenge calls the same ports in the same order, whoever the user is, and so does a registration with an id of
//! options: no time tells who has a passkey.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mfa_domain::account::CodeHash;
use mfa_domain::passkey::{Aaguid, AssertionResponse, CredentialId, PublicKey, RegistrationResponse};
use mfa_domain::ports::{
    AccountPage, AccountQuery, AccountStore, Assertion, AuthenticationRequest, Ceremony, CeremonyError,
    ChallengeStore, Clock, CodeHasher, CodeMessage, Commit, CredentialRefusal, Entropy, EntropyError,
    EventPage, EventPosition, EventQuery, HasherError, KnownCredential, NewCredential, Outbox,
    RegistrationRequest, Sender, SenderError, StoreError, Vault, VaultError, Webauthn, WebauthnError,
};
use mfa_domain::{
    Account, AccountKey, AuditHead, BackupCode, Challenge, ChallengeId, CodeRejection, Delta, EventId,
    Handle, KeyId, Mfa, Ports, Progress, SealContext, Sealed, TenantId, Timestamp, Undecided, Verdict,
    Version, Versioned,
};
use mfa_testkit::{FakeAuthenticator, TotpUser};
use zeroize::Zeroizing;

use super::fakes::asked_id;
use super::{World, alice, bob, created, operator, shop, signed_by_any};

/// What the user has.
#[derive(Clone, Copy, Debug)]
enum Has {
    Nothing,
    App,
    PendingPasskey,
    RemovedPasskey,
    Passkey,
    TwoPasskeys,
}

/// The credential in a wrong response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// One that the options do not ask for.
    Foreign,
    /// The first that they ask for, signed with another key.
    Asked,
}

/// The names of calls, in their order.
type Calls = Arc<Mutex<Vec<&'static str>>>;

/// A port that notes each call and passes it on.
#[derive(Debug)]
struct Noted<P: ?Sized> {
    inner: Arc<P>,
    calls: Calls,
}

impl<P: ?Sized> Noted<P> {
    fn around(inner: &Arc<P>, calls: &Calls) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), calls: calls.clone() })
    }

    fn note(&self, call: &'static str) -> &P {
        self.calls.lock().unwrap().push(call);
        &self.inner
    }
}

fn noted(ports: &Ports, calls: &Calls) -> Ports {
    Ports {
        accounts: Noted::around(&ports.accounts, calls),
        vault: Noted::around(&ports.vault, calls),
        hasher: Noted::around(&ports.hasher, calls),
        clock: Noted::around(&ports.clock, calls),
        entropy: Noted::around(&ports.entropy, calls),
        challenges: Noted::around(&ports.challenges, calls),
        sender: Noted::around(&ports.sender, calls),
        webauthn: Noted::around(&ports.webauthn, calls),
        signing_keys: ports.signing_keys.clone(),
    }
}

impl World {
    async fn give(&self, has: Has) {
        let mut phone = FakeAuthenticator::synced("phone");
        match has {
            Has::Nothing => {}
            Has::App => {
                TotpUser::enrol(&self.mfa, &alice()).await.unwrap();
            }
            Has::PendingPasskey => {
                self.offer(&alice()).await;
            }
            Has::RemovedPasskey => {
                let factor = self.register(&alice(), &mut phone).await;
                self.mfa.revoke(&alice(), &operator(), factor).await.unwrap();
            }
            Has::Passkey => {
                self.register(&alice(), &mut phone).await;
            }
            Has::TwoPasskeys => {
                self.register(&alice(), &mut phone).await;
                self.add(&alice(), &mut FakeAuthenticator::synced("laptop"), &mut phone).await;
            }
        }
    }
}

/// The calls that begin a challenge, and those of a wrong answer.
async fn calls(has: Has, wrong: Wrong) -> [Vec<&'static str>; 2] {
    let mut world = World::new();
    world.give(has).await;
    let mut stranger = FakeAuthenticator::synced("stranger");
    World::new().register(&alice(), &mut stranger).await;

    let calls = Calls::default();
    let ports = noted(&world.test.ports, &calls);
    world.mfa = Arc::new(Mfa::new(ports, world.policies.clone()).unwrap());
    let begun = world.begin_any(&alice()).await;
    let of_begin = std::mem::take(&mut *calls.lock().unwrap());
    let mut response: AssertionResponse = signed_by_any(&mut stranger, &begun);
    if wrong == Wrong::Asked {
        response.credential_id = asked_id(&begun);
    }
    let refused = Verdict::Rejected(CodeRejection::Credential(CredentialRefusal::Signature));
    assert_eq!(world.answer(&begun, &response).await, refused, "{has:?} {wrong:?}");
    let of_answer = std::mem::take(&mut *calls.lock().unwrap());
    [of_begin, of_answer]
}

#[tokio::test]
async fn a_challenge_and_a_wrong_answer_call_the_same_ports_for_everybody() {
    for wrong in [Wrong::Foreign, Wrong::Asked] {
        let expected = calls(Has::Passkey, wrong).await;
        let [of_begin, of_answer] = &expected;
        for call in ["load_without_backup_codes", "begin_authentication", "seal", "put"] {
            assert!(of_begin.contains(&call), "{wrong:?}, {call}: {of_begin:?}");
        }
        for call in ["get", "open", "swap", "load_without_backup_codes", "finish_authentication"] {
            assert!(of_answer.contains(&call), "{wrong:?}, {call}: {of_answer:?}");
        }
        let others = [Has::Nothing, Has::App, Has::PendingPasskey, Has::RemovedPasskey, Has::TwoPasskeys];
        for has in others {
            assert_eq!(calls(has, wrong).await, expected, "{has:?} {wrong:?}");
        }
    }
}

/// The calls of a wrong answer to a challenge without a user, and those of a registration by somebody else, with the
/// first id that options for alice ask for.
async fn calls_with_an_id_of_options(has: Has) -> (CredentialId, [Vec<&'static str>; 2]) {
    let mut world = World::new();
    world.give(has).await;
    let id = asked_id(&world.begin_any(&alice()).await);
    let offered = world.offer(&bob()).await;
    let (mut stranger, mut copy) = (FakeAuthenticator::synced("stranger"), FakeAuthenticator::synced("copy"));
    World::new().register(&alice(), &mut stranger).await;
    copy.next_id = Some(id.clone());
    let begun = world.begin_passwordless().await;
    let response = AssertionResponse { credential_id: id.clone(), ..signed_by_any(&mut stranger, &begun) };

    let calls = Calls::default();
    let ports = noted(&world.test.ports, &calls);
    world.mfa = Arc::new(Mfa::new(ports, world.policies.clone()).unwrap());
    let refused = Verdict::Rejected(CodeRejection::Credential(CredentialRefusal::Signature));
    assert_eq!(world.answer(&begun, &response).await, refused, "{has:?}");
    let of_answer = std::mem::take(&mut *calls.lock().unwrap());
    let created = created(&mut copy, &offered);
    let confirmed = world.mfa.confirm_passkey(&bob(), &shop(), offered.factor.id, &created).await;
    assert!(matches!(confirmed, Err(Undecided::HandleTaken)), "{has:?}: {confirmed:?}");
    let of_confirm = std::mem::take(&mut *calls.lock().unwrap());
    (id, [of_answer, of_confirm])
}

#[tokio::test]
async fn an_invented_id_calls_the_same_ports_as_a_real_one_wherever_it_is_submitted() {
    let (real, expected) = calls_with_an_id_of_options(Has::Passkey).await;
    let [of_answer, of_confirm] = &expected;
    for call in ["get", "open", "swap", "find", "load_without_backup_codes", "finish_authentication"] {
        assert!(of_answer.contains(&call), "{call}: {of_answer:?}");
    }
    for call in ["load", "get", "open", "swap", "finish_registration", "find"] {
        assert!(of_confirm.contains(&call), "{call}: {of_confirm:?}");
    }
    for has in [Has::Nothing, Has::App, Has::PendingPasskey, Has::RemovedPasskey] {
        let (invented, calls) = calls_with_an_id_of_options(has).await;
        assert_ne!(invented, real, "{has:?}");
        assert_eq!(calls, expected, "{has:?}");
    }
}

#[async_trait]
impl AccountStore for Noted<dyn AccountStore> {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.note("load").load(key).await
    }

    async fn load_without_backup_codes(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.note("load_without_backup_codes").load_without_backup_codes(key).await
    }

    async fn commit(&self, key: &AccountKey, at: Version, delta: &Delta) -> Result<Commit, StoreError> {
        self.note("commit").commit(key, at, delta).await
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        self.note("find").find(tenant, handle).await
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        self.note("page").page(query).await
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.note("events").events(query).await
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        self.note("trim").trim(key, from, to).await
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        self.note("outbox").outbox()
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        self.note("keys_in_use").keys_in_use().await
    }
}

#[async_trait]
impl ChallengeStore for Noted<dyn ChallengeStore> {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        self.note("put").put(challenge).await
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        self.note("get").get(id).await
    }

    async fn swap(&self, id: &ChallengeId, at: Version, next: &Progress) -> Result<Commit, StoreError> {
        self.note("swap").swap(id, at, next).await
    }
}

#[async_trait]
impl Vault for Noted<dyn Vault> {
    async fn seal(&self, plain: &[u8], context: &SealContext<'_>) -> Result<Sealed, VaultError> {
        self.note("seal").seal(plain, context).await
    }

    async fn open(
        &self,
        sealed: &Sealed,
        context: &SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.note("open").open(sealed, context).await
    }

    async fn check(&self, key: &KeyId) -> Result<(), VaultError> {
        self.note("check").check(key).await
    }

    fn newest(&self) -> KeyId {
        self.note("newest").newest()
    }

    fn supersedes(&self, key: &KeyId) -> bool {
        self.note("supersedes").supersedes(key)
    }

    fn event_id(&self, tenant: &TenantId, position: EventPosition) -> EventId {
        self.note("event_id").event_id(tenant, position)
    }

    fn event_position(&self, tenant: &TenantId, id: EventId) -> Option<EventPosition> {
        self.note("event_position").event_position(tenant, id)
    }

    fn pseudonym(&self, of: &[u8]) -> [u8; 32] {
        self.note("pseudonym").pseudonym(of)
    }
}

#[async_trait]
impl CodeHasher for Noted<dyn CodeHasher> {
    fn scheme(&self) -> Result<String, HasherError> {
        self.note("scheme").scheme()
    }

    async fn hash(&self, scheme: &str, code: &BackupCode) -> Result<CodeHash, HasherError> {
        self.note("hash").hash(scheme, code).await
    }
}

#[async_trait]
impl Sender for Noted<dyn Sender> {
    async fn send(&self, message: &CodeMessage<'_>) -> Result<(), SenderError> {
        self.note("send").send(message).await
    }
}

impl Clock for Noted<dyn Clock> {
    fn now(&self) -> Timestamp {
        self.note("now").now()
    }
}

impl Entropy for Noted<dyn Entropy> {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.note("fill").fill(buffer)
    }
}

impl Webauthn for Noted<dyn Webauthn> {
    fn rp_id(&self, tenant: &TenantId) -> &str {
        self.note("rp_id").rp_id(tenant)
    }

    fn begin_registration(
        &self,
        tenant: &TenantId,
        request: &RegistrationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        self.note("begin_registration").begin_registration(tenant, request)
    }

    fn finish_registration(
        &self,
        tenant: &TenantId,
        state: &[u8],
        response: &RegistrationResponse,
    ) -> Result<NewCredential, CeremonyError> {
        self.note("finish_registration").finish_registration(tenant, state, response)
    }

    fn begin_authentication(
        &self,
        tenant: &TenantId,
        request: &AuthenticationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        self.note("begin_authentication").begin_authentication(tenant, request)
    }

    fn finish_authentication(
        &self,
        tenant: &TenantId,
        state: &[u8],
        response: &AssertionResponse,
        passkey: Option<KnownCredential<'_>>,
    ) -> Result<Assertion, CeremonyError> {
        self.note("finish_authentication").finish_authentication(tenant, state, response, passkey)
    }

    fn check_key(&self, public_key: &PublicKey) -> Result<(), CredentialRefusal> {
        self.note("check_key").check_key(public_key)
    }

    fn model(&self, aaguid: Aaguid) -> Option<String> {
        self.note("model").model(aaguid)
    }
}
