//! Codes that are sent, when something fails or takes long. What holds on every store is in `mfa_testkit::sent_codes`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::account::{CallId, Session};
use mfa_domain::mfa::{BegunChallenge, Call, Delivered, Earlier, EnrolError, Keep, NewAddress, Reply};
use mfa_domain::policy::{ProofScope, StandardEnrolment};
use mfa_domain::ports::{
    AccountPage, AccountQuery, AccountStore, ChallengeStore, CodeMessage, Commit, EventPage, EventQuery,
    InvalidRecipient, Outbox, RecordedEvent, Sender, SenderError, StoreError, ThrottleKey,
};
use mfa_domain::{
    Account, AccountKey, Actor, Address, AuditHead, Challenge, ChallengeId, CodeRejection, Delta, EventKind,
    FactorId, FactorKind, Handle, KeyId, Label, Message, Mfa, Policies, PolicyDenial, Progress, Purpose,
    Reason, Sending, SentCode, TenantId, Timestamp, Undecided, UserId, Verdict, Version, Versioned,
};
use mfa_store_memory::{MemoryChallenges, MemoryStore};
use mfa_testkit::mocks::MockAccountStore;
use mfa_testkit::{
    EveryKind, FailingStore, Fault, ListSender, ManualClock, SendFailure, TotpUser, ports, submitted,
};

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

fn shop() -> Actor {
    Actor::user("shop")
}

/// A user who was verified may add an address in any session: these tests are not about proofs.
fn policies() -> Policies {
    let enrolment = StandardEnrolment { proof_scope: ProofScope::Account, ..StandardEnrolment::default() };
    Policies { enrolment: Arc::new(EveryKind(enrolment)), ..Policies::default() }
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
/// From the second on.
const LATER_SWAPS: u8 = 4;

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
        if self.fails.load(Ordering::SeqCst) == LATER_SWAPS {
            self.fails.store(SWAP, Ordering::SeqCst);
        }
        self.inner.swap(id, expected, next).await
    }
}

struct World {
    accounts: Arc<FailingStore>,
    challenges: Arc<Flaky>,
    sender: Arc<ListSender>,
    clock: Arc<ManualClock>,
    mfa: Mfa,
    factor: FactorId,
}

/// A user whose address is confirmed.
async fn world() -> World {
    let accounts = Arc::new(FailingStore::new(Arc::new(MemoryStore::default())));
    let (challenges, sender) = (Arc::new(Flaky::default()), Arc::new(ListSender::default()));
    let test = ports(accounts.clone());
    let ports = test.ports.challenges(challenges.clone()).sender(sender.clone());
    let mfa = Mfa::new(ports, policies()).unwrap();
    let factor = mfa.enrol_address(&alice(), &shop(), address()).await.unwrap().factor.id;
    assert_eq!(deliver(&mfa).await, [Delivered::Sent]);
    let code = sender.latest(&alice()).unwrap().code;
    let confirmed = mfa.confirm(&alice(), &shop(), factor, &submitted(&code)).await.unwrap();
    assert!(matches!(confirmed, Verdict::Accepted(_)), "{confirmed:?}");
    World { accounts, challenges, sender, clock: test.clock, mfa, factor }
}

/// Delivers all that is queued and due; gives what became of each.
async fn deliver(mfa: &Mfa) -> Vec<Delivered> {
    let mut delivered = Vec::new();
    for message in mfa.claim_messages(1000).await.unwrap().messages {
        delivered.push(mfa.deliver(&courier(), message).await.unwrap());
    }
    delivered
}

fn courier() -> Actor {
    Actor::admin("courier")
}

impl World {
    async fn begin(&self) -> (ChallengeId, SentCode) {
        let id = self.queue().await;
        assert_eq!(deliver(&self.mfa).await, [Delivered::Sent]);
        (id, SentCode::parse(&self.sender.latest(&alice()).unwrap().code).unwrap())
    }

    /// Begins a challenge whose code nobody has sent yet.
    async fn queue(&self) -> ChallengeId {
        let begun = self.mfa.begin_challenge(&alice(), &shop(), self.factor).await.unwrap();
        let Verdict::Accepted(begun) = begun else { panic!("{begun:?}") };
        begun.challenge.id
    }

