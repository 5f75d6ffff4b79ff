//! Codes that are sent, when something fails or takes long. What holds on every store is in `mfa_testkit::sent_codes`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::account::CallId;
use mfa_domain::mfa::{Call, Earlier, EnrolError, Keep, NewAddress, Reply};
use mfa_domain::otp_core::Code;
use mfa_domain::ports::{
    AccountPage, AccountQuery, AccountStore, ChallengeStore, CodeMessage, Commit, EventPage, EventQuery,
    Sender, SenderError, StoreError,
};
use mfa_domain::{
    Account, AccountKey, Actor, Address, AuditHead, Challenge, ChallengeId, CodeRejection, Delta, EventKind,
    FactorId, Handle, KeyId, Label, Mfa, Policies, Progress, TenantId, Undecided, UserId, Verdict, Version,
    Versioned,
};
use mfa_store_memory::{MemoryChallenges, MemoryStore};
use mfa_testkit::{EveryKind, FailingStore, Fault, ListSender, TotpUser, ports, submitted};

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

fn shop() -> Actor {
    Actor::user("shop")
}

fn address() -> NewAddress {
    NewAddress::email(Label::new("Mail").unwrap(), Address::new("alice@mail.example").unwrap())
}

/// A store of challenges of which one operation fails.
#[derive(Debug, Default)]
struct Flaky {
    inner: MemoryChallenges,
    fails: AtomicU8,
}

const NOTHING: u8 = 0;
const PUT: u8 = 1;
const GET: u8 = 2;
const SWAP: u8 = 3;

