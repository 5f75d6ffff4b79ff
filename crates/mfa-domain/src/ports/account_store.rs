//! The store of accounts and their audit events.

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

/// Stores accounts and their audit events. It compares and swaps; it decides nothing.
///
/// Single use of codes, the limit on attempts, and the audit trail all depend on [`commit`](Self::commit). A store
/// that passes the suites of `mfa-testkit` meets this contract.
#[async_trait]
pub trait AccountStore: Debug + Send + Sync + 'static {
    /// Reads one account.
    ///
    /// MUST return the empty account at version zero if the account was never written. MUST return one consistent
    /// state, no older than any commit that was answered before the call. MUST fail with [`StoreError::unreadable`]
    /// if the stored account cannot be read.
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError>;

    /// Reads one account for a decision that needs no backup codes, as most logins are.
    ///
    /// MUST behave as [`load`](Self::load), but [`Account::backup_codes`] MAY be `None` although the account has
    /// some. Implement it if the store keeps backup codes apart and can skip them.
    async fn load_without_backup_codes(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.load(key).await
    }

    /// Changes one account.
    ///
    /// - MUST apply the whole delta, append its events and set the version to `expected.next()`, or change nothing.
    /// - MUST change something only if the stored version is `expected`, compared in the same atomic operation that
    ///   writes.
    /// - MUST be durable before it answers [`Commit::Won`]. After an error it is unknown whether the change was made.
    /// - MUST never reuse a version for the same key, not even after the account was erased.
    /// - MUST claim and release the handles of the delta in the same operation, in their order, and MUST keep them
    ///   unique within a tenant. If a claimed handle belongs to another account, MUST change nothing and answer
    ///   [`Commit::HandleTaken`]. A claimed handle leads to this account from then on; claiming it again is no error.
    ///   A handle of another account MUST NOT be released.
    /// - MUST put each message of the delta into its [`outbox`](Self::outbox) in the same operation. It replaces the
    ///   message with the same id if there is one, at a version that this message never had; a new message is at
    ///   version 1. Without an outbox, MUST fail and change nothing.
    /// - MUST keep [`Data`](crate::Data) of factors and of the account as the same JSON value, without interpreting
    ///   it.
    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError>;

    /// Returns one page of accounts in key order, for re-encryption, checkpoints and export.
    ///
    /// - MUST return every account that exists during the whole iteration exactly once, each in one state that is no
    ///   older than any commit that was answered before the call.
    /// - SHOULD examine a bounded number of accounts. A page of a filtered query may therefore hold few accounts, or
    ///   none, and not be the last.
    /// - MUST name an account that cannot be read in [`AccountPage::unreadable`], and MUST still return the others.
    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError>;

    /// Returns one page of audit events in the order of their positions.
    ///
    /// Positions MUST grow in the order of commits within one account. An event MUST NOT appear later at or before a
    /// position that a page has already passed. MUST name an event that cannot be read in [`EventPage::unreadable`],
    /// and MUST still return the others.
    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError>;

    /// Removes the beginning of one account's trail, up to and including the event `to`.
    ///
    /// MUST remove every event up to `to` and set the account's audit base to it, or change nothing. MUST change
    /// something only if the stored base is `from` and the account has a later event, compared in the same atomic
    /// operation that removes. MUST NOT change the version, so that pending decisions can still be committed. MUST
    /// NOT reuse positions.
    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError>;

    /// Returns the account of a tenant that a handle belongs to; `None` if there is none. MUST reflect every commit
    /// that was answered before the call.
    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError>;

    /// The outbox of this store; `None` if it has none. Factors whose codes are sent cannot be used then.
    fn outbox(&self) -> Option<&dyn Outbox> {
        None
    }

    /// Returns the ids of all keys that a sealed secret needs, in any order. MUST NOT read every account.
    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError>;
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "only Commit::Won means that the change was made"]
#[non_exhaustive]
pub enum Commit {
    /// The whole change was made and is durable.
    Won,
    /// The account has changed since it was read; nothing was changed.
    Conflict,
    /// A claimed handle belongs to another account of the tenant; nothing was changed.
    HandleTaken,
}

