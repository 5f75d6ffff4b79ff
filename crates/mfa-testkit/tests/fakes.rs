//! The fakes do what they say.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::ports::{AccountStore, Clock, CodeMessage, Commit, Entropy, EventQuery, Sender};
use mfa_domain::{
    AccountKey, Actor, Address, ChallengeId, CodeRejection, FactorKind, Message, Purpose, SentCode, TenantId,
    Timestamp, Undecided, UserId, Verdict, Version,
};
use mfa_store_memory::MemoryStore;
use mfa_testkit::mocks::MockAccountStore;
use mfa_testkit::{
    FailingStore, Fault, HotpUser, ListSender, ManualClock, SeededEntropy, SendFailure, TotpUser, changes,
    ports, submitted,
};

fn alice() -> AccountKey {
    AccountKey::new(TenantId::new("acme").unwrap(), UserId::new("alice").unwrap())
}

#[tokio::test]
async fn a_failing_store_fails_in_the_way_it_is_told_to() {
    let inner = Arc::new(MemoryStore::default());
    let store = Arc::new(FailingStore::new(inner.clone()));
    let mfa = ports(store.clone()).mfa();
    let (key, actor) = (alice(), Actor::user("test"));
    let user = HotpUser::enrol(&mfa, &key).await.unwrap();
    let before = inner.load(&key).await.unwrap();
    let code = submitted(&user.code(1));

    for fault in [Fault::Load, Fault::Commit, Fault::Everything] {
        store.set(fault);
        let error = mfa.verify(&key, &actor, &code, None).await.unwrap_err();
        assert!(matches!(error, Undecided::Store(_)), "{fault:?}: {error:?}");
        assert_eq!(inner.load(&key).await.unwrap(), before, "{fault:?}");
    }
    store.set(Fault::Conflict);
    let error = mfa.verify(&key, &actor, &code, None).await.unwrap_err();
    assert!(matches!(error, Undecided::Busy), "{error:?}");
    assert_eq!(inner.load(&key).await.unwrap(), before);

    // The code is used up, though nobody was told so.
    store.set(Fault::LostAnswer);
    assert!(mfa.verify(&key, &actor, &code, None).await.is_err());
    assert_eq!(inner.load(&key).await.unwrap().version, before.version.next());
    store.set(None);
    let again = mfa.verify(&key, &actor, &code, None).await.unwrap();
    assert_eq!(again, Verdict::Rejected(CodeRejection::Replayed { factor: Some(user.factor) }));

    store.set(Fault::Everything);
    let query = EventQuery { tenant: key.tenant, user: None, after: None, limit: 1 };
    assert!(store.events(&query).await.is_err());
    assert!(store.keys_in_use().await.is_err());
}

#[tokio::test]
async fn a_failing_store_fails_in_its_outbox_as_well() {
    let inner = Arc::new(MemoryStore::default());
    let store = FailingStore::new(inner.clone());
    let queued = changes::message(1, changes::now());
    let (tenant, id, sent) = (&queued.account.tenant, queued.id, queued.sending.sent());
    let commit = changes::change(&store, &queued.account, |draft| draft.message(queued.clone()));
    assert_eq!(commit.await.unwrap(), Commit::Won);
    let (now, until) = (changes::now(), changes::now().plus(Message::CLAIM));
    let (outbox, behind) = (store.outbox().unwrap(), inner.outbox().unwrap());
    let there = async || behind.message(tenant, id).await.unwrap().unwrap();

    for fault in [Fault::Commit, Fault::Everything] {
        store.set(fault);
        assert!(outbox.claim(now, until, 1).await.is_err(), "{fault:?}");
        assert!(outbox.swap(tenant, id, Version(1), &sent).await.is_err(), "{fault:?}");
        let read = outbox.message(tenant, id).await;
        assert_eq!(read.is_err(), fault == Fault::Everything, "{fault:?}");
        assert_eq!(there().await.version, Version(1), "{fault:?}");
    }
    store.set(Fault::Conflict);
    assert_eq!(outbox.swap(tenant, id, Version(1), &sent).await.unwrap(), Commit::Conflict);
    assert_eq!(there().await.value, queued);
    store.set(Fault::LostAnswer);
    assert!(outbox.claim(now, until, 1).await.is_err());
    assert_eq!(there().await.version, Version(2));
    assert!(outbox.swap(tenant, id, Version(2), &sent).await.is_err());
    assert_eq!(there().await.value.sending, sent);

    let without = FailingStore::new(Arc::new(MockAccountStore::new()));
    assert!(without.outbox().is_none());
}

#[tokio::test]
async fn a_list_sender_fails_in_the_way_it_is_told_to() {
    let sender = ListSender::default();
    let (kind, account) = (FactorKind::Email, alice());
    let (to, code) = (Address::new("alice@mail.example").unwrap(), SentCode::parse("12345678").unwrap());
    let challenge = ChallengeId::from_entropy([1; 16]);
    let message = CodeMessage::new(&kind, &to, &code, Purpose::Verify, Timestamp::MAX, &account, challenge);
    for (failure, how, sent) in [
        (Some(SendFailure::Refused), Some("refused"), 0),
        (Some(SendFailure::NotSent), Some("not_sent"), 0),
        (Some(SendFailure::Unknown), Some("unknown"), 1),
        (None, None, 2),
    ] {
        sender.fail_with(failure);
        let error = sender.send(&message).await.err();
        assert_eq!(error.map(|error| error.as_str()), how);
        assert_eq!(sender.sent().len(), sent, "{failure:?}");
    }
    sender.fail(true);
    assert_eq!(sender.send(&message).await.unwrap_err().as_str(), "not_sent");
    sender.fail(false);
    assert!(sender.send(&message).await.is_ok());
}

#[tokio::test]
async fn a_backup_code_costs_one_evaluation() {
    let test = ports(Arc::new(MemoryStore::default()));
    let mfa = test.mfa();
    let user = TotpUser::enrol(&mfa, &alice()).await.unwrap();
    let before = test.hasher.evaluations();
    let code = submitted(&user.backup_codes[7]);
    let verdict = mfa.verify(&user.key, &Actor::user("test"), &code, None).await.unwrap();
    assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    assert_eq!(test.hasher.evaluations() - before, 1);
}

#[tokio::test]
async fn wrong_codes_are_wrong_and_different() {
    let test = ports(Arc::new(MemoryStore::default()));
    let user = TotpUser::enrol(&test.mfa(), &alice()).await.unwrap();
    let now = test.clock.now();
    let mut codes = user.wrong_codes(now, 300);
    let around = (0..10).map(|step| user.code(now.plus(Duration::from_secs(30 * step))));
    codes.extend(around);
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), 310);
}

#[test]
fn seeded_entropy_is_the_same_for_a_seed_and_never_repeats_itself() {
    let bytes = |seed| {
        let (entropy, mut bytes) = (SeededEntropy::new(seed), [[0; 40]; 3]);
        for bytes in &mut bytes {
            entropy.fill(bytes).unwrap();
        }
        bytes
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
    let [a, b, c] = bytes(1);
    assert!(a != b && b != c && a != c && a[..8] != a[32..]);
}

#[test]
fn a_clock_stands_still_until_it_is_moved() {
    let clock = ManualClock::new(Timestamp::from_unix_seconds(100));
    assert_eq!(clock.now(), clock.now());
    clock.set(Timestamp::from_unix_seconds(50));
    clock.advance(Duration::from_millis(1));
    assert_eq!(clock.now(), Timestamp::from_unix_millis(50_001));
}
