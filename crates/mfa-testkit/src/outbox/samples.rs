//! Messages for the suites, and how they are looked at.

use std::collections::BTreeSet;

use mfa_domain::ports::{AccountStore, Commit, Outbox};
use mfa_domain::{
    AccountKey, KeyId, Message, MessageId, Sealed, Sending, TenantId, Timestamp, UserId, Version, Versioned,
};
use sha2::{Digest, Sha256};

use crate::changes::{self, change};
use crate::{Violation, ensure};

/// When messages are queued if it does not matter when; they are good for ten minutes.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_800_000_000_123)
}

/// Until when they are claimed if it does not matter.
pub(super) fn until() -> Timestamp {
    now().plus(Message::CLAIM)
}

pub(super) fn key(tenant: &str, user: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
}

/// A queued message of a check, whose name is that of the tenant; its number makes its id.
pub(super) fn message(check: &str, number: u32) -> Message {
    let account = key(check, "alice");
    let message = Message { id: id(check, number), account, ..changes::message(0, now()) };
    with_content(&message, &format!("{check} {number}"))
}

/// The same with something else under its seal.
pub(super) fn with_content(message: &Message, text: &str) -> Message {
    let content = Some(Sealed { key: KeyId::new("k1"), bytes: text.into() });
    Message { sending: Sending { content, ..message.sending.clone() }, ..message.clone() }
}

/// The same, to be sent from another time on.
pub(super) fn due_at(message: &Message, due_at: Timestamp) -> Message {
    Message { sending: Sending { due_at, ..message.sending.clone() }, ..message.clone() }
}

/// The outbox, which must be there.
pub(super) fn outbox(store: &dyn AccountStore) -> Result<&dyn Outbox, Violation> {
    store.outbox().ok_or_else(|| Violation::new("the store has no outbox"))
}

/// Puts messages by one commit, to the account of the first.
pub(super) async fn put(store: &dyn AccountStore, messages: &[Message]) -> Result<(), Violation> {
    let all = messages.iter().cloned();
    let commit = change(store, &messages[0].account, |draft| all.for_each(|message| draft.message(message)));
    let commit = commit.await?;
    ensure!(commit == Commit::Won, "a commit that nothing was in the way of: {commit:?}");
    Ok(())
}

/// What is there, and must be.
pub(super) async fn there(
    store: &dyn AccountStore,
    message: &Message,
) -> Result<Versioned<Message>, Violation> {
    let found = outbox(store)?.message(&message.account.tenant, message.id).await?;
    found.ok_or_else(|| Violation::new(format!("{:?} is not there, but it was put", message.id)))
}

/// What is there must be this message; gives its version.
pub(super) async fn unchanged(store: &dyn AccountStore, message: &Message) -> Result<Version, Violation> {
    let Versioned { value, version } = there(store, message).await?;
    ensure!(value == *message, "what is there is not what it must be\n is: {value:?}\nnot: {message:?}");
    Ok(version)
}

/// Swaps where nothing can be in the way, and compares what is read afterwards. The message is what is there from then on.
pub(super) async fn keep(
    store: &dyn AccountStore,
    message: &mut Message,
    expected: Version,
    next: Sending,
) -> Result<Version, Violation> {
    let commit = outbox(store)?.swap(&message.account.tenant, message.id, expected, &next).await?;
    ensure!(commit == Commit::Won, "a swap at the stored version {expected:?} did not win");
    message.sending = next;
    let version = unchanged(store, message).await?;
    ensure!(version == expected.next(), "a swap at {expected:?} made {version:?}");
    Ok(version)
}

/// Claims all that is due, at most `limit` at a time; gives what is of that tenant, in the order of the ids. What else is
/// due was left by other checks.
pub(super) async fn claim_all(
    store: &dyn AccountStore,
    tenant: &TenantId,
    during: (Timestamp, Timestamp),
    limit: u32,
) -> Result<Vec<Versioned<Message>>, Violation> {
    let mut ours = claim_in_turn(store, tenant, during, limit).await?;
    ours.sort_by_key(|message| message.value.id);
    Ok(ours)
}

/// The same in the order in which they are given.
pub(super) async fn claim_in_turn(
    store: &dyn AccountStore,
    tenant: &TenantId,
    (now, until): (Timestamp, Timestamp),
    limit: u32,
) -> Result<Vec<Versioned<Message>>, Violation> {
    let (outbox, mut given, mut ours) = (outbox(store)?, BTreeSet::new(), Vec::new());
    loop {
        let claimed = outbox.claim(now, until, limit).await?;
        let (messages, unreadable) = (claimed.messages, claimed.unreadable);
        ensure!(messages.len() <= limit as usize, "a claim of at most {limit} gave {}", messages.len());
        ensure!(unreadable.is_empty(), "messages that nobody damaged cannot be read: {unreadable:?}");
        if messages.is_empty() {
            return Ok(ours);
        }
        for message in messages {
            let Message { id, account, .. } = &message.value;
            let is_new = given.insert((account.tenant.clone(), *id));
            ensure!(is_new, "{id:?} was given again before its claim was over");
            if account.tenant == *tenant {
                ours.push(message);
            }
        }
    }
}

/// Claims all that is due by then; of that tenant it must be exactly these messages, each at the version beside it, and
/// they must be claimed from then on.
pub(super) async fn claims_exactly(
    store: &dyn AccountStore,
    tenant: &TenantId,
    (now, until): (Timestamp, Timestamp),
    due: &[(Message, Version)],
) -> Result<Vec<Versioned<Message>>, Violation> {
    let claimed = claim_all(store, tenant, (now, until), 100).await?;
    let mut expected: Vec<_> = due
        .iter()
        .map(|(message, version)| {
            let sending = message.sending.claimed(until);
            Versioned { value: Message { sending, ..message.clone() }, version: version.next() }
        })
        .collect();
    expected.sort_by_key(|message| message.value.id);
    ensure!(
        claimed == expected,
        "what was claimed at {now} is not what is due, claimed\n is: {claimed:?}\nnot: {expected:?}"
    );
    for message in &claimed {
        let read = there(store, &message.value).await?;
        ensure!(read == *message, "what a claim gave is not what is there\ngave: {message:?}\nis: {read:?}");
    }
    Ok(claimed)
}

fn id(check: &str, number: u32) -> MessageId {
    let hash = Sha256::new().chain_update(check).chain_update(number.to_be_bytes()).finalize();
    let mut random = [0; MessageId::LENGTH];
    random.copy_from_slice(&hash[..MessageId::LENGTH]);
    MessageId::from_entropy(random)
}
