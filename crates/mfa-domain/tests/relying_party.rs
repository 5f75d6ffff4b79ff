//! The guard against a change of the relying party that would strand passkeys.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_lock::Barrier;
use async_trait::async_trait;
use mfa_domain::mfa::{EnrolError, NewPasskey, PasskeyEnrolment, Stranded};
use mfa_domain::passkey::{Aaguid, AssertionResponse, PublicKey, RegistrationResponse};
use mfa_domain::ports::{
    AccountPage, AccountQuery, AccountStore, Assertion, AuthenticationRequest, Ceremony, CeremonyError,
    Commit, CredentialRefusal, EventPage, EventQuery, KnownCredential, NewCredential, Outbox,
    RegistrationRequest, StoreError, Webauthn, WebauthnError,
};
use mfa_domain::{
    Account, AccountKey, Actor, AuditHead, Data, Delta, EventKind, Factor, FactorState, Handle, KeyId, Label,
    Mfa, Policies, Ports, Reason, StoredFactor, TenantId, Undecided, UserId, Version, Versioned,
};
use mfa_store_memory::{MemoryChallenges, MemoryStore};
use mfa_testkit::changes::{self, passkey};
use mfa_testkit::{FailingStore, Fault, ports};

const COM: &str = "example.com";
const ORG: &str = "example.org";

/// A relying party that begins ceremonies and finishes none. The tenant `own` has another one.
#[derive(Debug)]
struct Site {
    rp_id: &'static str,
    begun: AtomicUsize,
}

impl Webauthn for Site {
    fn rp_id(&self, tenant: &TenantId) -> &str {
        if tenant.as_str() == "own" { "own.example" } else { self.rp_id }
    }

    fn begin_registration(
        &self,
        _: &TenantId,
        _: &RegistrationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Ok(Ceremony { options: "{}".to_owned(), state: Vec::new() })
    }

    fn finish_registration(
        &self,
        _: &TenantId,
        _: &[u8],
        _: &RegistrationResponse,
    ) -> Result<NewCredential, CeremonyError> {
        Err(WebauthnError::new("not in these tests").into())
    }

    fn begin_authentication(
        &self,
        _: &TenantId,
        _: &AuthenticationRequest<'_>,
    ) -> Result<Ceremony, WebauthnError> {
        Err(WebauthnError::new("not in these tests"))
    }

    fn finish_authentication(
        &self,
        _: &TenantId,
        _: &[u8],
        _: &AssertionResponse,
        _: Option<KnownCredential<'_>>,
    ) -> Result<Assertion, CeremonyError> {
        Err(WebauthnError::new("not in these tests").into())
    }

    fn check_key(&self, _: &PublicKey) -> Result<(), CredentialRefusal> {
        Ok(())
    }

    fn model(&self, _: Aaguid) -> Option<String> {
        None
    }
}

/// Counts how often the account of the installation is loaded. With a barrier, the first two loads wait for each
/// other, so that both callers see the same account.
#[derive(Debug)]
struct Watched {
    inner: Arc<MemoryStore>,
    loads: AtomicUsize,
    both: Option<Barrier>,
}

#[async_trait]
impl AccountStore for Watched {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        let read = self.inner.load(key).await;
        if key.tenant == TenantId::installation()
            && self.loads.fetch_add(1, Ordering::SeqCst) < 2
            && let Some(both) = &self.both
        {
            both.wait().await;
        }
        read
    }

    async fn commit(&self, key: &AccountKey, at: Version, delta: &Delta) -> Result<Commit, StoreError> {
        self.inner.commit(key, at, delta).await
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        self.inner.find(tenant, handle).await
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        self.inner.page(query).await
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.inner.events(query).await
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        self.inner.trim(key, from, to).await
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        self.inner.outbox()
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        self.inner.keys_in_use().await
    }
}

/// Servers on one store.
struct World {
    memory: Arc<MemoryStore>,
    ports: Ports,
}

struct Server {
    mfa: Mfa,
    site: Arc<Site>,
}

fn world() -> World {
    let memory = Arc::new(MemoryStore::default());
    let ports = ports(memory.clone()).ports.challenges(Arc::new(MemoryChallenges::default()));
    World { memory, ports }
}

fn key(tenant: &str, user: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
}

fn actor() -> Actor {
    Actor::admin("test")
}

impl World {
    fn server(&self, rp_id: &'static str) -> Server {
        self.server_on(self.memory.clone(), rp_id)
    }

    fn server_on(&self, accounts: Arc<dyn AccountStore>, rp_id: &'static str) -> Server {
        let site = Arc::new(Site { rp_id, begun: AtomicUsize::new(0) });
        let ports = Ports { accounts, ..self.ports.clone() }.webauthn(site.clone());
        Server { mfa: Mfa::new(ports, Policies::default()).unwrap(), site }
    }

    fn watched(&self, both: Option<Barrier>) -> Arc<Watched> {
        Arc::new(Watched { inner: self.memory.clone(), loads: AtomicUsize::new(0), both })
    }

