//! The guard against a change of the relying party that would strand passkeys.
//!
//! A passkey works only with the relying party that it was created for. The first passkey that is offered or imported
//! stores the configured relying party in the account of the installation. A program that starts with another one
//! counts the passkeys that would no longer work before it changes that; while the two differ, no passkey can be
//! enrolled.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt, stream};

use super::{Mfa, Undecided};
use crate::ports::{AccountQuery, StoreError, WebauthnError};
use crate::{AccountKey, Actor, TenantId, UserId};

/// The user of [`TenantId::installation`] whose account names the relying party in use.
const USER: &str = "relying-party";

/// Accounts of one page of a count.
const PAGE: u32 = 500;

/// Accounts that are read in parallel.
const AT_ONCE: usize = 16;

/// The passkeys that no longer work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stranded {
    /// The active passkeys.
    pub passkeys: u64,
    /// The users who have them.
    pub users: u64,
    /// The accounts that cannot be read, and may have more.
    pub unreadable: u64,
}

impl Stranded {
    /// Whether there are certainly none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.passkeys == 0 && self.unreadable == 0
    }
}

impl Mfa {
    /// The configured relying party of the installation, that of [`TenantId::installation`]; `None` if there is none.
    ///
    /// Only tenants with the same relying party are guarded. A host with one for each tenant must prevent changes
    /// itself.
    #[must_use]
    pub fn relying_party(&self) -> Option<&str> {
        Some(self.ports.webauthn.rp_id(&TenantId::installation())).filter(|rp_id| !rp_id.is_empty())
    }

    /// The relying party that passkeys are for; `None` until the first one is offered or imported.
    ///
    /// Call it before the first request. If it is another than [`Mfa::relying_party`], no passkey can be enrolled
    /// until [`Mfa::adopt_relying_party`].
    ///
    /// # Errors
    /// [`Undecided`] if the store failed.
    pub async fn relying_party_in_use(&self) -> Result<Option<String>, Undecided> {
        let account = self.ports.accounts.load_without_backup_codes(&place()?).await?.value;
        Ok(account.rp_id().map_err(StoreError::unreadable)?)
    }

    /// Changes the relying party that passkeys are for, from `expected` to `rp_id`; `None` stands for none. The audit
    /// trail records the change with the number of passkeys that it strands, if they were counted.
    ///
    /// Returns the relying party in use afterwards. If that is not `rp_id`, it was not `expected` either, and nothing
    /// was changed.
    ///
    /// No other program may use the store meanwhile, whatever the number: one that has enrolled a passkey does not read
    /// the relying party in use again, and would enrol further ones for the former one.
    ///
    /// # Errors
    /// [`Undecided`] if the store failed.
    pub async fn adopt_relying_party(
        &self,
        actor: &Actor,
        rp_id: Option<&str>,
        expected: Option<&str>,
        stranded: Option<u64>,
    ) -> Result<Option<String>, Undecided> {
        self.change(&place()?, actor.into(), |account, context| {
            let adopted = account.adopt_relying_party(context, rp_id, expected, stranded);
            adopted.map_err(|error| StoreError::unreadable(error).into())
        })
        .await
    }

    /// Counts the active passkeys for `rp_id` that the configured relying party cannot use. Reads every account;
    /// `progress` gets the number of accounts so far, after each page.
    ///
    /// # Errors
    /// [`Undecided`] if the store failed. An account that cannot be read is counted instead.
    pub async fn stranded_passkeys(
        &self,
        rp_id: &str,
        mut progress: impl FnMut(u64),
    ) -> Result<Stranded, Undecided> {
        let mut query =
            AccountQuery { after: None, not_sealed_with: None, second_event_before: None, limit: PAGE };
        let (mut stranded, mut accounts) = (Stranded::default(), 0);
        loop {
            let page = self.ports.accounts.page(&query).await?;
            accounts += (page.accounts.len() + page.unreadable.len()) as u64;
            stranded.unreadable += page.unreadable.len() as u64;
            let counts = stream::iter(page.accounts)
                .map(|entry| async move { self.stranded_passkeys_of(&entry.key, rp_id).await })
                .buffer_unordered(AT_ONCE);
            for count in counts.collect::<Vec<_>>().await {
                match count? {
                    Some(0) => {}
                    Some(passkeys) => {
                        stranded.passkeys += passkeys;
                        stranded.users += 1;
                    }
                    None => stranded.unreadable += 1,
                }
            }
            progress(accounts);
            if page.next.is_none() {
                return Ok(stranded);
            }
            query.after = page.next;
        }
    }

    /// As [`Mfa::stranded_passkeys`], of one account; `None` if it cannot be read.
    async fn stranded_passkeys_of(&self, key: &AccountKey, rp_id: &str) -> Result<Option<u64>, Undecided> {
        if self.ports.webauthn.rp_id(&key.tenant) == rp_id {
            return Ok(Some(0));
        }
        match self.ports.accounts.load_without_backup_codes(key).await {
            Ok(read) => Ok(read.value.passkeys_for(rp_id)),
            Err(error) if error.is_unreadable() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Fails if passkeys are for another relying party than the configured one. The first call makes that the one in
    /// use, and once it is, no call reads the store again.
    pub(super) async fn ensure_relying_party(
        &self,
        actor: &Actor,
        tenant: &TenantId,
    ) -> Result<(), Undecided> {
        if self.relying_party_is_in_use.load(Ordering::Relaxed) {
            return Ok(());
        }
        let of_tenant = self.ports.webauthn.rp_id(tenant);
        let Some(configured) = self.relying_party().filter(|rp_id| *rp_id == of_tenant) else {
            return Ok(());
        };
        match self.adopt_relying_party(actor, Some(configured), None, Some(0)).await? {
            Some(in_use) if in_use == configured => {
                self.relying_party_is_in_use.store(true, Ordering::Relaxed);
                Ok(())
            }
            in_use => {
                let in_use = in_use.unwrap_or_default();
                let what =
                    format!("passkeys are for {in_use}, and the configured relying party is {configured}");
                Err(WebauthnError::new(what).into())
            }
        }
    }
}

/// The account of the installation.
fn place() -> Result<AccountKey, Undecided> {
    let user = UserId::new(USER).map_err(StoreError::new)?;
    Ok(AccountKey::new(TenantId::installation(), user))
}
