//! Where a code is sent.

use std::fmt;

use super::{Mfa, Undecided};
use crate::account::{Account, CodeRejection, Context, Factor, FactorKind, Verdict};
use crate::ports::{StoreError, ThrottleKey};
use crate::sealed::SealContext;
use crate::{AccountKey, Actor, Address, FactorId, Purpose, Versioned};

/// Which factor a code is sent to.
///
/// [`Mfa::begin_challenge`] takes a [`FactorId`] or a [`FactorKind`] as well; a [`Recipient`] spares it reading the account
/// again.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendTo {
    /// That factor.
    Factor(FactorId),
    /// The first active factor of that kind.
    Kind(FactorKind),
    /// What [`Mfa::recipient`] found.
    Found(Box<Recipient>),
}

/// Who would get a code: one address of one user.
pub struct Recipient {
    pub(super) account: AccountKey,
    pub(super) factor: FactorId,
    pub(super) address: Address,
    /// The account when it was read.
    pub(super) read: Versioned<Account>,
}

impl Recipient {
    /// What a code is charged to besides its user: the address.
    #[must_use]
    pub fn throttle_key(&self) -> ThrottleKey {
        ThrottleKey::recipient(&self.account.tenant, &self.address)
    }
}

impl Mfa {
    /// Who would get a code. Ask before each one and charge it to [`Recipient::throttle_key`], so that a code that is not
    /// sent is not charged; then begin the challenge with the answer.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn recipient(
        &self,
        key: &AccountKey,
        actor: &Actor,
        to: impl Into<SendTo>,
        purpose: Purpose,
    ) -> Result<Verdict<Recipient>, Undecided> {
        let to = match to.into() {
            SendTo::Found(found) => return Ok(Verdict::Accepted(*found)),
            to => to,
        };
        let read = self.ports.accounts.load_without_backup_codes(key).await?;
        let context = Context { key, actor, now: self.ports.clock.now(), policies: &self.policies };
        let factor =
            to.factor_of(&read.value).and_then(|id| read.value.admit_challenge(context, id, purpose));
        let factor = match factor {
            Ok(factor) => factor,
            Err(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let (id, address) = (factor.id, self.address_of(key, factor).await?);
        Ok(Verdict::Accepted(Recipient { account: key.clone(), factor: id, address, read }))
    }

    /// The address that a factor's codes are sent to.
    pub(super) async fn address_of(
        &self,
        account: &AccountKey,
        factor: &Factor,
    ) -> Result<Address, Undecided> {
        let sealed = factor.sealed.as_ref();
        let sealed = sealed.ok_or_else(|| StoreError::unreadable("the factor has no address"))?;
        let context = SealContext::Factor { account, factor: factor.id, kind: &factor.kind() };
        let bytes = self.ports.vault.open(sealed, &context).await?;
        let text = std::str::from_utf8(&bytes).map_err(StoreError::unreadable)?;
        Ok(Address::new(text).map_err(StoreError::unreadable)?)
    }
}

impl SendTo {
    /// The factor of that account that is meant.
    pub(super) fn factor_of(&self, account: &Account) -> Result<FactorId, CodeRejection> {
        match self {
            Self::Factor(id) => Ok(*id),
            Self::Found(found) => Ok(found.factor),
            Self::Kind(kind) => {
                let missing = if account.is_enrolled() {
                    CodeRejection::UnknownFactor
                } else {
                    CodeRejection::NotEnrolled
                };
                let found = account.active_factors().find(|factor| factor.kind() == *kind);
                found.map(|factor| factor.id).ok_or(missing)
            }
        }
    }
}

impl From<FactorId> for SendTo {
    fn from(id: FactorId) -> Self {
        Self::Factor(id)
    }
}

impl From<FactorKind> for SendTo {
    fn from(kind: FactorKind) -> Self {
        Self::Kind(kind)
    }
}

impl From<Recipient> for SendTo {
    fn from(recipient: Recipient) -> Self {
        Self::Found(Box::new(recipient))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient").field("factor", &self.factor).finish_non_exhaustive()
    }
}
