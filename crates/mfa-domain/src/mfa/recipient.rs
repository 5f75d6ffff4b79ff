//! Where a code is sent.

use std::fmt;

use super::{Mfa, PasskeyStep, Undecided};
use crate::account::{Account, CodeRejection, Context, Factor, FactorKind, Session, Verdict};
use crate::ports::{StoreError, ThrottleKey};
use crate::sealed::SealContext;
use crate::{AccountKey, Actor, Address, FactorId, Purpose, Versioned};

/// Which factor a code is sent to.
///
/// [`Mfa::begin_challenge`] also takes a [`FactorId`] or a [`FactorKind`]. With a [`Recipient`] it need not read the
/// account again.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendTo {
    /// This factor.
    Factor(FactorId),
    /// The first active factor of this kind.
    Kind(FactorKind),
    /// A recipient that [`Mfa::recipient`] returned.
    Found(Box<Recipient>),
}

/// The recipient of a code: one address of one user.
pub struct Recipient {
    pub(super) account: AccountKey,
    pub(super) factor: FactorId,
    purpose: Purpose,
    pub(super) address: Address,
    /// The account at the time of the read.
    pub(super) read: Versioned<Account>,
}

/// What a challenge of a user begins with.
#[derive(Debug)]
#[non_exhaustive]
pub enum FirstStep {
    /// A code is sent: charge [`Recipient::throttle_key`], then call [`Mfa::begin_challenge`].
    Code(Box<Recipient>),
    /// A passkey is asked: call [`Mfa::begin_passkey`].
    Passkey(Box<PasskeyStep>),
}

impl Recipient {
    /// The throttle key of the address. Charge it in addition to that of the user.
    #[must_use]
    pub fn throttle_key(&self) -> ThrottleKey {
        ThrottleKey::recipient(&self.account.tenant, &self.address)
    }
}

impl Mfa {
    /// Returns how a challenge of a user begins, or why none would. With the [`FactorKind`] of passkeys, any passkey
    /// of the user may answer, and a user without one gets the same step.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed.
    pub async fn first_step(
        &self,
        key: &AccountKey,
        actor: &Actor,
        to: impl Into<SendTo>,
    ) -> Result<Verdict<FirstStep>, Undecided> {
        let read = self.ports.accounts.load_without_backup_codes(key).await?;
        let passkey = |factor, read| {
            let step = PasskeyStep { account: key.clone(), factor, read };
            Ok(Verdict::Accepted(FirstStep::Passkey(Box::new(step))))
        };
        let to = match to.into() {
            SendTo::Kind(FactorKind::Passkey) => return passkey(None, read),
            SendTo::Factor(id)
                if read.value.factor(id).is_some_and(|factor| factor.kind() == FactorKind::Passkey) =>
            {
                return passkey(Some(id), read);
            }
            to => to,
        };
        let recipient = self.recipient_in(key, actor, &to, Purpose::Verify, read).await?;
        Ok(recipient.map(|recipient| FirstStep::Code(Box::new(recipient))))
    }

    /// Returns the recipient of a code, or why no code would be sent.
    ///
    /// Call this before each code, charge [`Recipient::throttle_key`], and pass the recipient to
    /// [`begin_challenge`](Self::begin_challenge). A code that is refused is then not charged.
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
            SendTo::Found(found) if found.account == *key && found.purpose == purpose => {
                return Ok(Verdict::Accepted(*found));
            }
            SendTo::Found(_) => return Ok(Verdict::Rejected(CodeRejection::UnknownFactor)),
            to => to,
        };
        let read = self.ports.accounts.load_without_backup_codes(key).await?;
        self.recipient_in(key, actor, &to, purpose, read).await
    }

    async fn recipient_in(
        &self,
        key: &AccountKey,
        actor: &Actor,
        to: &SendTo,
        purpose: Purpose,
        read: Versioned<Account>,
    ) -> Result<Verdict<Recipient>, Undecided> {
        let now = self.ports.clock.now();
        let context = Context { key, actor, now, policies: &self.policies, session: Session::default() };
        let factor =
            to.factor_of(&read.value).and_then(|id| read.value.admit_challenge(context, id, purpose));
        let factor = match factor {
            Ok(factor) if factor.is_sent_codes() => factor,
            Ok(_) => return Ok(Verdict::Rejected(CodeRejection::UnknownFactor)),
            Err(rejection) => return Ok(Verdict::Rejected(rejection)),
        };
        let (id, address) = (factor.id, self.address_of(key, factor).await?);
        Ok(Verdict::Accepted(Recipient { account: key.clone(), factor: id, purpose, address, read }))
    }

    /// Opens the address of a factor.
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
    /// Finds the factor in an account.
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