    /// Stores a factor as another server would have.
    async fn give(&self, user: &str, factor: Factor) {
        let key = changes::key(user);
        let commit = changes::change(self.memory.as_ref(), &key, |draft| draft.put(factor)).await;
        assert_eq!(commit.unwrap(), Commit::Won);
    }

    /// The changes of the relying party: from, to, stranded.
    async fn changes(&self) -> Vec<[String; 3]> {
        let query = EventQuery { tenant: TenantId::installation(), user: None, after: None, limit: 100 };
        let events = self.memory.events(&query).await.unwrap().events;
        let change = |name: &str, index: usize| events[index].event.detail[name].clone();
        assert!(events.iter().all(|event| event.event.kind == EventKind::RelyingPartySet), "{events:?}");
        (0..events.len()).map(|index| ["from", "to", "stranded"].map(|name| change(name, index))).collect()
    }
}

impl Server {
    async fn offer(&self, tenant: &str, user: &str) -> Result<PasskeyEnrolment, EnrolError> {
        self.mfa.enrol_passkey(&key(tenant, user), &actor(), NewPasskey::default()).await
    }

    /// Imports the passkey with this number.
    async fn import(&self, user: &str, number: u16) -> Result<Factor, EnrolError> {
        let passkey = passkey(number, self.site.rp_id).passkey().unwrap().clone();
        let credential = NewCredential { passkey, public_key: PublicKey::new("{}") };
        let (label, reason) = (Label::new("Key").unwrap(), Reason::new("moved").unwrap());
        self.mfa.import_passkey(&key("acme", user), &actor(), label, credential, &reason).await
    }

    fn begun(&self) -> usize {
        self.site.begun.load(Ordering::SeqCst)
    }

    async fn in_use(&self) -> Option<String> {
        self.mfa.relying_party_in_use().await.unwrap()
    }

    async fn stranded(&self, rp_id: &str) -> Stranded {
        self.mfa.stranded_passkeys(rp_id, |_| ()).await.unwrap()
    }
}

fn change(from: &str, to: &str, stranded: &str) -> [String; 3] {
    [from, to, stranded].map(str::to_owned)
}

#[tokio::test]
async fn the_first_passkey_that_is_offered_stores_the_relying_party_which_is_read_once() {
    let world = world();
    let store = world.watched(None);
    let server = world.server_on(store.clone(), COM);
    assert_eq!((server.in_use().await, server.mfa.relying_party()), (None, Some(COM)));
    let before = store.loads.load(Ordering::SeqCst);
    for user in ["alice", "bob", "carol"] {
        server.offer("acme", user).await.unwrap();
    }
    assert_eq!(store.loads.load(Ordering::SeqCst), before + 1);
    assert_eq!(server.in_use().await.as_deref(), Some(COM));
    assert_eq!(world.changes().await, [change("", COM, "0")]);

    world.server(COM).offer("acme", "dora").await.unwrap();
    assert_eq!(world.changes().await.len(), 1);
}

#[tokio::test]
async fn while_another_relying_party_is_in_use_no_ceremony_begins() {
    let world = world();
    world.server(COM).offer("acme", "alice").await.unwrap();
    let moved = world.server(ORG);
    for _ in 0..2 {
        let refused = moved.offer("acme", "bob").await.unwrap_err();
        assert!(matches!(refused, EnrolError::Undecided(Undecided::Webauthn(_))), "{refused:?}");
        let cause = refused.source().unwrap().to_string();
        assert!(cause.contains(COM) && cause.contains(ORG), "{cause}");
    }
    assert_eq!(moved.begun(), 0);
    assert!(moved.mfa.status(&key("acme", "bob")).await.unwrap().factors.is_empty());
    assert_eq!(world.changes().await.len(), 1);
}

#[tokio::test]
async fn an_import_stores_the_relying_party_too_and_none_is_made_while_another_is_in_use() {
    let world = world();
    world.server(COM).import("alice", 1).await.unwrap();
    assert_eq!(world.changes().await, [change("", COM, "0")]);
    let moved = world.server(ORG);
    let refused = moved.import("bob", 2).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Undecided(Undecided::Webauthn(_))), "{refused:?}");
    assert!(moved.mfa.status(&key("acme", "bob")).await.unwrap().factors.is_empty());
    assert_eq!((moved.in_use().await.as_deref(), moved.stranded(COM).await.passkeys), (Some(COM), 1));
}

#[tokio::test]
async fn of_two_servers_that_offer_the_first_passkey_at_once_one_begins_a_ceremony() {
    let world = world();
    let store = world.watched(Some(Barrier::new(2)));
    let (com, org) = (world.server_on(store.clone(), COM), world.server_on(store, ORG));
    let (of_com, of_org) = tokio::join!(com.offer("acme", "alice"), org.offer("acme", "bob"));
    let in_use = com.in_use().await.unwrap();
    for (server, offered) in [(&com, of_com), (&org, of_org)] {
        let won = server.site.rp_id == in_use;
        assert_eq!((offered.is_ok(), server.begun()), (won, usize::from(won)), "{}", server.site.rp_id);
    }
    assert_eq!(world.changes().await, [change("", &in_use, "0")]);
}

