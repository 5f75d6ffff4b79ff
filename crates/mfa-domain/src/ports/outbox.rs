//! Where messages wait to be sent.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{Commit, StoreError};
use crate::{Message, MessageId, Sending, TenantId, Timestamp, Version, Versioned};

/// The messages that an [`AccountStore`](super::AccountStore) keeps.
///
/// They get there by [`commit`](super::AccountStore::commit), in the same operation as the event that tells of them:
/// so none is promised that is not there, and none goes out of which the trail knows nothing. A store decides nothing
/// about them, and goes by no clock of its own; the rules are those of [`Message`].
///
/// It MAY forget a message that is no longer queued and had expired an hour ([`Message::KEPT`]) before the `now` of a
/// claim, during that claim, and SHOULD do so sooner or later, a bounded number in passing. It MUST NOT forget any other.
#[async_trait]
pub trait Outbox: Debug + Send + Sync + 'static {
    /// Claims messages that are queued and due, for whoever sends them.
    ///
    /// Of those of all tenants with [`due_at`](Sending::due_at) up to `now` MUST give at most `limit`, which is at least
    /// 1, and make each of them [`claimed`](Sending::claimed) until `until`, at its next version, in the same atomic
    /// operation that selects it: of any number of callers at the same time, one gets it. It is given as it is from then
    /// on. Of one tenant, MUST give those first that became due last: a code that somebody waits for must not wait
    /// behind a backlog that nobody needs any more.
    ///
    /// `until` is later than `now`. As long as something is due, MUST give something; it need not give all of it.
    ///
    /// A message that cannot be read MUST be named in [`Claimed::unreadable`] in its place, and MUST NOT keep the others out.
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError>;

    /// Claims in the same way, but MAY leave out what was not queued through this handle since it was last asked.
    ///
    /// It is for whoever has just heard that something was queued here, and has claimed by [`claim`](Self::claim) a
    /// moment ago: where a look at all that is due takes long, this one does not. By default it leaves nothing out.
    async fn claim_recent(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Claimed, StoreError> {
        self.claim(now, until, limit).await
    }

    /// Reads one message of a tenant as it is now.
    async fn message(
        &self,
        tenant: &TenantId,
        id: MessageId,
    ) -> Result<Option<Versioned<Message>>, StoreError>;

    /// Changes how far a message is.
    ///
    /// MUST replace the whole [`Sending`] and nothing else, and give it the next version; and only while the stored
    /// version is `expected`, compared in the same atomic operation that writes. MUST otherwise answer
    /// [`Commit::Conflict`] and change nothing, also if it is not there. MUST be durable before it answers
    /// [`Commit::Won`]. After an error it is unknown whether the change was made.
    async fn swap(
        &self,
        tenant: &TenantId,
        id: MessageId,
        expected: Version,
        next: &Sending,
    ) -> Result<Commit, StoreError>;
}

/// What was claimed.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The messages.
    pub messages: Vec<Versioned<Message>>,
    /// Those that cannot be read.
    pub unreadable: Vec<UnreadableMessage>,
}

/// A message that cannot be read, with what can be told of it; or that the messages of a tenant cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadableMessage {
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The message.
    pub id: Option<MessageId>,
    /// Its version, once it is claimed.
    pub version: Option<Version>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// What is wrong. Holds no stored value.
    pub what: String,
}