    /// Claims the only message that is due.
    async fn claim(&self) -> Versioned<Message> {
        let mut claimed = self.mfa.claim_messages(1000).await.unwrap().messages;
        assert_eq!(claimed.len(), 1);
        claimed.remove(0)
    }

    /// The codes that were sent for a challenge.
    fn codes_of(&self, id: ChallengeId) -> Vec<String> {
        let sent = self.sender.sent().into_iter();
        sent.filter(|message| message.challenge == id).map(|message| message.code).collect()
    }

    async fn answer(&self, id: ChallengeId, code: &SentCode) -> Result<Verdict, Undecided> {
        self.mfa.answer_challenge(&alice().tenant, &shop(), id, code).await
    }

    async fn resend(&self, id: ChallengeId) -> Result<Verdict<BegunChallenge>, Undecided> {
        self.mfa.resend_challenge(&alice().tenant, &shop(), id).await
    }

    async fn events(&self) -> Vec<RecordedEvent> {
        let AccountKey { tenant, user } = alice();
        let query = EventQuery { tenant, user: Some(user), after: None, limit: 1000 };
        self.mfa.events(&query).await.unwrap().events
    }

    async fn count(&self, kind: EventKind) -> usize {
        self.events().await.iter().filter(|recorded| recorded.event.kind == kind).count()
    }