#[tokio::test]
async fn no_ceremony_begins_before_the_relying_party_is_stored() {
    let world = world();
    let store = Arc::new(FailingStore::new(world.memory.clone()));
    let server = world.server_on(store.clone(), COM);
    for fault in [Fault::Load, Fault::Commit, Fault::Conflict] {
        store.set(fault);
        let failed = server.offer("acme", "alice").await.unwrap_err();
        assert!(matches!(failed, EnrolError::Undecided(_)), "{failed:?}");
        assert_eq!((server.begun(), world.changes().await.len()), (0, 0), "{fault:?}");
    }
    store.set(None);
    server.offer("acme", "alice").await.unwrap();
    assert_eq!(server.begun(), 1);
}

#[tokio::test]
async fn a_change_is_made_only_from_the_relying_party_that_it_names() {
    let world = world();
    let server = world.server(COM);
    server.offer("acme", "alice").await.unwrap();
    let adopt = async |to, from, stranded| {
        server.mfa.adopt_relying_party(&actor(), to, from, stranded).await.unwrap()
    };
    for wrong in [None, Some(ORG), Some("example.net")] {
        assert_eq!(adopt(Some(ORG), wrong, Some(0)).await.as_deref(), Some(COM), "{wrong:?}");
    }
    assert_eq!(world.changes().await.len(), 1);
    assert_eq!(adopt(Some(ORG), Some(COM), Some(3)).await.as_deref(), Some(ORG));
    assert_eq!(adopt(Some(ORG), Some(COM), Some(3)).await.as_deref(), Some(ORG), "it is so already");
    assert_eq!(adopt(None, Some(ORG), None).await, None);
    assert_eq!(server.in_use().await, None);
    let expected = [change("", COM, "0"), change(COM, ORG, "3"), change(ORG, "", "unknown")];
    assert_eq!(world.changes().await, expected);
}

#[tokio::test]
async fn active_passkeys_that_no_longer_work_are_counted_with_their_users() {
    let world = world();
    world.give("alice", passkey(1, COM)).await;
    world.give("alice", passkey(2, COM)).await;
    world.give("alice", passkey(3, ORG)).await;
    world.give("bob", passkey(4, COM)).await;
    world.give("carol", passkey(5, ORG)).await;
    world.give("dora", Factor { state: FactorState::Removed, ..passkey(6, COM) }).await;
    let found = Stranded { passkeys: 3, users: 2, unreadable: 0 };
    assert_eq!(world.server(ORG).stranded(COM).await, found);
    assert_eq!(world.server("").stranded(COM).await, found, "passkeys are off");
    assert!(!found.is_none());
    assert!(world.server(COM).stranded(COM).await.is_none());
    assert!(world.server(ORG).stranded("example.net").await.is_none());
}

#[tokio::test]
async fn the_passkeys_of_every_page_are_counted() {
    let world = world();
    for number in 0..1100 {
        world.give(&format!("user-{number}"), passkey(number, COM)).await;
    }
    let mut seen = Vec::new();
    let server = world.server(ORG);
    let stranded = server.mfa.stranded_passkeys(COM, |accounts| seen.push(accounts)).await.unwrap();
    assert_eq!(stranded, Stranded { passkeys: 1100, users: 1100, unreadable: 0 });
    assert_eq!((seen.last(), seen.is_sorted()), (Some(&1100), true), "{seen:?}");
}

#[tokio::test]
async fn an_account_with_a_passkey_that_cannot_be_read_is_counted_apart() {
    let world = world();
    let newer = StoredFactor { data: Data::new(r#"{"v":1000}"#), ..StoredFactor::of(&passkey(1, COM)) };
    world.give("alice", newer.read().unwrap()).await;
    let stranded = world.server(ORG).stranded(COM).await;
    assert_eq!(stranded, Stranded { passkeys: 0, users: 0, unreadable: 1 });
    assert!(!stranded.is_none());

    let store = Arc::new(FailingStore::new(world.memory.clone()));
    let server = world.server_on(store.clone(), ORG);
    store.set(Fault::Load);
    let failed = server.mfa.stranded_passkeys(COM, |_| ()).await;
    assert!(matches!(failed, Err(Undecided::Store(_))), "{failed:?}");
}

#[tokio::test]
async fn a_tenant_with_a_relying_party_of_its_own_is_not_guarded() {
    let world = world();
    world.server(COM).offer("own", "alice").await.unwrap();
    assert_eq!(world.changes().await.len(), 0);
    world.server(COM).offer("acme", "bob").await.unwrap();
    let moved = world.server(ORG);
    moved.offer("own", "carol").await.unwrap();
    assert!(moved.offer("acme", "dora").await.is_err());
    assert_eq!(moved.begun(), 1);
}
