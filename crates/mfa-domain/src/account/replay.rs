//! Replays: codes that were right but are used up. They are not guesses.

use super::{Account, CodeRejection, Codes, Context, Decision, Evidence, Factor, OpenSecret, Verdict};
use crate::audit::EventKind;
use crate::{Delta, FactorId, SubmittedCode};

impl Account {
    /// Records that a code was sent again that `factor`, or the set of backup codes, had accepted before.
    ///
    /// Separate from the decision, since anybody who has seen a used code can send it any number of times: the caller
    /// limits how many the trail keeps.
    #[must_use]
    pub(crate) fn record_replay(&self, context: Context<'_>, factor: Option<FactorId>) -> Option<Delta> {
        let form = if factor.is_some() { "otp" } else { "backup_code" };
        let mut draft = self.draft(context);
        draft.record(EventKind::Replayed, factor, [("form", form.to_owned())]);
        // The code may be a right one of an earlier step, if a later step was accepted while a clock was ahead.
        let factor: Vec<_> = self.factors.iter().filter(|known| Some(known.id) == factor).collect();
        draft.tell_of_ahead(&factor);
        draft.finish()
    }

    /// Rejects codes that `factor` does not accept: used ones change nothing, wrong ones cost one attempt.
    pub(super) fn refuse(
        &self,
        context: Context<'_>,
        factor: &Factor,
        codes: Codes<'_>,
        evidence: &Evidence<'_>,
    ) -> Decision<Verdict<Factor>> {
        if codes.used(factor, evidence, context) {
            return Decision::without_change(Verdict::Rejected(CodeRejection::Replayed {
                factor: Some(factor.id),
            }));
        }
        let mut draft = self.draft(context);
        draft.fail(Some(factor.id), codes.form());
        draft.tell_of_ahead(&[factor]);
        Decision { answer: Verdict::Rejected(CodeRejection::Invalid), delta: draft.finish() }
    }
}

impl Codes<'_> {
    /// Whether `factor` has used them up.
    fn used(self, factor: &Factor, evidence: &Evidence<'_>, context: Context<'_>) -> bool {
        let Evidence::Secrets(secrets) = evidence else { return false };
        let Some(open) = OpenSecret::of(secrets, factor) else { return false };
        let policy = context.policies.verification.as_ref();
        match self {
            Self::One(SubmittedCode::OneTimePassword(code)) => {
                factor.has_used(code, &open.secret, context.now, policy)
            }
            Self::One(SubmittedCode::Sent(_) | SubmittedCode::Backup(_)) => false,
            Self::Two(codes) => factor.has_used_pair(codes, &open.secret, context.now, policy),
        }
    }
}
