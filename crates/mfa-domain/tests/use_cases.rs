//! The use cases over fakes: what happens when a port fails, and how often the slow ones are asked.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::account::{GivenProof, Session, SessionProof};
use mfa_domain::mfa::{Call, ChangeError, Confirmation, EnrolError, NewFactor};
use mfa_domain::otp_core::{Secret, Token, Totp};
use mfa_domain::policy::StandardEnrolment;
use mfa_domain::ports::{
    AccountPage, AccountQuery, AccountStore, Clock, Commit, EventPage, EventQuery, Outbox, StoreError,
};
use mfa_domain::{
    Account, AccountKey, Actor, AuditHead, CodeRejection, Delta, FactorId, Handle, KeyId, Label, Mfa,
    Policies, PolicyDenial, Ports, Reason, SubmittedCode, TenantId, Timestamp, Undecided, UserId, Verdict,
    Version, Versioned,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::mocks::{MockChallengeStore, MockCodeHasher, MockEntropy, MockSender};
use mfa_testkit::{FailingStore, Fault, HotpUser, TestPorts, TotpUser, ports, submitted};

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

fn user() -> Actor {
    Actor::user("test")
}

struct World {
    store: Arc<FailingStore>,
    test: TestPorts,
    mfa: Mfa,
}

fn world() -> World {
    let store = Arc::new(FailingStore::new(Arc::new(MemoryStore::default())));
    let test = ports(store.clone());
    let mfa = test.mfa();
    World { store, test, mfa }
}

impl World {
    async fn verify(&self, code: &str) -> Result<Verdict, Undecided> {
        self.mfa.verify(&alice(), &user(), &submitted(code), None).await
    }

    async fn kinds(&self) -> Vec<String> {
        let AccountKey { tenant, user } = alice();
        let query = EventQuery { tenant, user: Some(user), after: None, limit: 1000 };
        let page = self.mfa.events(&query).await.unwrap();
        page.events.iter().map(|event| event.event.kind.to_string()).collect()
    }
}

fn verified(verdict: &Result<Verdict, Undecided>) -> bool {
    matches!(verdict, Ok(Verdict::Accepted(_)))
}

#[tokio::test]
async fn a_store_that_fails_lets_nothing_in_and_loses_nothing() {
    let world = world();
    let token = HotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let code = token.code(1);
    for fault in [Fault::Load, Fault::Commit, Fault::Everything] {
        world.store.set(fault);
        let error = world.verify(&code).await.unwrap_err();
        assert!(matches!(error, Undecided::Store(_)), "{fault:?}");
        assert_eq!(error.to_string(), "a store failed", "no inner error may show");
    }
    world.store.set(Fault::Conflict);
    assert!(matches!(world.verify(&code).await, Err(Undecided::Busy)));
    world.store.set(None);
    assert!(verified(&world.verify(&code).await), "nothing was used up");

    // An answer that got lost: the code is used up, and nobody was let in.
    world.store.set(Fault::LostAnswer);
    assert!(world.verify(&token.code(2)).await.is_err());
    world.store.set(None);
    assert!(!verified(&world.verify(&token.code(2)).await));
    assert!(verified(&world.verify(&token.code(3)).await));
}

#[tokio::test]
async fn a_store_that_takes_no_changes_is_not_ready_until_it_does_or_for_ten_seconds() {
    let world = world();
    let token = HotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let is_ready = async || world.mfa.check_ready().await.is_ok();
    world.store.set(Fault::Commit);
    assert!(is_ready().await, "nothing was tried yet");
    assert!(world.verify(&token.code(1)).await.is_err());
    assert!(!is_ready().await);
    world.test.clock.advance(Duration::from_millis(9_999));
    assert!(!is_ready().await);
    world.test.clock.advance(Duration::from_millis(1));
    assert!(is_ready().await, "a server without requests has to try again");
    assert!(world.verify(&token.code(1)).await.is_err());
    assert!(!is_ready().await);

    // A store that others were faster in takes changes.
    world.store.set(Fault::Conflict);
    assert!(world.verify(&token.code(1)).await.is_err());
    assert!(is_ready().await);

    world.store.set(Fault::Commit);
    assert!(world.verify(&token.code(1)).await.is_err());
    world.store.set(None);
    assert!(!is_ready().await);
    assert!(verified(&world.verify(&token.code(1)).await));
    assert!(is_ready().await);

    // A clock that is set back does not keep it from being ready.
    world.store.set(Fault::Commit);
    assert!(world.verify(&token.code(2)).await.is_err());
    let now = world.test.clock.now();
    world.test.clock.set(Timestamp::from_unix_millis(now.unix_millis() - 3_600_000));
    assert!(is_ready().await);
}

#[tokio::test]
async fn a_code_of_an_authenticator_is_checked_without_backup_codes_and_a_backup_code_with_them() {
    let world = world();
    let token = HotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    world.store.set(Fault::LoadOfBackupCodes);
    assert!(verified(&world.verify(&token.code(1)).await));
    assert!(matches!(world.verify(&token.backup_codes[0]).await, Err(Undecided::Store(_))));
    world.store.set(None);
    assert!(verified(&world.verify(&token.backup_codes[0]).await));
}

#[tokio::test]
async fn a_backup_code_costs_one_evaluation_and_none_while_locked() {
    let world = world();
    let token = HotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let before = world.test.hasher.evaluations();
    assert_eq!(before, 10, "one for each code of the set");
    for attempt in 1..=5 {
        assert!(!verified(&world.verify("abcd-efgh-jkmn-pqrs").await));
        assert_eq!(world.test.hasher.evaluations(), before + attempt);
    }
    let locked = world.verify(&token.backup_codes[0]).await.unwrap();
    assert!(matches!(locked, Verdict::Rejected(CodeRejection::Locked { .. })));
    assert_eq!(world.test.hasher.evaluations(), before + 5);
    world.mfa.unlock(&alice(), &Actor::admin("test"), &Reason::new("test").unwrap()).await.unwrap();
    assert!(verified(&world.verify(&token.backup_codes[0]).await));
    assert_eq!(world.test.hasher.evaluations(), before + 6);
    assert!(!verified(&world.verify(&token.backup_codes[0]).await));
}

#[tokio::test]
async fn a_conflict_repeats_no_evaluation() {
    let world = world();
    HotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let before = world.test.hasher.evaluations();
    world.store.set(Fault::Conflict);
    assert!(matches!(world.verify("abcd-efgh-jkmn-pqrs").await, Err(Undecided::Busy)));
    assert_eq!(world.test.hasher.evaluations(), before + 1);
}

#[tokio::test]
async fn the_clock_may_jump_and_no_code_comes_back() {
    let world = world();
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let clock = &world.test.clock;
    clock.advance(Duration::from_secs(30));
    let start = clock.now();
    let code = phone.code(start);
    assert!(verified(&world.verify(&code).await));
    for seconds in [0, 10, 32, 59] {
        clock.set(start.plus(Duration::from_secs(seconds)));
        assert!(!verified(&world.verify(&code).await), "{seconds} s later");
        world.mfa.unlock(&alice(), &Actor::admin("test"), &Reason::new("test").unwrap()).await.unwrap();
    }
    let back = Timestamp::from_unix_millis(start.unix_millis() - 60_000);
    clock.set(back);
    for time in [back, start] {
        assert!(!verified(&world.verify(&phone.code(time)).await), "after the clock went back");
    }
}

#[tokio::test]
async fn a_newer_key_is_taken_up_on_use_and_by_a_walk() {
    let world = world();
    let token = HotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let bob = AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("bob").unwrap());
    let bobs = HotpUser::enrol(&world.mfa, &bob).await.unwrap();
    let newest = KeyId::new("newest");
    world.test.vault.rotate(newest.clone());
    assert!(verified(&world.verify(&token.code(1)).await));
    assert_eq!(world.kinds().await.iter().filter(|kind| *kind == "secret_resealed").count(), 1);

    let query = AccountQuery {
        after: None,
        not_sealed_with: Some(newest.clone()),
        second_event_before: None,
        limit: 10,
    };
    let accounts = &world.mfa.ports().accounts;
    let page = accounts.page(&query).await.unwrap();
    assert!(page.accounts.iter().map(|account| &account.key).eq([&bob]));
    let walker = Actor::admin("re-encrypt");
    assert!(world.mfa.reseal(&bob, &walker).await.unwrap());
    assert!(!world.mfa.reseal(&bob, &walker).await.unwrap(), "there is nothing left to do");
    assert_eq!(accounts.keys_in_use().await.unwrap(), [newest]);
    let code = submitted(&bobs.code(1));
    assert!(verified(&world.mfa.verify(&bob, &user(), &code, None).await));
}

