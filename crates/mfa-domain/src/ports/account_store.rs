//! Where accounts and their audit events are kept.

use std::error::Error as StdError;
use std::fmt;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error;

use super::Outbox;
use crate::audit::{AuditEvent, AuditHead};
use crate::identity::Escaped;
use crate::sealed::KeyId;
use crate::{Account, AccountKey, Delta, Handle, TenantId, Timestamp, UserId, Version, Versioned};

/// Keeps accounts and their audit events: it compares and swaps, and decides nothing.
///
/// All promises about single use, lost attempts and the audit trail rest on `commit`; a store that
/// passes the suites of `mfa-testkit` keeps them.
#[async_trait]
pub trait AccountStore: Debug + Send + Sync + 'static {
    /// Reads one account.
    ///
    /// An account never seen MUST be the empty account at version zero. What is read MUST be one
    /// consistent state, no older than any commit that was answered before the call. An account that cannot be
    /// read MUST be [`StoreError::unreadable`].
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError>;

    /// Reads one account for a decision that looks at no backup codes, as most logins are.
    ///
    /// MUST be as [`load`](Self::load), but [`Account::backup_codes`] MAY be `None` though there are
    /// some. Worth writing for a store that has them in a place of their own, which then is not read.
    async fn load_without_backup_codes(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.load(key).await
    }

    /// Changes one account.
    ///
    /// MUST apply the whole delta, append its events and set the version to `expected.next()`, or
    /// change nothing; and only while the stored version is `expected`, compared in the same atomic
    /// operation that writes. MUST be durable before it answers [`Commit::Won`]. After an error it
    /// is unknown whether the change was made. MUST never give a version again for the same key,
    /// not even after the account was erased.
    ///
    /// MUST claim and release the handles of the delta in the same operation, in their order, and MUST keep them unique
    /// within a tenant: if one that is claimed leads to another account, MUST change nothing and answer
    /// [`Commit::HandleTaken`]. Whatever is claimed leads here from then on, even if it did before; what leads to
    /// another account MUST NOT be released.
    ///
    /// MUST put each message of the delta into its [`outbox`](Self::outbox) in the same operation: in the place of the one
    /// of the same id if there is one, at a version that this one never had, and at version 1 otherwise. Without an
    /// outbox, MUST fail and change nothing.
    ///
    /// Of factors and of the account, MUST keep [`Data`](crate::Data) as the JSON value that it is, without reading it.
    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError>;

    /// Pages through accounts in key order, for re-encryption, checkpoints and export. MUST give
    /// every account that was there all the while exactly once, each as it was at one moment no
    /// earlier than any commit that was answered before the call. SHOULD look at a bounded number of
    /// accounts, so that a page of a query that leaves accounts out may hold few of them, or none, and
    /// still not be the last. An account that cannot be read MUST be named in
    /// [`AccountPage::unreadable`], and MUST NOT keep the others out.
    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError>;

    /// Pages through audit events in the order of their positions.
    ///
    /// Positions MUST grow in the order of commits within one account, and an event MUST NOT appear
    /// behind a position that a page has already passed. An event that cannot be read MUST be named in
    /// [`EventPage::unreadable`], and MUST NOT keep the others out.
    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError>;

    /// Removes the beginning of one account's trail, up to and with the event `to`.
    ///
    /// MUST remove every event up to that one and set the account's audit base to it, or change
    /// nothing; and only while the stored base is `from` and the account has a later event, compared
    /// in the same atomic operation that removes. MUST leave the version alone, so that what was
    /// decided before can still be committed. Positions MUST NOT be given again.
    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError>;

    /// The account of a tenant that a handle leads to; `None` if it leads nowhere. MUST tell of every commit that was
    /// answered before the call.
    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError>;

    /// The messages that it keeps; `None` if it keeps none, and then no factor can be used whose codes are sent.
    fn outbox(&self) -> Option<&dyn Outbox> {
        None
    }

    /// The keys that some sealed secret needs, in any order, without reading every account.
    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError>;
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a change that did not win was not made"]
#[non_exhaustive]
pub enum Commit {
    /// It was made, whole and durable.
    Won,
    /// Somebody else changed the account since it was read; nothing was changed.
    Conflict,
    /// A handle that was claimed leads to another account of the tenant; nothing was changed.
    HandleTaken,
}

