//! What authorises a change of the factors: a verification in the session that asks for it.

#![allow(clippy::unwrap_used, reason = "test code")]

mod overrides;

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::account::{GivenProof, Session, SessionProof};
use mfa_domain::mfa::{Call, ChangeError, EnrolError, NewAddress, NewFactor, NewPasskey};
use mfa_domain::otp_core::{Hotp, Secret};
use mfa_domain::policy::{EnrolmentPolicy, ProofScope, StandardEnrolment};
use mfa_domain::ports::{Clock, EventQuery};
use mfa_domain::{
    Account, AccountKey, Actor, Address, Assurance, AuditEvent, FactorId, Label, Mfa, Policies, PolicyDenial,
    Reason, TenantId, UserId, Versioned,
};
use mfa_store_memory::{MemoryChallenges, MemoryStore};
use mfa_testkit::{FakeWebauthn, TestPorts, TotpUser, ports, submitted};

const MISSING: PolicyDenial = PolicyDenial::ProofRequired { at_least: Assurance::Low };

/// A user with an app and backup codes, who has never logged in.
struct World {
    test: TestPorts,
    mfa: Mfa,
    phone: TotpUser,
}

/// The changes that a policy can guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    AddAddress,
    AddPasskey,
    Import,
    Replace,
    Revoke,
    IssueBackupCodes,
    Rename,
}

/// Those that need a proof of the owner by default.
const GUARDED: [Change; 6] = [
    Change::Add,
    Change::AddAddress,
    Change::AddPasskey,
    Change::Replace,
    Change::Revoke,
    Change::IssueBackupCodes,
];

impl World {
    async fn new() -> Self {
        Self::under(StandardEnrolment::default()).await
    }

    async fn under(enrolment: impl EnrolmentPolicy) -> Self {
        let mut test = ports(Arc::new(MemoryStore::default()));
        let (challenges, webauthn) = (MemoryChallenges::default(), FakeWebauthn::default());
        test.ports = test.ports.challenges(Arc::new(challenges)).webauthn(Arc::new(webauthn));
        let policies = Policies { enrolment: Arc::new(enrolment), ..Policies::default() };
        let mfa = Mfa::new(test.ports.clone(), policies).unwrap();
        let phone = TotpUser::enrol(&mfa, &alice()).await.unwrap();
        Self { test, mfa, phone }
    }

    /// Verifies alice in a session of the host, which keeps this of it.
    async fn verify(&self, code: &str) -> SessionProof {
        let verdict = self.mfa.verify(&alice(), &web(), &submitted(code), None).await.unwrap();
        SessionProof::new(alice(), &verdict.into_result().unwrap().verification)
    }

    /// With the next code of the app.
    async fn log_in(&self) -> SessionProof {
        self.wait(Duration::from_secs(30));
        self.verify(&self.phone.code(self.test.clock.now())).await
    }

    /// Imports a token, whose first code is [`token_code`].
    async fn import_token(&self) -> FactorId {
        let imported = self.mfa.import_factor(&alice(), &operator(), token(), &reason()).await.unwrap();
        imported.factor.id
    }

    /// Makes a change.
    async fn make(
        &self,
        change: Change,
        actor: &Actor,
        proof: Option<&GivenProof>,
    ) -> Result<(), PolicyDenial> {
        let (mfa, key, old) = (&self.mfa, alice(), self.phone.factor);
        let session = Session { proof, nonce: None };
        match change {
            Change::Add => {
                enrolled(mfa.begin_enrolment(&key, Call::from(actor).in_session(session), app()).await)
            }
            Change::AddAddress => {
                enrolled(mfa.enrol_address(&key, Call::from(actor).in_session(session), address()).await)
            }
            Change::AddPasskey => {
                let new = NewPasskey::default();
                enrolled(mfa.enrol_passkey(&key, Call::from(actor).in_session(session), new).await)
            }
            Change::Import => {
                let call = Call::from(actor).in_session(session);
                enrolled(mfa.import_factor(&key, call, token(), &reason()).await)
            }
            Change::Replace => {
                let new = NewFactor { replaces: Some(old), ..app() };
                enrolled(mfa.begin_enrolment(&key, Call::from(actor).in_session(session), new).await)
            }
            Change::Revoke => changed(mfa.revoke(&key, Call::from(actor).in_session(session), old).await),
            Change::IssueBackupCodes => {
                changed(mfa.issue_backup_codes(&key, Call::from(actor).in_session(session)).await)
            }
            Change::Rename => {
                changed(mfa.rename(&key, Call::from(actor).in_session(session), old, &label("New")).await)
            }
        }
    }

