//! Sample messages, and assertions about stored ones.

use std::collections::BTreeSet;

use mfa_domain::ports::{AccountStore, Commit, Outbox};
use mfa_domain::{
    AccountKey, KeyId, Message, MessageId, Sealed, Sending, TenantId, Timestamp, UserId, Version, Versioned,
};
use sha2::{Digest, Sha256};

use crate::changes::{self, change};
use crate::{Violation, ensure};

/// The time at which messages are queued if the time does not matter. They are valid for ten minutes.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_800_000_000_123)
}

/// The end of claims if the time does not matter.
pub(super) fn until() -> Timestamp {
    now().plus(Message::CLAIM)
}

pub(super) fn key(tenant: &str, user: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
}

/// A queued message for a check, which also names the tenant; `number` determines the id.
pub(super) fn message(check: &str, number: u32) -> Message {
    let account = key(check, "alice");
    let message = Message { id: id(check, number), account, ..changes::message(0, now()) };
    with_content(&message, &format!("{check} {number}"))
}

/// The message with other sealed content.
pub(super) fn with_content(message: &Message, text: &str) -> Message {
    let content = Some(Sealed { key: KeyId::new("k1"), bytes: text.into() });
    Message { sending: Sending { content, ..message.sending.clone() }, ..message.clone() }
}

/// The message with another due time.
pub(super) fn due_at(message: &Message, due_at: Timestamp) -> Message {
    Message { sending: Sending { due_at, ..message.sending.clone() }, ..message.clone() }
}

/// The outbox, which must exist.
pub(super) fn outbox(store: &dyn AccountStore) -> Result<&dyn Outbox, Violation> {
    store.outbox().ok_or_else(|| Violation::new("the store has no outbox"))
}

/// Puts messages in one commit to the account of the first.
pub(super) async fn put(store: &dyn AccountStore, messages: &[Message]) -> Result<(), Violation> {
    let all = messages.iter().cloned();
    let commit = change(store, &messages[0].account, |draft| all.for_each(|message| draft.message(message)));
    let commit = commit.await?;
    ensure!(commit == Commit::Won, "a commit without competition was answered with {commit:?}");
    Ok(())
}

/// The stored message, which must exist.
pub(super) async fn there(
    store: &dyn AccountStore,
    message: &Message,
) -> Result<Versioned<Message>, Violation> {
    let found = outbox(store)?.message(&message.account.tenant, message.id).await?;
    found.ok_or_else(|| Violation::new(format!("{:?} is not there, although it was put", message.id)))
}

/// Checks that the stored message is this one; returns its version.
pub(super) async fn unchanged(store: &dyn AccountStore, message: &Message) -> Result<Version, Violation> {
    let Versioned { value, version } = there(store, message).await?;
    ensure!(
        value == *message,
        "the stored message is not the expected one\n  stored: {value:?}\nexpected: {message:?}"
    );
    Ok(version)
}

/// Swaps without competition, and compares the stored message. `model` is the stored message from then on.
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
    ensure!(version == expected.next(), "a swap at {expected:?} resulted in {version:?}");
    Ok(version)
}

/// Claims all due messages, at most `limit` at a time; returns those of the tenant in the order of their ids.
/// Other due messages are left over from other checks.
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

/// Like [`claim_all`], in the order of the claims.
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
        ensure!(messages.len() <= limit as usize, "a claim of at most {limit} returned {}", messages.len());
        ensure!(unreadable.is_empty(), "undamaged messages cannot be read: {unreadable:?}");
        if messages.is_empty() {
            return Ok(ours);
        }
        for message in messages {
            let Message { id, account, .. } = &message.value;
            let is_new = given.insert((account.tenant.clone(), *id));
            ensure!(is_new, "{id:?} was claimed again before its claim expired");
            if account.tenant == *tenant {
                ours.push(message);
            }
        }
    }
}

/// Claims all messages due by then. Those of the tenant must be exactly these, each at the version beside it,
/// and they must be claimed afterwards.
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
        "the claim at {now} did not return the due messages\n claimed: {claimed:?}\nexpected: {expected:?}"
    );
    for message in &claimed {
        let read = there(store, &message.value).await?;
        ensure!(
            read == *message,
            "the claimed message is not the stored one\nclaimed: {message:?}\n stored: {read:?}"
        );
    }
    Ok(claimed)
}

fn id(check: &str, number: u32) -> MessageId {
    let hash = Sha256::new().chain_update(check).chain_update(number.to_be_bytes()).finalize();
    let mut random = [0; MessageId::LENGTH];
    random.copy_from_slice(&hash[..MessageId::LENGTH]);
    MessageId::from_entropy(random)
}
