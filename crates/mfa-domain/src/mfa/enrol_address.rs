//! Enrolling an address as a factor.

use super::{BegunChallenge, Call, EnrolError, Mfa, Undecided};
use crate::account::{AddressDevice, Authenticator, Context, Factor, FactorKind, FactorState, Session};
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
    /// The user's name for the factor.
    pub label: Label,
    /// The address that codes are sent to. No later call can change it.
    pub address: Address,
    /// An active factor that is removed when this one is confirmed.
    pub replaces: Option<FactorId>,
}

/// A pending address, and the challenge of its first code.
#[derive(Debug)]
pub struct AddressEnrolment {
    /// The pending factor.
    pub factor: Factor,
    /// The challenge that the first code answers.
    pub begun: BegunChallenge,
    /// Whether the user has no other kind of active factor. Access to the mailbox would then be enough for the second
    /// step.
    pub is_only: bool,
}

impl NewAddress {
    /// An e-mail address.
    #[must_use]
    pub const fn email(label: Label, address: Address) -> Self {
        Self { label, address, replaces: None }
    }
}

impl Mfa {
    /// Returns the throttle key of the new address, or why it cannot be enrolled.
    ///
    /// Call this before each enrolment and charge the key in addition to that of the user. An enrolment that is
    /// refused is then not charged.
    ///
    /// # Errors
    /// As [`enrol_address`](Self::enrol_address).
    pub async fn enrol_recipient(
        &self,
        key: &AccountKey,
        actor: &Actor,
        session: Session<'_>,
        new: &NewAddress,
    ) -> Result<ThrottleKey, EnrolError> {
        let (factor, _) = self.without_its_address(new)?;
        let account =
            self.ports.accounts.load_without_backup_codes(key).await.map_err(Undecided::from)?.value;
        let now = self.ports.clock.now();
        let context = Context { key, actor, now, policies: &self.policies, session };
        account.admit_enrolment(context, &factor)?;
        Ok(ThrottleKey::recipient(&key.tenant, &new.address))
    }

    /// Offers an address as a factor, and queues a code for it.
    ///
    /// The factor protects nothing until [`Mfa::confirm`] gets that code from the same caller.
    /// [`Mfa::resend_challenge`] sends another code while the challenge is open; after that, offer the address again.
    ///
    /// Each call costs a message to an address of the caller's choice: charge a [`Throttle`](crate::ports::Throttle)
    /// first, with the key of [`enrol_recipient`](Self::enrol_recipient).
    ///
    /// # Errors
    /// [`EnrolError`] if the address cannot receive messages, if the account or a policy refuses the factor, or if a
    /// port failed.
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
            // A refusal comes before anything is stored.
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

    /// Makes the pending factor without its sealed address, and the id of the challenge of its first code. Stores
    /// nothing.
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