    /// Whether alice may add a factor in a session with this proof. Changes nothing.
    async fn admits(&self, proof: Option<&GivenProof>) -> bool {
        let session = Session { proof, nonce: None };
        match self.mfa.enrol_recipient(&alice(), &web(), session, &address()).await {
            Ok(_) => true,
            Err(EnrolError::Refused(PolicyDenial::ProofRequired { .. })) => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn counts(&self, proof: &SessionProof) -> bool {
        self.admits(Some(&GivenProof::Session(proof.clone()))).await
    }

    async fn account(&self) -> Versioned<Account> {
        self.test.ports.accounts.load(&alice()).await.unwrap()
    }

    /// The trail of alice, oldest first.
    async fn events(&self) -> Vec<AuditEvent> {
        let AccountKey { tenant, user } = alice();
        let query = EventQuery { tenant, user: Some(user), after: None, limit: 1000 };
        self.mfa.events(&query).await.unwrap().events.into_iter().map(|recorded| recorded.event).collect()
    }

    fn wait(&self, time: Duration) {
        self.test.clock.advance(time);
    }
}

fn enrolled<T>(made: Result<T, EnrolError>) -> Result<(), PolicyDenial> {
    match made {
        Ok(_) => Ok(()),
        Err(EnrolError::Refused(denial)) => Err(denial),
        Err(error) => panic!("{error:?}"),
    }
}

fn changed<T>(made: Result<T, ChangeError>) -> Result<(), PolicyDenial> {
    match made {
        Ok(_) => Ok(()),
        Err(ChangeError::Refused(denial)) => Err(denial),
        Err(error) => panic!("{error:?}"),
    }
}

fn user(tenant: &str, user: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
}

fn alice() -> AccountKey {
    user("acme", "alice")
}

fn web() -> Actor {
    Actor::user("web")
}

fn operator() -> Actor {
    Actor::admin("ops")
}

fn reason() -> Reason {
    Reason::new("identified by phone").unwrap()
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

fn app() -> NewFactor {
    NewFactor::totp(label("App"))
}

fn address() -> NewAddress {
    NewAddress::email(label("Mail"), Address::new("alice@mail.example").unwrap())
}

fn token_secret() -> Secret {
    Secret::from_bytes(b"12345678901234567890").unwrap()
}

fn token() -> NewFactor {
    NewFactor { secret: Some(token_secret()), ..NewFactor::hotp(label("Fob")) }
}

fn token_code() -> String {
    Hotp::default().generate(&token_secret(), 0).as_str().to_owned()
}

#[tokio::test]
async fn every_change_but_that_of_a_label_needs_a_proof_and_changes_nothing_without_one() {
    for change in GUARDED {
        let world = World::new().await;
        let proof = GivenProof::Session(world.log_in().await);
        let before = (world.account().await, world.events().await);
        assert_eq!(world.make(change, &web(), None).await, Err(MISSING), "{change:?}");
        assert_eq!((world.account().await, world.events().await), before, "{change:?}");
        assert_eq!(world.make(change, &web(), Some(&proof)).await, Ok(()), "{change:?}");
        assert_ne!(world.account().await, before.0, "{change:?}");
    }
    let world = World::new().await;
    assert_eq!(world.make(Change::Rename, &web(), None).await, Ok(()));
}

#[tokio::test]
async fn a_proof_counts_for_five_minutes() {
    let world = World::new().await;
    let proof = world.log_in().await;
    assert!(world.counts(&proof).await);
    world.wait(Duration::from_mins(5));
    assert!(world.counts(&proof).await);
    world.wait(Duration::from_millis(1));
    assert!(!world.counts(&proof).await);
}

#[tokio::test]
async fn a_proof_from_the_future_does_not_count() {
    let world = World::new().await;
    let proof = world.log_in().await;
    // The clocks of replicas may differ by 15 seconds. This one was further ahead, and is set back.
    let differ = Duration::from_secs(15);
    world.test.clock.set(proof.at.minus(differ + Duration::from_millis(1)));
    assert!(!world.counts(&proof).await);
    world.test.clock.set(proof.at.minus(differ));
    assert!(world.counts(&proof).await);
}

/// Whoever makes a mistake with sessions, or believes what a browser sends.
#[tokio::test]
async fn a_proof_that_is_not_of_this_account_as_it_remembers_it_does_not_count() {
    let world = World::new().await;
    let proof = world.log_in().await;
    world.wait(Duration::from_secs(16));
    let now = world.test.clock.now();
    for (wrong, given) in [
        ("user", SessionProof { account: user("acme", "bob"), ..proof.clone() }),
        ("tenant", SessionProof { account: user("other", "alice"), ..proof.clone() }),
        ("time", SessionProof { at: now, ..proof.clone() }),
        ("assurance", SessionProof { assurance: Assurance::High, ..proof.clone() }),
        ("factor", SessionProof { factor: Some(FactorId::fresh(now, &[9; 10])), ..proof.clone() }),
    ] {
        assert!(!world.counts(&given).await, "wrong {wrong}");
    }
    assert!(world.counts(&proof).await);
}

#[tokio::test]
async fn logins_in_other_sessions_neither_give_nor_take_a_proof() {
    let world = World::new().await;
    let first = world.log_in().await;
    let second = world.log_in().await;
    let third = world.verify(&world.phone.backup_codes[0]).await;
    for proof in [first, second, third] {
        assert!(world.counts(&proof).await, "{proof:?}");
    }
    world.wait(Duration::from_secs(1));
    assert!(!world.admits(None).await);
}

#[tokio::test]
async fn for_a_host_that_cannot_tell_sessions_apart_any_login_is_a_proof() {
    let enrolment = StandardEnrolment { proof_scope: ProofScope::Account, ..StandardEnrolment::default() };
    let world = World::under(enrolment).await;
    assert!(!world.admits(None).await);
    let proof = world.log_in().await;
    world.wait(Duration::from_mins(5));
    assert!(world.admits(None).await);
    world.wait(Duration::from_millis(1));
    assert!(!world.admits(None).await);
    assert!(!world.counts(&proof).await);
}

#[tokio::test]
async fn a_proof_that_is_too_weak_does_not_count_though_another_session_has_a_stronger_one() {
    let enrolment = StandardEnrolment { proof_assurance: Assurance::Medium, ..StandardEnrolment::default() };
    let world = World::under(enrolment).await;
    let strong = world.log_in().await;
    let weak = world.verify(&world.phone.backup_codes[0]).await;
    assert!(world.counts(&strong).await);
    let denied = world.make(Change::Add, &web(), Some(&GivenProof::Session(weak))).await;
    assert_eq!(denied, Err(PolicyDenial::ProofRequired { at_least: Assurance::Medium }));
}

#[tokio::test]
async fn a_proof_ends_with_its_factor() {
    let world = World::new().await;
    let token = world.import_token().await;
    let (by_token, by_phone) = (world.verify(&token_code()).await, world.log_in().await);
    assert_eq!((by_token.factor, by_phone.factor), (Some(token), Some(world.phone.factor)));
    assert!(world.counts(&by_token).await);
    world.mfa.revoke(&alice(), &operator(), token).await.unwrap();
    assert!(!world.counts(&by_token).await);
    assert!(world.counts(&by_phone).await);
}

/// An operator resets an account since somebody else may be logged in. The other session must not come back to life
/// when the owner enrols and logs in again.
#[tokio::test]
async fn no_proof_outlives_the_end_of_all_factors() {
    for (way, by_backup_code) in
        ["reset", "erased", "revoked"].into_iter().flat_map(|way| [(way, false), (way, true)])
    {
        let mut world = World::new().await;
        let app = world.log_in().await;
        let proof = if by_backup_code { world.verify(&world.phone.backup_codes[0]).await } else { app };
        assert!(world.counts(&proof).await, "{way} {by_backup_code}");
        match way {
            "reset" => world.mfa.reset(&alice(), &operator(), &reason()).await.unwrap(),
            "erased" => world.mfa.erase(&alice(), &operator()).await.unwrap(),
            _ => world.mfa.revoke(&alice(), &operator(), world.phone.factor).await.unwrap(),
        }
        world.wait(Duration::from_secs(1));
        world.phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
        assert!(!world.counts(&proof).await, "{way} {by_backup_code}: after an enrolment");
        for after in [world.log_in().await, world.verify(&world.phone.backup_codes[0]).await] {
            assert!(world.counts(&after).await, "{way} {by_backup_code}");
        }
        assert!(!world.counts(&proof).await, "{way} {by_backup_code}: after a login");
    }
}
