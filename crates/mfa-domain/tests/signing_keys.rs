//! The keys that sign assertions: one for all replicas, made, rotated and revoked. Assertions are checked as a host
//! does it.

#![allow(clippy::unwrap_used, reason = "test code")]

mod outage;
mod rotation;
mod tampering;

use std::sync::Arc;
use std::time::Duration;

use async_lock::Barrier;
use data_encoding::BASE64URL_NOPAD;
use mfa_assertion::{Assertion, Expected, KeySet, Refusal, Verifier};
use mfa_crypto::AssertionKeys;
use mfa_domain::account::{SigningKeyDevice, SigningKeyState};
use mfa_domain::ports::{AccountStore, Clock, Commit, EventQuery};
use mfa_domain::signing::{AssertionClaims, SigningAlgorithm};
use mfa_domain::{
    AccountKey, Actor, Assurance, AuditEvent, Authenticator, EventKind, Factor, KeyId, Mfa, Reason, TenantId,
    Timestamp, Undecided, UserId, Verification,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::{FailingStore, TestPorts, changes, ports};
use serde_json::Value;
use tokio::task::JoinSet;

const ISSUER: &str = "https://mfa.example.com";
const ES256: SigningAlgorithm = SigningAlgorithm::Es256;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Longer than any of these tests.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// One store.
struct World {
    store: Arc<FailingStore>,
    test: TestPorts,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(FailingStore::new(Arc::new(MemoryStore::default())));
        let mut test = ports(store.clone());
        test.ports = test.ports.signing_keys(Arc::new(AssertionKeys));
        Self { store, test }
    }

    /// A replica, with its own memory for keys.
    fn replica(&self) -> Mfa {
        self.test.mfa()
    }

    fn now(&self) -> Timestamp {
        self.test.clock.now()
    }

    fn wait(&self, time: Duration) {
        self.test.clock.advance(time);
    }

    /// What a host finds that has fetched these keys.
    fn check(&self, keys: &str, assertion: &str) -> Result<Assertion, Refusal> {
        check(&KeySet::from_json(keys).unwrap(), assertion, self.now())
    }

    /// The signing keys in the store.
    async fn stored(&self) -> Vec<(Factor, SigningKeyDevice)> {
        let account = self.store.load(&place()).await.unwrap().value;
        let device = |factor: &Factor| match &factor.authenticator {
            Authenticator::SigningKey(device) => *device,
            other => panic!("{other:?}"),
        };
        account.factors.iter().map(|factor| (factor.clone(), device(factor))).collect()
    }

    /// Writes to the store, as somebody without the keys of the vault can.
    async fn plant(&self, factor: Factor) {
        let commit = changes::change(self.store.as_ref(), &place(), |draft| draft.put(factor)).await;
        assert_eq!(commit.unwrap(), Commit::Won);
    }

    /// The trail of the signing keys, oldest first.
    async fn events(&self) -> Vec<AuditEvent> {
        let query = EventQuery { tenant: TenantId::installation(), user: None, after: None, limit: 1000 };
        let events = self.store.events(&query).await.unwrap().events;
        events.into_iter().map(|recorded| recorded.event).collect()
    }

    async fn kinds(&self) -> Vec<EventKind> {
        self.events().await.into_iter().map(|event| event.kind).collect()
    }
}

/// The account of the signing keys.
fn place() -> AccountKey {
    AccountKey::new(TenantId::installation(), UserId::new("signing-keys").unwrap())
}

fn operator() -> Actor {
    Actor::admin("ops")
}

fn reason() -> Reason {
    Reason::new("lost backup").unwrap()
}

/// Makes a key if there is none, as a program does when it starts. Returns the id of the newest.
async fn ensure(mfa: &Mfa) -> String {
    let mut keys = mfa.ensure_signing_key(&operator(), ES256, NEVER).await.unwrap();
    keys.pop().unwrap().id
}

async fn published(mfa: &Mfa) -> String {
    mfa.published_keys().await.unwrap().unwrap()
}

/// An assertion about a verification of alice right now.
async fn signed(mfa: &Mfa) -> String {
    let key = mfa.assertion_key().await.unwrap().unwrap();
    let account = AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap());
    let verification = Verification {
        at: mfa.ports().clock.now(),
        factor: None,
        kind: "backup_code".to_owned(),
        amr: &["otp"],
        user_verified: false,
        phishing_resistant: false,
        assurance: Assurance::Low,
    };
    let claims = AssertionClaims {
        issuer: ISSUER,
        audience: "acme",
        account: &account,
        verification: &verification,
        nonce: None,
    };
    mfa.sign_assertion(&key, &claims).unwrap()
}

fn check(keys: &KeySet, assertion: &str, now: Timestamp) -> Result<Assertion, Refusal> {
    let expected = Expected { subject: "alice", nonce: None };
    Verifier::new(ISSUER, "acme").verify(keys, assertion, expected, now.unix_seconds())
}