/// Which accounts a page holds.
#[derive(Clone, Debug)]
pub struct AccountQuery {
    /// Only accounts after this place, whether or not it holds an account.
    pub after: Option<AccountPlace>,
    /// Only accounts with a secret that is sealed with another key than this one.
    pub not_sealed_with: Option<KeyId>,
    /// Only accounts whose second remaining event happened before this time. Retention needs this: the trail of any
    /// other account cannot be shortened (see [`AuditHead::shortened`]).
    pub second_event_before: Option<Timestamp>,
    /// The most accounts to return; at least 1.
    pub limit: u32,
}

/// One page of accounts.
#[derive(Clone, Debug, Default)]
pub struct AccountPage {
    /// The accounts, in key order.
    pub accounts: Vec<AccountEntry>,
    /// The accounts in this range that cannot be read, in key order.
    pub unreadable: Vec<UnreadableAccount>,
    /// The `after` of the next page: the last account that was examined. `None` if this is the last page.
    pub next: Option<AccountPlace>,
}

/// The place of an account in key order: tenant and user as stored, valid ids or not.
///
/// Displayed as `user alice of tenant acme`, escaped as by [`UserId::escaped`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountPlace {
    /// The tenant.
    pub tenant: Vec<u8>,
    /// The user.
    pub user: Vec<u8>,
}

/// An account whose ids or ends of the trail cannot be read, because another program changed its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableAccount {
    /// The place of the account.
    pub place: AccountPlace,
    /// What is wrong with it. Contains no stored value.
    pub what: String,
}

/// One account on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEntry {
    /// The key of the account.
    pub key: AccountKey,
    /// The last event of its audit chain.
    pub audit_head: AuditHead,
    /// The last event that retention removed; default if none.
    pub audit_base: AuditHead,
}

/// Which events a page holds.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// The tenant.
    pub tenant: TenantId,
    /// The user; all users if `None`.
    pub user: Option<UserId>,
    /// Only events after this position.
    pub after: Option<EventPosition>,
    /// The most events to return; at least 1.
    pub limit: u32,
}

/// One page of events.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// The events, in the order of their positions.
    pub events: Vec<RecordedEvent>,
    /// The events in this range that cannot be read, in the order of their positions.
    pub unreadable: Vec<UnreadableEvent>,
    /// Whether there may be more events after this page.
    pub more: bool,
}

/// An event that cannot be read, because another program changed its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableEvent {
    /// Its position in this store.
    pub position: EventPosition,
    /// Its account, as far as the row can be read.
    pub place: AccountPlace,
    /// What is wrong with it. Contains no stored value.
    pub what: String,
}

impl EventPage {
    /// The position of the last event of the page, readable or not: the `after` of the next page.
    #[must_use]
    pub fn last(&self) -> Option<EventPosition> {
        let events = self.events.last().map(|event| event.position);
        events.max(self.unreadable.last().map(|event| event.position))
    }
}

impl AccountPlace {
    /// The place after all accounts of a tenant.
    #[must_use]
    pub fn after_tenant(tenant: &TenantId) -> Self {
        // The largest character that a text can begin with.
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

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its position in this store.
    pub position: EventPosition,
    /// The user of the account.
    pub user: UserId,
    /// The event.
    pub event: AuditEvent,
}

/// The position of an event in the trail of a store.
///
/// It grows with every event of any tenant, so it is for the program and its operators. Tenants get an
/// [`EventId`](crate::EventId) instead; from positions each could tell how active the others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventPosition(pub u64);

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A store failed. It may be unknown whether the operation took effect.
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

    /// Wraps an adapter's error about a row that another program changed.
    pub fn unreadable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: source.into(), unreadable: true }
    }

    /// Whether the stored value is one that the store never writes. Retrying does not help then.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        self.unreadable
    }
}