    /// Why codes were given up, as the trail tells it.
    async fn reasons(&self) -> Vec<String> {
        let events = self.events().await.into_iter().map(|recorded| recorded.event);
        let given_up = events.filter(|event| event.kind == EventKind::CodeNotSent);
        given_up.map(|event| event.detail["reason"].clone()).collect()
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

/// What was found for one account and purpose is good for no other.
#[tokio::test]
async fn a_recipient_is_one_of_its_account_and_purpose() {
    let world = world().await;
    let queued = world.events().await.len();
    let find =
        async |purpose| match world.mfa.recipient(&alice(), &shop(), world.factor, purpose).await.unwrap() {
            Verdict::Accepted(recipient) => recipient,
            Verdict::Rejected(rejection) => panic!("{rejection}"),
        };
    let bob = AccountKey { user: UserId::new("bob").unwrap(), ..alice() };
    let moved = world.mfa.begin_challenge(&bob, &shop(), find(Purpose::Verify).await).await.unwrap();
    assert!(matches!(moved, Verdict::Rejected(CodeRejection::UnknownFactor)), "{moved:?}");
    let other =
        world.mfa.recipient(&alice(), &shop(), find(Purpose::Verify).await, Purpose::Enrol).await.unwrap();
    assert!(matches!(other, Verdict::Rejected(CodeRejection::UnknownFactor)), "{other:?}");
    assert_eq!(world.events().await.len(), queued);

    // The account changed since it was found: it is read again.
    let found = find(Purpose::Verify).await;
    world.queue().await;
    let begun = world.mfa.begin_challenge(&alice(), &shop(), found).await.unwrap();
    assert!(matches!(begun, Verdict::Accepted(_)), "{begun:?}");
    let gone = find(Purpose::Verify).await;
    world.mfa.reset(&alice(), &Actor::admin("ops"), &Reason::new("lost").unwrap()).await.unwrap();
    let begun = world.mfa.begin_challenge(&alice(), &shop(), gone).await.unwrap();
    assert!(matches!(begun, Verdict::Rejected(CodeRejection::NotEnrolled)), "{begun:?}");
}

#[tokio::test]
async fn what_fails_before_the_commit_queues_nothing() {
    let world = world().await;
    let sent = world.sender.sent().len();
    let try_it = async || world.mfa.begin_challenge(&alice(), &shop(), world.factor).await;
    for fault in [Fault::Load, Fault::Commit, Fault::Conflict] {
        world.accounts.set(fault);
        let begun = try_it().await;
        assert!(begun.is_err(), "{fault:?}: {begun:?}");
    }
    world.accounts.set(None);
    world.challenges.fails.store(PUT, Ordering::SeqCst);
    let begun = try_it().await;
    assert!(matches!(begun, Err(Undecided::Store(_))), "{begun:?}");
    assert!(deliver(&world.mfa).await.is_empty());
    // A commit whose answer is lost has queued a code: it is sent, and nobody knows what it answers.
    world.challenges.fails.store(NOTHING, Ordering::SeqCst);
    world.accounts.set(Fault::LostAnswer);
    let begun = try_it().await;
    assert!(matches!(begun, Err(Undecided::Store(_))), "{begun:?}");
    world.accounts.set(None);
    assert_eq!(deliver(&world.mfa).await, [Delivered::Sent]);
    assert_eq!(world.sender.sent().len(), sent + 1);
}

/// The code before is good until another is queued; from then on, or from its delivery at the latest, that one.
#[tokio::test]
async fn whatever_fails_under_a_resend_leaves_one_code_that_is_good_and_is_sent() {
    for (fault, operation) in [
        (Some(Fault::Load), NOTHING),
        (Some(Fault::Commit), NOTHING),
        (Some(Fault::Conflict), NOTHING),
        (None, GET),
        (None, SWAP),
    ] {
        let world = world().await;
        let (id, code) = world.begin().await;
        world.accounts.set(fault);
        world.challenges.fails.store(operation, Ordering::SeqCst);
        let resent = world.resend(id).await;
        assert!(resent.is_err(), "{fault:?} {operation}: {resent:?}");
        world.accounts.set(None);
        world.challenges.fails.store(NOTHING, Ordering::SeqCst);
        assert!(deliver(&world.mfa).await.is_empty(), "{fault:?} {operation}");
        let verdict = world.answer(id, &code).await.unwrap();
        assert!(matches!(verdict, Verdict::Accepted(_)), "{fault:?} {operation}: {verdict:?}");
    }
    for (fault, operation, answers_first) in [
        (Some(Fault::LostAnswer), NOTHING, true),
        (Some(Fault::LostAnswer), NOTHING, false),
        (None, LATER_SWAPS, true),
        (None, LATER_SWAPS, false),
    ] {
        let world = world().await;
        let (id, before) = world.begin().await;
        world.accounts.set(fault);
        world.challenges.fails.store(operation, Ordering::SeqCst);
        let resent = world.resend(id).await;
        assert!(resent.is_err(), "{fault:?} {operation}: {resent:?}");
        world.accounts.set(None);
        world.challenges.fails.store(NOTHING, Ordering::SeqCst);
        if answers_first {
            let verdict = world.answer(id, &before).await.unwrap();
            assert!(matches!(verdict, Verdict::Accepted(_)), "{fault:?} {operation}: {verdict:?}");
            assert_eq!(deliver(&world.mfa).await, [Delivered::Failed], "{fault:?} {operation}");
            assert_eq!(world.codes_of(id).len(), 1, "{fault:?} {operation}");
        } else {
            assert_eq!(deliver(&world.mfa).await, [Delivered::Sent], "{fault:?} {operation}");
            let refused = world.answer(id, &before).await.unwrap();
            assert_eq!(refused, Verdict::Rejected(CodeRejection::Invalid), "{fault:?} {operation}");
            let after = SentCode::parse(&world.codes_of(id)[1]).unwrap();
            let verdict = world.answer(id, &after).await.unwrap();
            assert!(matches!(verdict, Verdict::Accepted(_)), "{fault:?} {operation}: {verdict:?}");
        }
    }
}

/// Whoever has sent a code and cannot say so leaves it to the next, who sends the same one.
#[tokio::test]
async fn what_fails_under_a_delivery_is_made_up_for() {
    // How often it is delivered again, and sent in all: without the account nothing is sent.
    for (fault, again, sent) in [(Fault::Commit, 1, 2), (Fault::Everything, 1, 1), (Fault::LostAnswer, 0, 1)]
    {
        let world = world().await;
        let id = world.queue().await;
        let claimed = world.claim().await;
        world.accounts.set(fault);
        let delivered = world.mfa.deliver(&courier(), claimed).await;
        assert!(matches!(delivered, Err(Undecided::Store(_))), "{fault:?}: {delivered:?}");
        world.accounts.set(None);
        assert!(deliver(&world.mfa).await.is_empty(), "{fault:?}: it is claimed");
        world.clock.advance(Message::CLAIM);
        assert_eq!(deliver(&world.mfa).await, vec![Delivered::Sent; again], "{fault:?}");
        let codes = world.codes_of(id);
        assert_eq!(codes, vec![codes[0].clone(); sent], "{fault:?}");
        let verdict = world.answer(id, &SentCode::parse(&codes[0]).unwrap()).await.unwrap();
        assert!(matches!(verdict, Verdict::Accepted(_)), "{fault:?}: {verdict:?}");
    }
}

/// Nobody could say that it was sent, and by the time that it is tried again its owner has logged in with it.
#[tokio::test]
async fn a_code_whose_try_had_no_end_and_that_logged_in_is_not_told_to_be_lost() {
    for (after, is_answered) in
        [(Message::CLAIM, true), (Duration::from_mins(10), true), (Duration::from_mins(10), false)]
    {
        let world = world().await;
        let id = world.queue().await;
        let claimed = world.claim().await;
        world.accounts.set(Fault::Commit);
        let delivered = world.mfa.deliver(&courier(), claimed).await;
        assert!(matches!(delivered, Err(Undecided::Store(_))), "{delivered:?}");
        world.accounts.set(None);
        let codes = world.codes_of(id);
        if is_answered {
            let verdict = world.answer(id, &SentCode::parse(&codes[0]).unwrap()).await.unwrap();
            assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
        }
        world.clock.advance(after);
        assert_eq!(deliver(&world.mfa).await, [Delivered::Failed], "{after:?}");
        assert_eq!(world.codes_of(id), codes, "{after:?}");
        assert_eq!(world.reasons().await, vec!["unknown"; usize::from(!is_answered)], "{after:?}");
    }
}

/// Its challenge is nowhere: whoever asks for it hears nothing, so the trail must tell.
#[tokio::test]
async fn a_code_whose_challenge_is_lost_is_reported() {
    let world = world().await;
    world.queue().await;
    let ports = world.mfa.ports().clone().challenges(Arc::new(MemoryChallenges::default()));
    let after = Mfa::new(ports, policies()).unwrap();
    assert_eq!(deliver(&after).await, [Delivered::Failed]);
    assert_eq!(world.reasons().await, ["over"]);
}

/// Its message cannot be opened any more, so its factor is not known either.
#[tokio::test]
async fn a_message_of_an_erased_user_that_cannot_be_opened_ends_without_an_event() {
    let world = world().await;
    let id = world.queue().await;
    world.mfa.erase(&alice(), &courier()).await.unwrap();
    let outbox = world.accounts.outbox().unwrap();
    let Versioned { value, version } = outbox.message(&alice().tenant, id.into()).await.unwrap().unwrap();
    let mut sealed = value.sending.content.clone().unwrap();
    sealed.bytes.reverse();
    let damaged = Sending { content: Some(sealed), ..value.sending };
    assert_eq!(outbox.swap(&alice().tenant, id.into(), version, &damaged).await.unwrap(), Commit::Won);
    world.clock.advance(Duration::from_mins(10));
    assert_eq!(deliver(&world.mfa).await, [Delivered::Failed]);
    assert!(world.reasons().await.is_empty());
}

#[tokio::test]
async fn a_claim_that_fails_loses_nothing() {
    let world = world().await;
    for (fault, claimed) in [(Fault::Commit, false), (Fault::Everything, false), (Fault::LostAnswer, true)] {
        world.queue().await;
        world.accounts.set(fault);
        let failed = world.mfa.claim_messages(1000).await;
        assert!(matches!(failed, Err(Undecided::Store(_))), "{fault:?}: {failed:?}");
        world.accounts.set(None);
        if claimed {
            assert!(deliver(&world.mfa).await.is_empty(), "{fault:?}");
            world.clock.advance(Message::CLAIM);
        }
        assert_eq!(deliver(&world.mfa).await, [Delivered::Sent], "{fault:?}");
    }
}

/// It is given up in one commit with its event: there are both or neither.
#[tokio::test]
async fn what_is_given_up_while_the_store_fails_is_given_up_once() {
    for fault in [Fault::Load, Fault::Commit, Fault::Conflict, Fault::Everything, Fault::LostAnswer] {
        let world = world().await;
        let id = world.queue().await;
        let claimed = world.claim().await;
        world.sender.fail_with(SendFailure::Refused);
        world.accounts.set(fault);
        let delivered = world.mfa.deliver(&courier(), claimed).await;
        assert!(delivered.is_err(), "{fault:?}: {delivered:?}");
        world.accounts.set(None);
        let (made, left) = if fault == Fault::LostAnswer { (1, 0) } else { (0, 1) };
        assert_eq!(world.count(EventKind::CodeNotSent).await, made, "{fault:?}");
        world.clock.advance(Message::CLAIM);
        assert_eq!(deliver(&world.mfa).await, vec![Delivered::Failed; left], "{fault:?}");
        assert_eq!(world.count(EventKind::CodeNotSent).await, 1, "{fault:?}");
        assert!(world.codes_of(id).is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn whoever_waits_for_messages_is_woken_by_one_that_is_queued_and_by_nothing_else() {
    let world = world().await;
    let queued = world.mfa.message_queued();
    let mut queued = std::pin::pin!(queued);
    let soon = Duration::from_millis(20);
    let label = Label::new("Other").unwrap();
    world.mfa.rename(&alice(), &shop(), world.factor, &label).await.unwrap();
    assert!(tokio::time::timeout(soon, queued.as_mut()).await.is_err(), "a change without a message");
    world.queue().await;
    let woken = tokio::time::timeout(Duration::from_secs(30), queued).await;
    assert!(woken.is_ok(), "nobody was woken");
    // What was queued before is there to be claimed.
    let later = world.mfa.message_queued();
    assert!(tokio::time::timeout(soon, later).await.is_err(), "the same message");
    assert_eq!(deliver(&world.mfa).await, [Delivered::Sent]);
}

#[tokio::test]
async fn without_an_outbox_such_a_factor_is_undecided() {
    let sender = Arc::new(ListSender::default());
    let ports = ports(Arc::new(MockAccountStore::new())).ports;
    let ports = ports.challenges(Arc::new(MemoryChallenges::default())).sender(sender.clone());
    let mfa = Mfa::new(ports, policies()).unwrap();
    let offered = mfa.enrol_address(&alice(), &shop(), address()).await.unwrap_err();
    assert!(matches!(offered, EnrolError::Undecided(Undecided::Store(_))), "{offered:?}");
    let factor = FactorId::fresh(Timestamp::default(), &[1; 10]);
    let begun = mfa.begin_challenge(&alice(), &shop(), factor).await;
    assert!(matches!(begun, Err(Undecided::Store(_))), "{begun:?}");
    let claimed = mfa.claim_messages(1).await;
    assert!(matches!(claimed, Err(Undecided::Store(_))), "{claimed:?}");
    assert!(sender.sent().is_empty());
}

/// A sender that takes addresses of one domain.
#[derive(Debug)]
struct Picky;

#[async_trait]
impl Sender for Picky {
    fn check(&self, kind: &FactorKind, to: &Address) -> Result<(), InvalidRecipient> {
        assert_eq!(*kind, FactorKind::Email);
        if to.expose().ends_with("@mail.example") {
            Ok(())
        } else {
            Err(InvalidRecipient("not at mail.example".to_owned()))
        }
    }

    async fn send(&self, _: &CodeMessage<'_>) -> Result<(), SenderError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_address_that_nothing_can_be_sent_to_is_not_enrolled() {
    let ports = ports(Arc::new(MemoryStore::default())).ports;
    let ports = ports.challenges(Arc::new(MemoryChallenges::default())).sender(Arc::new(Picky));
    let mfa = Mfa::new(ports, policies()).unwrap();
    let elsewhere = Address::new("alice@example.com").unwrap();
    let elsewhere = NewAddress::email(Label::new("Mail").unwrap(), elsewhere);
    let charged = mfa.enrol_recipient(&alice(), &shop(), Session::default(), &elsewhere).await.unwrap_err();
    let offered = mfa.enrol_address(&alice(), &shop(), elsewhere).await.unwrap_err();
    for refused in [charged, offered] {
        assert!(matches!(refused, EnrolError::Address(_)), "{refused:?}");
        assert_eq!(refused.to_string(), "not at mail.example");
    }
    assert!(mfa.status(&alice()).await.unwrap().factors.is_empty());
    assert!(mfa.claim_messages(1).await.unwrap().messages.is_empty());
    mfa.enrol_address(&alice(), &shop(), address()).await.unwrap();
    assert_eq!(deliver(&mfa).await, [Delivered::Sent]);
}

/// Asked before it is charged, and changes nothing.
#[tokio::test]
async fn whose_quota_an_enrolment_costs_is_told_only_if_it_would_be_made() {
    let world = world().await;
    let new = || NewAddress::email(Label::new("Other").unwrap(), Address::new("eve@mail.example").unwrap());
    let recipient = async || world.mfa.enrol_recipient(&alice(), &shop(), Session::default(), &new()).await;
    let refused = recipient().await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::ProofRequired { .. })), "{refused:?}");
    let (id, code) = world.begin().await;
    assert!(matches!(world.answer(id, &code).await.unwrap(), Verdict::Accepted(_)));
    let before = world.events().await.len();
    let expected = ThrottleKey::recipient(&alice().tenant, &new().address);
    assert_eq!(recipient().await.unwrap(), expected);
    let unknown = FactorId::fresh(Timestamp::default(), &[1; 10]);
    let mut replacing = new();
    replacing.replaces = Some(unknown);
    let refused =
        world.mfa.enrol_recipient(&alice(), &shop(), Session::default(), &replacing).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(PolicyDenial::UnknownFactor)), "{refused:?}");
    assert_eq!(world.events().await.len(), before);
    assert!(deliver(&world.mfa).await.is_empty());
}

#[tokio::test]
async fn without_a_store_of_challenges_such_a_factor_is_undecided() {
    let accounts: Arc<dyn AccountStore> = Arc::new(MemoryStore::default());
    let mfa = Mfa::new(ports(accounts).ports, policies()).unwrap();
    let offered = mfa.enrol_address(&alice(), &shop(), address()).await.unwrap_err();
    assert!(matches!(offered, EnrolError::Undecided(Undecided::Store(_))), "{offered:?}");
    assert!(mfa.status(&alice()).await.unwrap().factors.is_empty());
    assert!(deliver(&mfa).await.is_empty());
}

#[tokio::test]
async fn without_a_sender_codes_are_queued_until_they_expire() {
    let test = ports(Arc::new(MemoryStore::default()));
    let ports = test.ports.challenges(Arc::new(MemoryChallenges::default()));
    let mfa = Mfa::new(ports, policies()).unwrap();
    mfa.enrol_address(&alice(), &shop(), address()).await.unwrap();
    assert_eq!(deliver(&mfa).await, [Delivered::Queued]);
    test.clock.advance(Duration::from_mins(10));
    assert_eq!(deliver(&mfa).await, [Delivered::Failed]);
}

#[tokio::test]
async fn a_policy_may_admit_no_address() {
    for email in [true, false] {
        let enrolment = StandardEnrolment { email, ..StandardEnrolment::default() };
        let policies = Policies { enrolment: Arc::new(enrolment), ..Policies::default() };
        let ports = ports(Arc::new(MemoryStore::default())).ports;
        let ports = ports.challenges(Arc::new(MemoryChallenges::default()));
        let mfa = Mfa::new(ports, policies).unwrap();
        match mfa.enrol_address(&alice(), &shop(), address()).await {
            Ok(_) => assert!(email),
            Err(EnrolError::Refused(PolicyDenial::KindNotAdmitted)) => assert!(!email),
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(deliver(&mfa).await.len(), usize::from(email));
    }
}

/// Its answer is kept in the commit that queues the code.
#[tokio::test]
async fn an_enrolment_that_is_sent_again_is_made_once_and_its_code_is_sent_once() {
    let world = world().await;
    let (id, code) = world.begin().await;
    assert!(matches!(world.answer(id, &code).await.unwrap(), Verdict::Accepted(_)));
    let (shop, reply) = (shop(), |_: &_| Some(Reply { bytes: b"201".to_vec().into(), secret: false }));
    let keep = || Keep { call: CallId([7; 32]), request: b"{}", reply: &reply };
    let call = Call { actor: &shop, session: Session::default(), keep: Some(keep()) };
    world.mfa.enrol_address(&alice(), call, address()).await.unwrap();
    let earlier = world.mfa.earlier(&alice(), CallId([7; 32]), b"{}").await.unwrap();
    assert!(matches!(earlier, Earlier::Answered(_)), "{earlier:?}");
    let call = Call { actor: &shop, session: Session::default(), keep: Some(keep()) };
    let again = world.mfa.enrol_address(&alice(), call, address()).await.unwrap_err();
    assert!(matches!(again, EnrolError::Undecided(Undecided::Busy)), "{again:?}");
    let factors = world.mfa.status(&alice()).await.unwrap().factors;
    assert_eq!(factors.len(), 2, "{factors:?}");
    assert_eq!(deliver(&world.mfa).await, [Delivered::Sent]);
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
async fn a_slow_sender_keeps_neither_an_enrolment_nor_a_login_waiting() {
    let test = ports(Arc::new(MemoryStore::default()));
    let sender = Arc::new(Slow::default());
    let ports = test.ports.challenges(Arc::new(MemoryChallenges::default())).sender(sender.clone());
    let mfa = Arc::new(Mfa::new(ports, policies()).unwrap());
    let (key, shop) = (alice(), shop());
    let app = TotpUser::enrol(&mfa, &key).await.unwrap();
    test.clock.advance(Duration::from_secs(30));
    let code = submitted(&app.code(mfa.ports().clock.now()));
    assert!(matches!(mfa.verify(&key, &shop, &code, None).await.unwrap(), Verdict::Accepted(_)));

    let offered = in_time(mfa.enrol_address(&key, &shop, address())).await.unwrap();
    assert!(!sender.asked.load(Ordering::SeqCst), "the enrolment asked the sender");
    let delivery = tokio::spawn({
        let mfa = Arc::clone(&mfa);
        async move { deliver(&mfa).await }
    });
    while !sender.asked.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    test.clock.advance(Duration::from_secs(30));
    let code = submitted(&app.code(mfa.ports().clock.now()));
    let verdict = in_time(mfa.verify(&key, &shop, &code, None)).await.unwrap();
    assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    let id = offered.begun.challenge.id;
    let resent = in_time(mfa.resend_challenge(&key.tenant, &shop, id)).await.unwrap();
    assert!(matches!(resent, Verdict::Accepted(_)), "{resent:?}");
    assert!(!delivery.is_finished());
    sender.done.store(true, Ordering::SeqCst);
    assert_eq!(delivery.await.unwrap(), [Delivered::Superseded]);
    assert_eq!(deliver(&mfa).await, [Delivered::Sent]);
}

/// What a call gives that does not wait for the sender.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), call).await.expect("it waits for the sender")
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
        let mfa = Mfa::new(ports, policies()).unwrap();
        let app = TotpUser::enrol(&mfa, &alice()).await.unwrap();
        test.clock.advance(Duration::from_secs(30));
        let code = submitted(&app.code(mfa.ports().clock.now()));
        assert!(matches!(mfa.verify(&alice(), &shop(), &code, None).await.unwrap(), Verdict::Accepted(_)));
        let factor = mfa.enrol_address(&alice(), &shop(), address()).await.unwrap().factor.id;
        assert_eq!(deliver(&mfa).await, [Delivered::Sent]);
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

    fn outbox(&self) -> Option<&dyn Outbox> {
        self.inner.outbox()
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        self.inner.keys_in_use().await
    }
}