/// The id of the key that signed an assertion.
fn signer(assertion: &str) -> String {
    let header = BASE64URL_NOPAD.decode(assertion.split('.').next().unwrap().as_bytes()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// The ids of published keys that a host can use.
fn ids(keys: &str) -> Vec<String> {
    KeySet::from_json(keys).unwrap().key_ids().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_first_key_signs_at_once_and_every_replica_signs_with_it() {
    for algorithm in SigningAlgorithm::ALL {
        let world = World::new();
        let replicas = [world.replica(), world.replica()];
        let made = replicas[0].ensure_signing_key(&operator(), algorithm, NEVER).await.unwrap();
        assert_eq!(made.len(), 1);
        let (key, now) = (&made[0], world.now());
        assert_eq!((key.algorithm, key.state), (algorithm, SigningKeyState::Signing));
        assert_eq!((key.created_at, key.signs_from), (now, now), "{algorithm}");
        let set = published(&replicas[0]).await;
        assert_eq!(ids(&set), std::slice::from_ref(&key.id), "{algorithm}");
        for mfa in &replicas {
            assert_eq!(published(mfa).await, set, "{algorithm}");
            let assertion = signed(mfa).await;
            assert_eq!(signer(&assertion), key.id, "{algorithm}");
            assert_eq!(world.check(&set, &assertion).unwrap().auth_time, now.unix_seconds(), "{algorithm}");
        }
        let again = replicas[1].ensure_signing_key(&operator(), algorithm, NEVER).await.unwrap();
        assert_eq!(again, made, "{algorithm}: there is one");
        assert_eq!(world.kinds().await, [EventKind::SigningKeyMade]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_calls_on_two_replicas_at_once_one_makes_a_key() {
    for round in 0..20 {
        let world = World::new();
        let replicas = [Arc::new(world.replica()), Arc::new(world.replica())];
        let start = Arc::new(Barrier::new(16));
        let mut calls = JoinSet::new();
        for number in 0..16 {
            let (mfa, start) = (Arc::clone(&replicas[number % 2]), Arc::clone(&start));
            calls.spawn(async move {
                start.wait().await;
                mfa.ensure_signing_key(&operator(), ES256, NEVER).await.unwrap()
            });
        }
        let answers = calls.join_all().await;
        assert_eq!(answers[0].len(), 1, "round {round}");
        assert!(answers.iter().all(|keys| *keys == answers[0]), "round {round}: {answers:?}");
        assert_eq!(world.kinds().await, [EventKind::SigningKeyMade], "round {round}");
        for mfa in replicas {
            assert_eq!(signer(&signed(&mfa).await), answers[0][0].id, "round {round}");
        }
    }
}

#[tokio::test]
async fn a_key_signs_on_after_it_was_sealed_with_a_newer_key_of_the_vault() {
    for resealed in [true, false] {
        let world = World::new();
        let mfa = world.replica();
        let key = ensure(&mfa).await;
        let assertion = signed(&mfa).await;
        let newest = KeyId::new("fake-2");
        world.test.vault.rotate(newest.clone());
        if resealed {
            assert!(mfa.reseal(&place(), &operator()).await.unwrap());
            assert!(!mfa.reseal(&place(), &operator()).await.unwrap(), "there is nothing left to do");
            assert_eq!(world.store.keys_in_use().await.unwrap(), [newest]);
            assert_eq!(world.kinds().await, [EventKind::SigningKeyMade, EventKind::SecretResealed]);
        }
        world.test.vault.forget_older();
        let later = world.replica();
        if resealed {
            let set = published(&later).await;
            assert_eq!(signer(&signed(&later).await), key);
            for assertion in [assertion, signed(&later).await] {
                assert!(world.check(&set, &assertion).is_ok());
            }
        } else {
            let lost = later.assertion_key().await;
            assert!(matches!(lost, Err(Undecided::Vault(_))), "{lost:?}");
        }
    }
}

#[tokio::test]
async fn without_a_key_there_is_no_assertion_and_that_is_an_error() {
    let mfa = World::new().replica();
    let none = mfa.assertion_key().await;
    assert!(matches!(none, Err(Undecided::Signer(_))), "{none:?}");
    assert_eq!(published(&mfa).await, r#"{"keys":[]}"#);
}

/// An installation that does not sign.
#[tokio::test]
async fn without_the_port_nothing_is_signed_and_no_key_is_made() {
    let mfa = ports(Arc::new(MemoryStore::default())).mfa();
    assert!(mfa.assertion_key().await.unwrap().is_none());
    assert_eq!(mfa.published_keys().await.unwrap(), None);
    let made = mfa.ensure_signing_key(&operator(), ES256, NEVER).await;
    assert!(matches!(made, Err(Undecided::Signer(_))), "{made:?}");
    let rotated = mfa.rotate_signing_key(&operator(), ES256).await;
    assert!(matches!(rotated, Err(Undecided::Signer(_))), "{rotated:?}");
    assert!(mfa.signing_keys().await.unwrap().is_empty());
}
