//! Decisions about proofs: what authorises a change of the factors.

use std::time::Duration;

use super::{Account, Assurance, Context, Draft, Factor, PolicyDenial, Verification};
use crate::audit::EventKind;
use crate::policy::{GuardedChange, Proof};
use crate::signing::Nonce;
use crate::{AccountKey, FactorId, Reason, Timestamp};

/// How far the clocks of replicas may differ: one checks a code, another one the proof.
const SKEW: Duration = Duration::from_secs(15);

/// What a call brings of the host's session that it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session<'a> {
    /// What authorises a change, where the policy guards it.
    pub proof: Option<&'a GivenProof>,
    /// The session that a new challenge is bound to. The assertion about its answer carries it.
    pub nonce: Option<&'a Nonce>,
}

/// What a call brings to authorise a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenProof {
    /// A verification in the session that asks for the change.
    Session(SessionProof),
    /// An operator's word. The audit trail keeps the reason. From anybody else it counts for nothing.
    Operator(Reason),
}

/// A verification in one session of a host. The host keeps it with the session, or gets it from an assertion that is
/// bound to the session.
///
/// It counts while the factor that it was made with is active, or the set of backup codes is the same, and not after a
/// reset.
///
/// ```
/// # use mfa_domain::{AccountKey, Verified};
/// use mfa_domain::account::{GivenProof, SessionProof};
///
/// fn keep_in_session(account: &AccountKey, verified: &Verified) -> GivenProof {
///     GivenProof::Session(SessionProof::new(account.clone(), &verified.verification))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionProof {
    /// Who was verified. A proof for another account counts for nothing.
    pub account: AccountKey,
    /// When.
    pub at: Timestamp,
    /// With which assurance.
    pub assurance: Assurance,
    /// With which factor; `None` for a backup code.
    pub factor: Option<FactorId>,
}

impl SessionProof {
    /// The proof that a verification of this account gives.
    #[must_use]
    pub const fn new(account: AccountKey, verification: &Verification) -> Self {
        let Verification { at, assurance, factor, .. } = verification;
        Self { account, at: *at, assurance: *assurance, factor: *factor }
    }
}

impl Account {
    /// Checks that `change` is authorised. An account without an active factor needs no proof, since its owner cannot
    /// prove anything.
    ///
    /// # Errors
    /// [`PolicyDenial::ProofRequired`].
    pub(super) fn check_proof(
        &self,
        context: Context<'_>,
        change: GuardedChange,
    ) -> Result<(), PolicyDenial> {
        match self.missing_proof(context, change) {
            Some(at_least) if override_of(context).is_none() => Err(PolicyDenial::ProofRequired { at_least }),
            _ => Ok(()),
        }
    }

    /// Records in the trail if only the word of an operator authorises `change`.
    pub(super) fn record_override(&self, draft: &mut Draft<'_>, change: GuardedChange) {
        let context = draft.context;
        if let Some(reason) = override_of(context)
            && self.missing_proof(context, change).is_some()
        {
            let detail = [("change", change.as_str().to_owned()), ("reason", reason.to_string())];
            draft.record(EventKind::ProofOverridden, None, detail);
        }
    }

    /// The assurance of the verification that `change` lacks; `None` if it lacks none.
    fn missing_proof(&self, context: Context<'_>, change: GuardedChange) -> Option<Assurance> {
        if !self.is_enrolled() {
            return None;
        }
        let (at_least, proved) = match context.policies.enrolment.proof(change, context.actor) {
            Proof::None => return None,
            Proof::Fresh { age, at_least } => {
                (at_least, self.attempts.verified.within(age, at_least, context.now))
            }
            Proof::OfSession { age, at_least } => (at_least, self.proves(context, age, at_least)),
        };
        (!proved).then_some(at_least)
    }

    /// Whether the given proof is of this account, recent and strong enough, and the account still knows of it.
    fn proves(&self, context: Context<'_>, age: Duration, at_least: Assurance) -> bool {
        let Some(GivenProof::Session(proof)) = context.session.proof else { return false };
        proof.account == *context.key
            && proof.assurance >= at_least
            && proof.at <= context.now.plus(SKEW)
            && context.now.since(proof.at) <= age
            // A reset forgets verifications, so that nothing from before it counts.
            && self.attempts.verified.at(proof.assurance).is_some_and(|at| at.plus(SKEW) >= proof.at)
            && match proof.factor {
                Some(id) => self.factor(id).is_some_and(Factor::is_active),
                None => self.knows_backup_codes_of(self.moment_of(proof)),
            }
    }

    /// When the verification of a proof happened. An assertion has whole seconds; the account has the latest to the
    /// millisecond.
    fn moment_of(&self, proof: &SessionProof) -> Timestamp {
        let latest = self.attempts.verified.at(proof.assurance);
        let same = latest.filter(|latest| latest.unix_seconds() == proof.at.unix_seconds());
        same.unwrap_or(proof.at)
    }

    /// Whether a backup code that was used at this time was of the present set, and of the present enrolment: after a
    /// reset, every factor is younger.
    fn knows_backup_codes_of(&self, at: Timestamp) -> bool {
        self.active_factors().any(|factor| factor.created_at <= at)
            && self.backup_codes.as_ref().is_none_or(|set| set.issued_at <= at)
    }
}

pub(super) fn override_of(context: Context<'_>) -> Option<&Reason> {
    match context.session.proof {
        Some(GivenProof::Operator(reason)) if context.actor.is_admin() => Some(reason),
        _ => None,
    }
}
