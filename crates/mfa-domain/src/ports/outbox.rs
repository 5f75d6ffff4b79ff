//! The outbox: messages that wait to be sent.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{Commit, StoreError};
use crate::{Message, MessageId, Sending, TenantId, Timestamp, Version, Versioned};

/// The messages that an [`AccountStore`](super::AccountStore) keeps.
///
/// [`commit`](super::AccountStore::commit) puts them there in the same operation as their event: every recorded
/// message exists, and every message that is sent is recorded. A store decides nothing about messages and MUST NOT
/// use its own clock; the rules are those of [`Message`].
///
/// It MAY forget a message that is no longer queued and had expired an hour ([`Message::KEPT`]) before the `now` of a
/// claim. It does so during that claim, a bounded number each time, and SHOULD do so eventually. It MUST NOT forget
/// any other message.
#[async_trait]
pub trait Outbox: Debug + Send + Sync + 'static {
    /// Claims queued messages that are due.
    ///
    /// - MUST return at most `limit` messages of all tenants whose [`due_at`](Sending::due_at) is not after `now`;
    ///   `limit` is at least 1.
    /// - MUST mark each as [`claimed`](Sending::claimed) until `until`, at its next version, in the same atomic
    ///   operation that selects it: of parallel callers, one gets it. The returned state is the one after the claim.
    ///   `until` is later than `now`.
    /// - Within one tenant, MUST return the messages that became due last first: a code that a user waits for must
    ///   not wait behind a backlog of codes that nobody needs any more.
    /// - MUST return something while anything is due, but need not return everything.
    /// - MUST name a message that cannot be read in [`Claimed::unreadable`] instead, and MUST still return the
    ///   others.
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError>;

    /// Claims as [`claim`](Self::claim) does, but MAY skip messages that were not queued through this handle since
    /// the last claim.
    ///
    /// For a caller that was just told of a queued message and has called [`claim`](Self::claim) recently. Implement
    /// it if a search of all due messages is slow. By default it skips nothing.
    async fn claim_recent(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Claimed, StoreError> {
        self.claim(now, until, limit).await
    }

    /// Reads the current state of one message of a tenant.
    async fn message(
        &self,
        tenant: &TenantId,
        id: MessageId,
    ) -> Result<Option<Versioned<Message>>, StoreError>;

    /// Replaces the sending state of a message.
    ///
    /// MUST replace the whole [`Sending`] and nothing else, and set the next version. MUST do so only if the stored
    /// version is `expected`, compared in the same atomic operation that writes. Otherwise, and if the message does
    /// not exist, MUST answer [`Commit::Conflict`] and change nothing. MUST be durable before it answers
    /// [`Commit::Won`]. After an error it is unknown whether the change was made.
    async fn swap(
        &self,
        tenant: &TenantId,
        id: MessageId,
        expected: Version,
        next: &Sending,
    ) -> Result<Commit, StoreError>;
}

/// The result of a claim.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The claimed messages.
    pub messages: Vec<Versioned<Message>>,
    /// The messages that cannot be read.
    pub unreadable: Vec<UnreadableMessage>,
}

/// A message that cannot be read, with the parts that can; without an id, a tenant whose messages cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadableMessage {
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The id of the message.
    pub id: Option<MessageId>,
    /// Its version after the claim.
    pub version: Option<Version>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// What is wrong with it. Contains no stored value.
    pub what: String,
}
