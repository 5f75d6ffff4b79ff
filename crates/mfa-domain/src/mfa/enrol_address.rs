//! Enrolling an address that codes are sent to.

use super::{BegunChallenge, Call, EnrolError, Mfa, Undecided};
use crate::account::{AddressDevice, Authenticator, Context, Factor, FactorKind, FactorState};
use crate::ports::{Commit, ThrottleKey};
use crate::sealed::SealContext;
use crate::{AccountKey, Actor, Address, ChallengeId, FactorId, Label, Purpose};

/// An address to enrol as a factor.
///
/// ```
/// use mfa_domain::mfa::NewAddress;
/// use mfa_domain::{Address, Label};
///
/// let work = NewAddress::email(Label::new("Work")?, Address::new("eve@example.com")?);
/// # let _ = work;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct NewAddress {
    /// What the user calls it.
    pub label: Label,
    /// Where codes are sent from now on. No call names an address again.
    pub address: Address,
    /// The active factor that goes as soon as this one is confirmed.
    pub replaces: Option<FactorId>,
}

/// An address that was offered, and the code that is sent to it.
#[derive(Debug)]
pub struct AddressEnrolment {
    /// The factor, which is pending.
    pub factor: Factor,
    /// What its first code answers.
    pub begun: BegunChallenge,
    /// Whether it would be the only kind of factor that the user has: whoever reads their mail could log in.
    pub is_only: bool,
}

impl NewAddress {
    /// An address of e-mail.
    #[must_use]
    pub const fn email(label: Label, address: Address) -> Self {
        Self { label, address, replaces: None }
    }
}

impl Mfa {
    /// What a code for a new address is charged to besides its user: the address. Ask before each enrolment, so that one
    /// that is refused is not charged.
    ///
    /// # Errors
    /// As [`enrol_address`](Self::enrol_address).
    pub async fn enrol_recipient(
        &self,
        key: &AccountKey,
        actor: &Actor,
        new: &NewAddress,
    ) -> Result<ThrottleKey, EnrolError> {
        let (factor, _) = self.without_its_address(new)?;
        let account =
            self.ports.accounts.load_without_backup_codes(key).await.map_err(Undecided::from)?.value;
        let context = Context { key, actor, now: self.ports.clock.now(), policies: &self.policies };
        account.admit_enrolment(context, &factor)?;
        Ok(ThrottleKey::recipient(&key.tenant, &new.address))
    }

    /// Offers an address as a factor, and queues a code for it. It protects nothing until [`Mfa::confirm`] gets that code,
    /// from the same caller; [`Mfa::resend_challenge`] sends another, until the challenge is over: then offer it again.
    ///
    /// Each costs a message to whatever address is named: charge a [`Throttle`](crate::ports::Throttle) first, as
    /// [`enrol_recipient`](Self::enrol_recipient) says.
    ///
    /// # Errors
    /// [`EnrolError`] if nothing can be sent to the address, if the account or a policy refuses the factor, or if a port
    /// failed.
    pub async fn enrol_address(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, AddressEnrolment>>,
        new: NewAddress,
    ) -> Result<AddressEnrolment, EnrolError> {
        let call = call.into();
        let (factor, first) = self.without_its_address(&new)?;
        let address = new.address;
        let context = SealContext::Factor { account: key, factor: factor.id, kind: &FactorKind::Email };
        let sealed = self.ports.vault.seal(address.expose().as_bytes(), &context).await;
        let factor = Factor { sealed: Some(sealed.map_err(Undecided::from)?), ..factor };
        let mut made = None;
        let mut change = self.begin(key, &call).await;
        loop {
            let (account, context) = change.load().await?;
            // Refused before anything is kept.
            let mut delta = account.begin_enrolment(context, factor.clone())?;
            let outgoing = if let Some(outgoing) = &made {
                outgoing
            } else {
                made.insert(self.put_challenge(context, first, &factor, Purpose::Enrol, &address).await?)
            };
            if let Some(delta) = &mut delta {
                delta.queue(outgoing.message.clone());
            }
            let is_only = account.active_factors().all(|active| active.kind() == FactorKind::Email);
            let enrolment =
                AddressEnrolment { factor: factor.clone(), begun: outgoing.begun(context.now), is_only };
            if change.commit_delta(delta, &enrolment, call.keep.as_ref()).await? == Commit::Won {
                return Ok(enrolment);
            }
        }
    }

    /// The factor that an address is offered as, but for the address, and the challenge of its first code; nothing of them
    /// is kept.
    fn without_its_address(&self, new: &NewAddress) -> Result<(Factor, ChallengeId), EnrolError> {
        self.outbox().map_err(Undecided::from)?;
        self.ports.sender.check(&FactorKind::Email, &new.address)?;
        let created_at = self.ports.clock.now();
        let (id, first) = (self.fresh_factor_id(created_at)?, self.fresh_challenge_id()?);
        let expires_at = created_at.plus(self.policies.enrolment.pending_lifetime());
        let factor = Factor {
            id,
            label: new.label.clone(),
            state: FactorState::Pending { expires_at, replaces: new.replaces },
            created_at,
            last_used_at: None,
            sealed: None,
            authenticator: Authenticator::Email(AddressDevice {
                destination: new.address.masked(),
                first: Some(first),
            }),
        };
        Ok((factor, first))
    }
}
