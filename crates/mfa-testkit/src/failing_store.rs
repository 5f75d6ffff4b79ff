//! A store that fails on demand.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountPage, AccountQuery, AccountStore, Claimed, Commit, EventPage, EventQuery, Outbox, StoreError,
};
use mfa_domain::{
    Account, AccountKey, AuditHead, Delta, Handle, KeyId, Message, MessageId, Sending, TenantId, Timestamp,
    Version, Versioned,
};

/// A wrapper that forwards to another store, except for the fault that is switched on.
#[derive(Debug)]
pub struct FailingStore {
    inner: Arc<dyn AccountStore>,
    fault: Mutex<Option<Fault>>,
}

/// The ways in which a [`FailingStore`] fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Accounts cannot be read.
    Load,
    /// Accounts cannot be read with their backup codes.
    LoadOfBackupCodes,
    /// Events cannot be read.
    Events,
    /// Commits, and claims and changes of messages, fail without an effect.
    Commit,
    /// Commits, and claims and changes of messages, take effect, but the caller gets an error.
    LostAnswer,
    /// Every commit, and every change of a message, is answered with a conflict.
    Conflict,
    /// Every call fails without an effect.
    Everything,
}

impl FailingStore {
    /// Creates a wrapper without a fault.
    #[must_use]
    pub fn new(inner: Arc<dyn AccountStore>) -> Self {
        Self { inner, fault: Mutex::new(None) }
    }

    /// Switches a fault on, or all faults off.
    pub fn set(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.lock().unwrap() = fault.into();
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().unwrap()
    }

    fn fail_on(&self, faults: &[Fault]) -> Result<(), StoreError> {
        match self.fault() {
            Some(fault) if faults.contains(&fault) => Err(StoreError::new("told to fail")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl AccountStore for FailingStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.fail_on(&[Fault::Load, Fault::LoadOfBackupCodes, Fault::Everything])?;
        self.inner.load(key).await
    }

    async fn load_without_backup_codes(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.fail_on(&[Fault::Load, Fault::Everything])?;
        let mut read = self.inner.load_without_backup_codes(key).await?;
        // No caller may rely on data that a store may omit.
        read.value.backup_codes = None;
        Ok(read)
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        self.fail_on(&[Fault::Commit, Fault::Everything])?;
        if self.fault() == Some(Fault::Conflict) {
            return Ok(Commit::Conflict);
        }
        let commit = self.inner.commit(key, expected, delta).await?;
        self.fail_on(&[Fault::LostAnswer])?;
        Ok(commit)
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        self.fail_on(&[Fault::Load, Fault::Everything])?;
        self.inner.find(tenant, handle).await
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        self.fail_on(&[Fault::Everything])?;
        self.inner.page(query).await
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.fail_on(&[Fault::Events, Fault::Everything])?;
        self.inner.events(query).await
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        self.fail_on(&[Fault::Everything])?;
        self.inner.trim(key, from, to).await
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        self.inner.outbox().map(|_| self as &dyn Outbox)
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        self.fail_on(&[Fault::Everything])?;
        self.inner.keys_in_use().await
    }
}

impl FailingStore {
    fn inner_outbox(&self) -> Result<&dyn Outbox, StoreError> {
        self.inner.outbox().ok_or_else(|| StoreError::new("the store has no outbox"))
    }
}

#[async_trait]
impl Outbox for FailingStore {
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Claimed, StoreError> {
        self.fail_on(&[Fault::Commit, Fault::Everything])?;
        let claimed = self.inner_outbox()?.claim(now, until, limit).await?;
        self.fail_on(&[Fault::LostAnswer])?;
        Ok(claimed)
    }

    async fn message(
        &self,
        tenant: &TenantId,
        id: MessageId,
    ) -> Result<Option<Versioned<Message>>, StoreError> {
        self.fail_on(&[Fault::Everything])?;
        self.inner_outbox()?.message(tenant, id).await
    }

    async fn swap(
        &self,
        tenant: &TenantId,
        id: MessageId,
        expected: Version,
        next: &Sending,
    ) -> Result<Commit, StoreError> {
        self.fail_on(&[Fault::Commit, Fault::Everything])?;
        if self.fault() == Some(Fault::Conflict) {
            return Ok(Commit::Conflict);
        }
        let commit = self.inner_outbox()?.swap(tenant, id, expected, next).await?;
        self.fail_on(&[Fault::LostAnswer])?;
        Ok(commit)
    }
}