/// Which accounts to page through.
#[derive(Clone, Debug)]
pub struct AccountQuery {
    /// Only those after this place, whether or not an account is there.
    pub after: Option<AccountPlace>,
    /// Only those that have a secret sealed with another key than this.
    pub not_sealed_with: Option<KeyId>,
    /// Only those whose second event happened before this, of the events that are still there: what
    /// [`AuditHead::shortened`] asks for, so that something of the trail can be removed.
    pub second_event_before: Option<Timestamp>,
    /// At most so many; at least 1.
    pub limit: u32,
}

/// One page of accounts.
#[derive(Clone, Debug, Default)]
pub struct AccountPage {
    /// In key order.
    pub accounts: Vec<AccountEntry>,
    /// Those between them that cannot be read, in key order.
    pub unreadable: Vec<UnreadableAccount>,
    /// The `after` of the next page: the last account that was looked at. `None` if there is no next page.
    pub next: Option<AccountPlace>,
}

/// The place of an account in key order: its tenant and user as a store has them, whether or not they
/// are valid ids. It prints as `user alice of tenant acme`, escaped as [`UserId::escaped`] does it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountPlace {
    /// The tenant.
    pub tenant: Vec<u8>,
    /// The user.
    pub user: Vec<u8>,
}

/// An account whose row was changed past this program: its ids or the ends of its trail cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableAccount {
    /// Where it is.
    pub place: AccountPlace,
    /// What is wrong with it. Holds no stored value.
    pub what: String,
}

/// What a page tells of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEntry {
    /// Whose it is.
    pub key: AccountKey,
    /// Where its audit chain ends.
    pub audit_head: AuditHead,
    /// After which event it begins.
    pub audit_base: AuditHead,
}

/// Which events to page through.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// Of which tenant.
    pub tenant: TenantId,
    /// Of which user; of all if none.
    pub user: Option<UserId>,
    /// Only those after this one.
    pub after: Option<EventPosition>,
    /// At most so many; at least 1.
    pub limit: u32,
}

/// One page of events.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// In the order of their positions.
    pub events: Vec<RecordedEvent>,
    /// Those between them that cannot be read, in the order of their positions.
    pub unreadable: Vec<UnreadableEvent>,
    /// Whether there may be more after the last one.
    pub more: bool,
}

/// An event whose row was changed past this program, so that it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableEvent {
    /// Where it is in this store.
    pub position: EventPosition,
    /// Whose account, as far as the row tells.
    pub place: AccountPlace,
    /// What is wrong with it. Holds no stored value.
    pub what: String,
}

impl EventPage {
    /// The last event of the page, readable or not: the `after` of the next page.
    #[must_use]
    pub fn last(&self) -> Option<EventPosition> {
        let events = self.events.last().map(|event| event.position);
        events.max(self.unreadable.last().map(|event| event.position))
    }
}

impl AccountPlace {
    /// The place after every account of a tenant.
    #[must_use]
    pub fn after_tenant(tenant: &TenantId) -> Self {
        // No text has a larger first character.
        Self { tenant: tenant.as_str().into(), user: "\u{10ffff}".into() }
    }
}

impl From<&AccountKey> for AccountPlace {
    fn from(key: &AccountKey) -> Self {
        Self { tenant: key.tenant.as_str().into(), user: key.user.as_str().into() }
    }
}

impl fmt::Display for AccountPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [user, tenant] = [&self.user, &self.tenant].map(|id| String::from_utf8_lossy(id));
        write!(f, "user {} of tenant {}", Escaped::of(&user), Escaped::of(&tenant))
    }
}

/// An event as it stands in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Where it is in this store.
    pub position: EventPosition,
    /// Whose account.
    pub user: UserId,
    /// What happened.
    pub event: AuditEvent,
}

/// The place of an event in the trail of a store.
///
/// It grows with every event of any tenant, so it is for the program and its operators. A tenant gets an
/// [`EventId`](crate::EventId) instead, or each would see how much the others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventPosition(pub u64);

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The store could not do it, or it is not known whether it did.
#[derive(Debug, Error)]
#[error("a store failed")]
pub struct StoreError {
    source: Box<dyn StdError + Send + Sync>,
    unreadable: bool,
}

impl StoreError {
    /// Wraps an adapter's own error.
    pub fn new(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: source.into(), unreadable: false }
    }

    /// Wraps an adapter's own error about a row that was changed past this program.
    pub fn unreadable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: source.into(), unreadable: true }
    }

    /// Whether what is stored is nothing that the store ever wrote, so that trying again does not help.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        self.unreadable
    }
}
