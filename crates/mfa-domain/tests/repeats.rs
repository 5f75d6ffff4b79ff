//! Calls that are sent again: what they are answered with, and for how long.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mfa_domain::account::{CallId, GivenProof, KeptAnswer, Session, SessionProof};
use mfa_domain::mfa::{Call, ChangeError, Earlier, Keep, NewFactor, PlainBackupCodes, Reply};
use mfa_domain::otp_core::{Token, Totp};
use mfa_domain::ports::EventQuery;
use mfa_domain::{AccountKey, Actor, EventKind, KeyId, Label, Mfa, Reason, TenantId, Undecided, UserId};
use mfa_store_memory::MemoryStore;
use mfa_testkit::{FailingStore, Fault, HotpUser, TestPorts, ports, submitted};
use zeroize::Zeroizing;

const BODY: &[u8] = b"{}";

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

fn id(key: &str) -> CallId {
    CallId::of(&["caller", "backup-codes", key])
}

struct World {
    store: Arc<FailingStore>,
    test: TestPorts,
    mfa: Mfa,
    token: HotpUser,
    /// What the session of the user keeps.
    proof: GivenProof,
}

/// With a user who has just verified.
async fn world() -> World {
    let store = Arc::new(FailingStore::new(Arc::new(MemoryStore::default())));
    let test = ports(store.clone());
    let mfa = test.mfa();
    let token = HotpUser::enrol(&mfa, &alice()).await.unwrap();
    let proof = verify(&mfa, &token, 1).await;
    World { store, test, mfa, token, proof }
}

/// Verifies the user; gives what a session keeps of it.
async fn verify(mfa: &Mfa, token: &HotpUser, counter: u64) -> GivenProof {
    let code = submitted(&token.code(counter));
    let verdict = mfa.verify(&alice(), &Actor::user("test"), &code, None).await.unwrap();
    GivenProof::Session(SessionProof::new(alice(), &verdict.into_result().unwrap().verification))
}

impl World {
    async fn verify(&self, counter: u64) {
        verify(&self.mfa, &self.token, counter).await;
    }

    const fn session(&self) -> Session<'_> {
        Session { proof: Some(&self.proof), nonce: None }
    }

    async fn issue(&self, mfa: &Mfa, key: &str) -> Result<PlainBackupCodes, ChangeError> {
        let reply = |codes: &PlainBackupCodes| Some(Reply { bytes: text(codes), secret: true });
        let keep = Keep { call: id(key), request: BODY, reply: &reply };
        let call = Call { actor: &Actor::user("test"), session: self.session(), keep: Some(keep) };
        mfa.issue_backup_codes(&alice(), call).await
    }

    /// Without anything to unlock.
    async fn unlock(&self, key: &str) {
        let keep = Keep { call: id(key), request: BODY, reply: &done };
        let call = Call { actor: &Actor::admin("test"), session: Session::default(), keep: Some(keep) };
        self.mfa.unlock(&alice(), call, &Reason::new("test").unwrap()).await.unwrap();
    }

    async fn reset(&self) {
        self.mfa.reset(&alice(), &Actor::admin("test"), &Reason::new("test").unwrap()).await.unwrap();
    }

    async fn erase(&self, key: Option<&str>) {
        let keep = key.map(|key| Keep { call: id(key), request: BODY, reply: &done });
        let actor = Actor::admin("test");
        self.mfa.erase(&alice(), Call { actor: &actor, session: Session::default(), keep }).await.unwrap();
    }

    async fn events(&self) -> Vec<EventKind> {
        let AccountKey { tenant, user } = alice();
        let query = EventQuery { tenant, user: Some(user), after: None, limit: 1000 };
        let page = self.mfa.events(&query).await.unwrap();
        page.events.into_iter().map(|event| event.event.kind).collect()
    }

    async fn earlier(&self, key: &str) -> Option<Vec<u8>> {
        match self.mfa.earlier(&alice(), id(key), BODY).await.unwrap() {
            Earlier::Answered(bytes) => Some(bytes.to_vec()),
            Earlier::Nothing => None,
            Earlier::AskedOtherwise => panic!("the same was asked"),
        }
    }

    async fn kept(&self) -> usize {
        self.test.ports.accounts.load(&alice()).await.unwrap().value.answers.len()
    }

    async fn issued(&self) -> usize {
        self.events().await.into_iter().filter(|kind| *kind == EventKind::BackupCodesIssued).count()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, clippy::unnecessary_wraps, reason = "what a reply is made of")]
