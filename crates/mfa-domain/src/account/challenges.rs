//! Decisions about challenges: whether one may begin, and the effect of its answer.

use super::{
    Account, AddressDevice, Authenticator, Claim, CodeRejection, Context, Decision, Draft, Evidence, Factor,
    Finding, Verdict, Verification, Verified,
};
use crate::audit::EventKind;
use crate::{Delta, FactorId, FactorKind, Message, Purpose, Sending, Timestamp};

impl Account {
    /// Returns the factor that answers a challenge for `purpose`. Called before a challenge is made, and before an
    /// answer is evaluated.
    ///
    /// # Errors
    /// The [`CodeRejection`] of a code that is not evaluated. Nothing changes.
    pub(crate) fn admit_challenge(
        &self,
        context: Context<'_>,
        id: FactorId,
        purpose: Purpose,
    ) -> Result<&Factor, CodeRejection> {
        if purpose != Purpose::Enrol && !self.is_enrolled() {
            return Err(CodeRejection::NotEnrolled);
        }
        let factor = self.known(context, id).map_err(|_| CodeRejection::UnknownFactor)?;
        let kind = factor.challenge_kind().ok_or(CodeRejection::UnknownFactor)?;
        match (purpose, factor.is_active()) {
            (Purpose::Enrol, true) => return Err(CodeRejection::AlreadyActive),
            (Purpose::Enrol, false) | (_, true) => {}
            (_, false) => return Err(CodeRejection::UnknownFactor),
        }
        self.check_standing(context, &Claim::Response(&kind))?;
        Ok(factor)
    }

    /// Queues a code, and records it.
    #[must_use]
    pub(crate) fn send_code(
        &self,
        context: Context<'_>,
        factor: &Factor,
        purpose: Purpose,
        message: Message,
    ) -> Option<Delta> {
        let mut draft = self.draft(context);
        draft.code_sent(factor, purpose);
        draft.message(message);
        draft.finish()
    }

    /// Gives up a queued code and records it. The message becomes `failed`.
    #[must_use]
    pub(crate) fn give_up_code(
        &self,
        context: Context<'_>,
        message: &Message,
        failed: &Sending,
        of: Option<(&FactorKind, FactorId, Purpose)>,
    ) -> Option<Delta> {
        let mut draft = self.draft(context);
        let why = ("reason", failed.last_failure.clone().unwrap_or_default());
        if let Some((kind, factor, purpose)) = of {
            let (kind, purpose) = (kind.as_str().to_owned(), purpose.as_str().to_owned());
            let detail = [("factor_kind", kind), ("purpose", purpose), why];
            draft.record(EventKind::CodeNotSent, Some(factor), detail);
        } else {
            draft.record(EventKind::CodeNotSent, None, [why]);
        }
        draft.message(Message { sending: failed.clone(), ..message.clone() });
        draft.finish()
    }

    /// Decides about an answer for a login. A right one ends the row of failures; a wrong one costs an attempt and
    /// may lock the account. An answer that was evaluated just before parallel requests locked the account also costs
    /// one.
    pub(crate) fn answer(&self, context: Context<'_>, id: FactorId, finding: Finding) -> Decision<Verdict> {
        let factor = match self.admit_challenge(context, id, Purpose::Verify) {
            Ok(factor) => factor,
            Err(rejection) => {
                return self.refuse_unadmitted(context, id, rejection, &Evidence::Finding(finding));
            }
        };
        let mut draft = self.draft(context);
        let answered = factor.answered(context.now).filter(|_| finding == Finding::Right);
        let answer = if let Some(answered) = answered {
            let verification = Verification::by_factor(factor, context.now);
            draft.record(EventKind::Verified, Some(id), [("factor_kind", verification.kind.clone())]);
            draft.attempts().succeed(verification.assurance, context.now);
            draft.put(answered);
            Verdict::Accepted(Verified { verification, backup_codes: None })
        } else {
            draft.fail(Some(id), "otp");
            Verdict::Rejected(CodeRejection::Invalid)
        };
        Decision { answer, delta: draft.finish() }
    }

    /// Rejects a code that is not admitted. Nothing changes, except that a wrong code that was evaluated just before
    /// a lock still costs an attempt.
    pub(super) fn refuse_unadmitted<T>(
        &self,
        context: Context<'_>,
        id: FactorId,
        rejection: CodeRejection,
        evidence: &Evidence<'_>,
    ) -> Decision<Verdict<T>> {
        let locked = matches!(rejection, CodeRejection::Locked { .. } | CodeRejection::Disabled);
        let delta = match evidence {
            Evidence::Finding(Finding::Wrong) if locked => {
                let mut draft = self.draft(context);
                draft.fail(Some(id), "otp");
                draft.finish()
            }
            _ => None,
        };
        Decision { answer: Verdict::Rejected(rejection), delta }
    }
}

impl Draft<'_> {
    pub(super) fn code_sent(&mut self, factor: &Factor, purpose: Purpose) {
        let (kind, purpose) = (factor.kind().as_str().to_owned(), purpose.as_str().to_owned());
        self.record(EventKind::CodeSent, Some(factor.id), [("factor_kind", kind), ("purpose", purpose)]);
    }
}

impl Factor {
    /// The factor after its owner answered a challenge; `None` if its kind has no challenges.
    pub(super) fn answered(&self, now: Timestamp) -> Option<Self> {
        let authenticator = match &self.authenticator {
            Authenticator::Email(device) => {
                Authenticator::Email(AddressDevice { first: None, ..device.clone() })
            }
            Authenticator::Totp(_)
            | Authenticator::Hotp(_)
            | Authenticator::Passkey(_)
            | Authenticator::SigningKey(_)
            | Authenticator::Unknown(_) => return None,
        };
        Some(Self { authenticator, last_used_at: Some(now), ..self.clone() })
    }
}