impl Flaky {
    fn fail_on(&self, operation: u8) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) == operation {
            Err(StoreError::new("told to fail"))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl ChallengeStore for Flaky {
    async fn put(&self, challenge: &Challenge) -> Result<(), StoreError> {
        self.fail_on(PUT)?;
        self.inner.put(challenge).await
    }

    async fn get(&self, id: &ChallengeId) -> Result<Option<Versioned<Challenge>>, StoreError> {
        self.fail_on(GET)?;
        self.inner.get(id).await
    }

    async fn swap(&self, id: &ChallengeId, expected: Version, next: &Progress) -> Result<Commit, StoreError> {
        self.fail_on(SWAP)?;
        self.inner.swap(id, expected, next).await
    }
}

struct World {
    accounts: Arc<FailingStore>,
    challenges: Arc<Flaky>,
    sender: Arc<ListSender>,
    mfa: Mfa,
    factor: FactorId,
}

/// A user whose address is confirmed.
async fn world() -> World {
    let accounts = Arc::new(FailingStore::new(Arc::new(MemoryStore::default())));
    let (challenges, sender) = (Arc::new(Flaky::default()), Arc::new(ListSender::default()));
    let ports = ports(accounts.clone()).ports.challenges(challenges.clone()).sender(sender.clone());
    let policies = Policies { enrolment: Arc::new(EveryKind::default()), ..Policies::default() };
    let mfa = Mfa::new(ports, policies).unwrap();
    let factor = mfa.enrol_address(&alice(), &shop(), address()).await.unwrap().factor.id;
    let code = sender.latest(&alice()).unwrap().code;
    let confirmed = mfa.confirm(&alice(), &shop(), factor, &submitted(&code)).await.unwrap();
    assert!(matches!(confirmed, Verdict::Accepted(_)), "{confirmed:?}");
    World { accounts, challenges, sender, mfa, factor }
}

impl World {
    async fn begin(&self) -> (ChallengeId, Code) {
        let begun = self.mfa.begin_challenge(&alice(), &shop(), self.factor).await.unwrap();
        let Verdict::Accepted(begun) = begun else { panic!("{begun:?}") };
        (begun.challenge.id, Code::parse(&self.sender.latest(&alice()).unwrap().code).unwrap())
    }

    async fn answer(&self, id: ChallengeId, code: &Code) -> Result<Verdict, Undecided> {
        self.mfa.answer_challenge(&alice().tenant, &shop(), id, code).await
    }

    async fn count(&self, kind: EventKind) -> usize {
        let AccountKey { tenant, user } = alice();
        let query = EventQuery { tenant, user: Some(user), after: None, limit: 1000 };
        let events = self.mfa.events(&query).await.unwrap().events;
        events.iter().filter(|recorded| recorded.event.kind == kind).count()
    }
}

#[tokio::test]
async fn whatever_fails_under_an_answer_accepts_nothing() {
    let over = Verdict::Rejected(CodeRejection::ChallengeOver);
    for (fault, used_up) in
        [(Fault::Load, false), (Fault::Commit, true), (Fault::LostAnswer, true), (Fault::Conflict, true)]
    {
        let world = world().await;
        let (id, code) = world.begin().await;
        world.accounts.set(fault);
        let answered = world.answer(id, &code).await;
        assert!(answered.is_err(), "{fault:?}: {answered:?}");
        world.accounts.set(None);
        let again = world.answer(id, &code).await.unwrap();
        assert_eq!(again == over, used_up, "{fault:?}: {again:?}");
        // What was recorded though its answer was lost is recorded once.
        let verified = usize::from(fault == Fault::LostAnswer || !used_up);
        assert_eq!(world.count(EventKind::Verified).await, verified, "{fault:?}");
    }
    for operation in [GET, SWAP] {
        let world = world().await;
        let (id, code) = world.begin().await;
        world.challenges.fails.store(operation, Ordering::SeqCst);
        let answered = world.answer(id, &code).await;
        assert!(matches!(answered, Err(Undecided::Store(_))), "{operation}: {answered:?}");
        assert_eq!(world.count(EventKind::Verified).await, 0, "{operation}");
        world.challenges.fails.store(NOTHING, Ordering::SeqCst);
        assert!(matches!(world.answer(id, &code).await.unwrap(), Verdict::Accepted(_)), "{operation}");
    }
}

#[tokio::test]
async fn what_fails_before_the_commit_sends_nothing() {
    let world = world().await;
    let sent = world.sender.sent().len();
    let try_it = async || world.mfa.begin_challenge(&alice(), &shop(), world.factor).await;
    for fault in [Fault::Load, Fault::Commit, Fault::LostAnswer, Fault::Conflict] {
        world.accounts.set(fault);
        let begun = try_it().await;
        assert!(begun.is_err(), "{fault:?}: {begun:?}");
    }
    world.accounts.set(None);
    world.challenges.fails.store(PUT, Ordering::SeqCst);
    let begun = try_it().await;
    assert!(matches!(begun, Err(Undecided::Store(_))), "{begun:?}");
    assert_eq!(world.sender.sent().len(), sent);
}

#[tokio::test]
async fn without_the_two_ports_such_a_factor_is_undecided() {
    let accounts: Arc<dyn AccountStore> = Arc::new(MemoryStore::default());
    let policies = Policies { enrolment: Arc::new(EveryKind::default()), ..Policies::default() };
    let mfa = Mfa::new(ports(accounts).ports, policies).unwrap();
    let offered = mfa.enrol_address(&alice(), &shop(), address()).await.unwrap_err();
    assert!(matches!(offered, EnrolError::Undecided(Undecided::Store(_))), "{offered:?}");
    assert!(mfa.status(&alice()).await.unwrap().factors.is_empty());
}

#[tokio::test]
async fn the_default_policy_admits_no_address() {
    let mfa = ports(Arc::new(MemoryStore::default())).mfa();
    let offered = mfa.enrol_address(&alice(), &shop(), address()).await.unwrap_err();
    assert!(matches!(offered, EnrolError::Refused(mfa_domain::PolicyDenial::KindNotAdmitted)), "{offered:?}");
}

/// Its answer says that a code was sent to somewhere; whether it was is not kept.
#[tokio::test]
async fn an_enrolment_that_is_sent_again_is_made_once_and_its_code_can_be_asked_for() {
    let world = world().await;
    let (id, code) = world.begin().await;
    assert!(matches!(world.answer(id, &code).await.unwrap(), Verdict::Accepted(_)));
    let (shop, reply) = (shop(), |_: &_| Some(Reply { bytes: b"201".to_vec().into(), secret: false }));
    let keep = || Keep { call: CallId([7; 32]), request: b"{}", reply: &reply };
    world.sender.fail(true);
    let call = Call { actor: &shop, keep: Some(keep()) };
    let offered = world.mfa.enrol_address(&alice(), call, address()).await.unwrap_err();
    assert!(matches!(offered, EnrolError::Undecided(Undecided::Sender(_))), "{offered:?}");
    world.sender.fail(false);
    let earlier = world.mfa.earlier(&alice(), CallId([7; 32]), b"{}").await.unwrap();
    assert!(matches!(earlier, Earlier::Answered(_)), "{earlier:?}");
    let call = Call { actor: &shop, keep: Some(keep()) };
    let again = world.mfa.enrol_address(&alice(), call, address()).await.unwrap_err();
    assert!(matches!(again, EnrolError::Undecided(Undecided::Busy)), "{again:?}");
    let factors = world.mfa.status(&alice()).await.unwrap().factors;
    assert_eq!(factors.len(), 2, "{factors:?}");
}

/// A sender that takes as long as a test lets it.
#[derive(Debug, Default)]
struct Slow {
    asked: AtomicBool,
    done: AtomicBool,
}

#[async_trait]
impl Sender for Slow {
    async fn send(&self, _: &CodeMessage<'_>) -> Result<(), SenderError> {
        self.asked.store(true, Ordering::SeqCst);
        while !self.done.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sender_keeps_no_login_waiting() {
    let test = ports(Arc::new(MemoryStore::default()));
    let sender = Arc::new(Slow::default());
    let ports = test.ports.challenges(Arc::new(MemoryChallenges::default())).sender(sender.clone());
    let policies = Policies { enrolment: Arc::new(EveryKind::default()), ..Policies::default() };
    let mfa = Arc::new(Mfa::new(ports, policies).unwrap());
    let app = TotpUser::enrol(&mfa, &alice()).await.unwrap();
    test.clock.advance(Duration::from_secs(30));
    let code = submitted(&app.code(mfa.ports().clock.now()));
    assert!(matches!(mfa.verify(&alice(), &shop(), &code, None).await.unwrap(), Verdict::Accepted(_)));
    let offer = tokio::spawn({
        let mfa = Arc::clone(&mfa);
        async move { mfa.enrol_address(&alice(), &shop(), address()).await.map(drop) }
    });
    while !sender.asked.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    test.clock.advance(Duration::from_secs(30));
    let code = submitted(&app.code(mfa.ports().clock.now()));
    let (key, shop) = (alice(), shop());
    let login = mfa.verify(&key, &shop, &code, None);
    let login = tokio::time::timeout(Duration::from_secs(30), login).await;
    let verdict = login.expect("it waits for the sender").unwrap();
    assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    assert!(!offer.is_finished());
    sender.done.store(true, Ordering::SeqCst);
    offer.await.unwrap().unwrap();
}

/// Five wrong codes of the app come between the look at a first code and its commit.
#[tokio::test]
async fn a_first_code_that_is_looked_at_just_before_a_lock_costs_what_it_costs() {
    for right in [true, false] {
        let store = MemoryStore::default();
        let test = ports(Arc::new(store.clone()));
        let sender = Arc::new(ListSender::default());
        let between = Arc::new(Between {
            inner: store,
            armed: AtomicBool::new(false),
            app: test.mfa(),
            wrong: Mutex::default(),
        });
        let ports = test.with_accounts(between.clone()).ports;
        let ports = ports.challenges(Arc::new(MemoryChallenges::default())).sender(sender.clone());
        let policies = Policies { enrolment: Arc::new(EveryKind::default()), ..Policies::default() };
        let mfa = Mfa::new(ports, policies).unwrap();
        let app = TotpUser::enrol(&mfa, &alice()).await.unwrap();
        test.clock.advance(Duration::from_secs(30));
        let code = submitted(&app.code(mfa.ports().clock.now()));
        assert!(matches!(mfa.verify(&alice(), &shop(), &code, None).await.unwrap(), Verdict::Accepted(_)));
        let factor = mfa.enrol_address(&alice(), &shop(), address()).await.unwrap().factor.id;
        let sent = sender.latest(&alice()).unwrap().code;
        let other = if sent == "00000000" { "00000001" } else { "00000000" };
        *between.wrong.lock().unwrap() = app.wrong_codes(mfa.ports().clock.now(), 5);
        between.armed.store(true, Ordering::SeqCst);
        let typed = submitted(if right { &sent } else { other });
        let verdict = mfa.confirm(&alice(), &shop(), factor, &typed).await.unwrap();
        assert!(matches!(verdict, Verdict::Rejected(CodeRejection::Locked { .. })), "{verdict:?}");
        let account = mfa.ports().accounts.load(&alice()).await.unwrap().value;
        assert_eq!(account.attempts.recent.len(), if right { 5 } else { 6 });
        assert!(!account.factor(factor).unwrap().is_active());
    }
}

/// A store in which, when it is armed, five wrong codes of an app come before the next commit.
#[derive(Debug)]
struct Between {
    inner: MemoryStore,
    armed: AtomicBool,
    app: Mfa,
    wrong: Mutex<Vec<String>>,
}

#[async_trait]
impl AccountStore for Between {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.inner.load(key).await
    }

    async fn load_without_backup_codes(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.inner.load_without_backup_codes(key).await
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        if self.armed.swap(false, Ordering::SeqCst) {
            let wrong = self.wrong.lock().unwrap().clone();
            for wrong in wrong {
                let verdict = self.app.verify(key, &shop(), &submitted(&wrong), None).await.unwrap();
                assert_eq!(verdict, Verdict::Rejected(CodeRejection::Invalid));
            }
        }
        self.inner.commit(key, expected, delta).await
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

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        self.inner.keys_in_use().await
    }
}