fn done((): &()) -> Option<Reply> {
    Some(Reply { bytes: Zeroizing::new(b"done".to_vec()), secret: false })
}

fn text(codes: &PlainBackupCodes) -> Zeroizing<Vec<u8>> {
    let codes: Vec<_> = codes.codes().iter().map(|code| code.to_display().to_string()).collect();
    Zeroizing::new(codes.join(" ").into())
}

#[tokio::test]
async fn an_answer_is_given_again_to_the_same_call_only() {
    let world = world().await;
    assert_eq!(world.earlier("a").await, None);
    let codes = world.issue(&world.mfa, "a").await.unwrap();
    assert_eq!(world.earlier("a").await.unwrap(), *text(&codes));
    assert_eq!(world.earlier("b").await, None);
    let otherwise = world.mfa.earlier(&alice(), id("a"), b"{ }").await.unwrap();
    assert!(matches!(otherwise, Earlier::AskedOtherwise));
    let bob = AccountKey::new(alice().tenant, UserId::new("bob").unwrap());
    assert!(matches!(world.mfa.earlier(&bob, id("a"), BODY).await.unwrap(), Earlier::Nothing));
    // Who does not ask first gets nothing, and changes nothing.
    let again = world.issue(&world.mfa, "a").await.unwrap_err();
    assert!(matches!(again, ChangeError::Undecided(Undecided::Busy)));
    assert_eq!(world.issued().await, 2, "the first came with the factor");
}

#[tokio::test]
async fn a_secret_is_kept_for_ten_minutes_and_anything_else_for_a_day() {
    let world = world().await;
    world.issue(&world.mfa, "secret").await.unwrap();
    world.unlock("done").await;
    let second = Duration::from_secs(1);
    world.test.clock.advance(KeptAnswer::SECRET_KEPT_FOR.saturating_sub(second));
    assert!(world.earlier("secret").await.is_some());
    world.test.clock.advance(second);
    assert_eq!(world.earlier("secret").await, None);
    assert_eq!(world.kept().await, 2);
    // The next change of any sort takes it away, a login included.
    world.verify(2).await;
    assert_eq!(world.kept().await, 1);
    world.test.clock.advance(KeptAnswer::KEPT_FOR.saturating_sub(KeptAnswer::SECRET_KEPT_FOR + second));
    assert_eq!(world.earlier("done").await.unwrap(), b"done");
    world.test.clock.advance(second);
    assert_eq!(world.earlier("done").await, None);
    assert_eq!((KeptAnswer::SECRET_KEPT_FOR.as_secs(), KeptAnswer::KEPT_FOR.as_secs()), (600, 86_400));
}

#[tokio::test]
async fn an_answer_that_changed_nothing_is_kept_and_is_no_event() {
    let world = world().await;
    world.erase(None).await;
    let events = world.events().await;
    world.unlock("unlock").await;
    world.erase(Some("erase")).await;
    world.reset().await;
    assert_eq!(world.earlier("unlock").await, None, "it was erased");
    assert_eq!(world.earlier("erase").await.unwrap(), b"done");
    assert_eq!(world.events().await, events);
    // The chain goes on where it was.
    HotpUser::enrol(&world.mfa, &alice()).await.unwrap();
    let account = world.test.ports.accounts.load(&alice()).await.unwrap().value;
    assert!(account.audit_head.sequence > u64::try_from(events.len()).unwrap());
    assert_eq!(world.earlier("erase").await.unwrap(), b"done");
}

#[tokio::test]
async fn what_is_left_of_an_account_but_answers_goes_with_a_reset_and_an_erasure() {
    let world = world().await;
    world.unlock("before").await;
    world.reset().await;
    world.unlock("after").await;
    world.issue(&world.mfa, "none").await.unwrap_err();
    let events = world.events().await;
    world.reset().await;
    assert_eq!(world.kept().await, 2, "without secrets they stay");
    assert_eq!(world.events().await, events);
    world.erase(None).await;
    world.unlock("last").await;
    let events = world.events().await;
    world.erase(None).await;
    assert_eq!(world.kept().await, 0);
    assert_eq!(world.events().await, events, "nothing but answers went");
}