#[tokio::test]
async fn the_same_secret_is_not_enrolled_twice() {
    let world = world();
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let proved = world.verify(&phone.backup_codes[0]).await.unwrap().into_result().unwrap();
    let proof = GivenProof::Session(SessionProof::new(alice(), &proved.verification));
    let mut twin = NewFactor::new(Label::new("Twin").unwrap(), Token::Totp(Totp::default()));
    twin.secret = Some(Secret::from_bytes(phone.secret.expose()).unwrap());
    let (actor, session) = (Actor::admin("test"), Session { proof: Some(&proof), nonce: None });
    let call = Call::from(&actor).in_session(session);
    let refused = world.mfa.begin_enrolment(&alice(), call, twin).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::DuplicateSecret)), "{refused}");
}

#[tokio::test]
async fn pending_factors_give_way_to_newer_ones_and_the_number_of_factors_is_bounded() {
    let world = world();
    let offer = |label: &str| NewFactor::new(Label::new(label).unwrap(), Token::Totp(Totp::default()));
    let mut offered = Vec::new();
    for number in 0..5 {
        offered
            .push(world.mfa.begin_enrolment(&alice(), &user(), offer(&format!("{number}"))).await.unwrap());
    }
    let status = world.mfa.status(&alice()).await.unwrap();
    let labels: Vec<_> = status.factors.iter().map(|factor| factor.label.as_str()).collect();
    assert_eq!(labels, ["2", "3", "4"]);

    let mut policies = Policies::default();
    let few = StandardEnrolment { max_factors: 1, ..StandardEnrolment::default() };
    policies.enrolment = Arc::new(few);
    let strict = Mfa::new(world.test.ports.clone(), policies).unwrap();
    let last = &offered[4];
    let now = world.test.clock.now();
    let code = Totp::default().generate(&last.secret, now.unix_seconds()).unwrap();
    let confirmed =
        strict.confirm(&alice(), &user(), last.factor.id, &submitted(code.as_str())).await.unwrap();
    assert!(matches!(confirmed, Verdict::Accepted(Confirmation { backup_codes: Some(_), .. })));
    let refused = strict.begin_enrolment(&alice(), &user(), offer("one more")).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::TooManyFactors { most: 1 })));
}