#[tokio::test]
async fn a_secret_goes_with_a_factor() {
    let world = world().await;
    world.issue(&world.mfa, "a").await.unwrap();
    let new = NewFactor::new(Label::new("Other").unwrap(), Token::Totp(Totp::default()));
    let user = Actor::user("test");
    let call = Call::from(&user).in_session(world.session());
    let offered = world.mfa.begin_enrolment(&alice(), call, new).await.unwrap();
    assert!(world.earlier("a").await.is_some());
    world.mfa.revoke(&alice(), &user, offered.factor.id).await.unwrap();
    assert_eq!(world.earlier("a").await, None);
}

#[tokio::test]
async fn it_is_kept_with_the_change_or_not_at_all() {
    let world = world().await;
    for fault in [Fault::Commit, Fault::Conflict] {
        world.store.set(fault);
        world.issue(&world.mfa, "a").await.unwrap_err();
        world.store.set(None);
        assert_eq!((world.earlier("a").await, world.issued().await), (None, 1), "{fault:?}");
    }
    // The change was made, and the answer of the store got lost: the caller still learns what it was.
    world.store.set(Fault::LostAnswer);
    world.issue(&world.mfa, "a").await.unwrap_err();
    world.store.set(None);
    assert_eq!(world.issued().await, 2);
    let codes = String::from_utf8(world.earlier("a").await.unwrap()).unwrap();
    let code = submitted(codes.split(' ').next().unwrap());
    let verdict = world.mfa.verify(&alice(), &Actor::user("test"), &code, None).await.unwrap();
    assert!(matches!(verdict, mfa_domain::Verdict::Accepted(_)));
}

#[tokio::test]
async fn it_cannot_be_opened_elsewhere_nor_without_its_key() {
    let world = world().await;
    world.issue(&world.mfa, "a").await.unwrap();
    world.test.vault.rotate(KeyId::new("fake-2"));
    assert!(world.earlier("a").await.is_some());
    world.test.vault.forget_older();
    let error = world.mfa.earlier(&alice(), id("a"), BODY).await.unwrap_err();
    assert!(matches!(error, Undecided::Vault(_)), "nobody can tell, so nothing is made again");
    assert!(matches!(world.issue(&world.mfa, "a").await, Err(ChangeError::Undecided(Undecided::Busy))));
}

#[tokio::test]
async fn it_is_sealed_anew_with_what_else_the_account_has() {
    let world = world().await;
    world.issue(&world.mfa, "a").await.unwrap();
    let codes = world.earlier("a").await;
    let sealed_with = async || {
        let answers = world.test.ports.accounts.load(&alice()).await.unwrap().value.answers;
        answers.iter().map(|answer| answer.sealed.key.to_string()).collect::<Vec<_>>()
    };
    // By the walk, and by a login that comes before it.
    world.test.vault.rotate(KeyId::new("fake-2"));
    assert!(world.mfa.reseal(&alice(), &Actor::admin("test")).await.unwrap());
    assert_eq!(sealed_with().await, ["fake-2"]);
    assert!(!world.mfa.reseal(&alice(), &Actor::admin("test")).await.unwrap());
    world.test.vault.rotate(KeyId::new("fake-3"));
    world.verify(2).await;
    assert_eq!(sealed_with().await, ["fake-3"]);
    world.test.vault.forget_older();
    assert_eq!(world.earlier("a").await, codes);
    // Without any factor there is still an answer to seal.
    world.erase(None).await;
    world.unlock("b").await;
    world.test.vault.rotate(KeyId::new("fake-4"));
    let events = world.events().await;
    assert!(world.mfa.reseal(&alice(), &Actor::admin("test")).await.unwrap());
    assert_eq!((sealed_with().await, world.events().await), (vec!["fake-4".to_owned()], events));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_replicas_one_makes_the_change() {
    for round in 0..20 {
        let world = world().await;
        let replicas: Vec<Mfa> = (0..4).map(|_| world.test.mfa()).collect();
        let made = join_all(replicas.iter().map(|mfa| world.issue(mfa, "a"))).await;
        let good: Vec<_> = made.iter().filter_map(|made| made.as_ref().ok()).collect();
        assert_eq!((good.len(), world.issued().await), (1, 2), "round {round}");
        assert_eq!(world.earlier("a").await.unwrap(), *text(good[0]));
    }
}