#[tokio::test]
async fn an_erased_user_starts_from_nothing() {
    let world = world();
    let phone = TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    world.mfa.erase(&alice(), &Actor::admin("test")).await.unwrap();
    let status = world.mfa.status(&alice()).await.unwrap();
    assert!(!status.enrolled && status.factors.is_empty() && status.backup_codes_total == 0);
    let revoked = world.mfa.revoke(&alice(), &user(), phone.factor).await.unwrap_err();
    assert!(matches!(revoked, ChangeError::Refused(PolicyDenial::UnknownFactor)));
    TotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    world.test.clock.advance(Duration::from_mins(1));
    let now = world.test.clock.now();
    assert!(!verified(&world.verify(&phone.code(now)).await), "a code of the erased device");
    assert!(world.kinds().await.contains(&"erased".to_owned()));
}

/// Lets somebody else's confirmation come between the first load and its commit.
#[derive(Debug)]
struct Interloper {
    inner: Arc<MemoryStore>,
    first: Mutex<Option<(Mfa, FactorId, SubmittedCode)>>,
}

#[async_trait]
impl AccountStore for Interloper {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.inner.load(key).await
    }

    async fn commit(&self, key: &AccountKey, at: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let first = self.first.lock().unwrap().take();
        if let Some((mfa, factor, code)) = first {
            let confirmed = mfa.confirm(key, &user(), factor, &code).await.unwrap();
            assert!(matches!(confirmed, Verdict::Accepted(Confirmation { backup_codes: Some(_), .. })));
        }
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

#[tokio::test]
async fn of_two_first_factors_confirmed_at_once_one_becomes_active() {
    let memory = Arc::new(MemoryStore::default());
    let test = ports(memory.clone());
    let other = test.mfa();
    let mut offered = Vec::new();
    for label in ["mine", "theirs"] {
        let new = NewFactor::new(Label::new(label).unwrap(), Token::Totp(Totp::default()));
        offered.push(other.begin_enrolment(&alice(), &user(), new).await.unwrap());
    }
    let now = test.clock.now().unix_seconds();
    let code = |secret| submitted(Totp::default().generate(secret, now).unwrap().as_str());
    let first = (other, offered[1].factor.id, code(&offered[1].secret));
    let store = Interloper { inner: memory, first: Mutex::new(Some(first)) };
    let mfa = test.with_accounts(Arc::new(store)).mfa();
    let mine = &offered[0];
    let confirmed = mfa.confirm(&alice(), &user(), mine.factor.id, &code(&mine.secret)).await.unwrap();
    assert!(matches!(confirmed, Verdict::Rejected(CodeRejection::UnknownFactor)), "{confirmed:?}");
    assert_eq!(mfa.status(&alice()).await.unwrap().backup_codes_remaining, 10);
}

/// Each of these mocks panics at whatever it is asked.
#[tokio::test]
async fn a_code_of_an_app_asks_no_port_that_it_does_not_need() {
    let World { test, mfa, .. } = world();
    let user = TotpUser::enrol(&mfa, &alice()).await.unwrap();
    test.clock.advance(Duration::from_secs(30));
    let ports = Ports {
        hasher: Arc::new(MockCodeHasher::new()),
        challenges: Arc::new(MockChallengeStore::new()),
        sender: Arc::new(MockSender::new()),
        entropy: Arc::new(MockEntropy::new()),
        ..test.ports.clone()
    };
    let mfa = Mfa::new(ports, Policies::default()).unwrap();
    let code = submitted(&user.code(test.clock.now()));
    for accepted in [true, false] {
        let verdict = mfa.verify(&alice(), &self::user(), &code, None).await;
        assert_eq!(verified(&verdict), accepted, "{verdict:?}");
    }
}
