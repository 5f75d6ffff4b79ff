//! What owners do to their factors: rename, revoke, resynchronise.

use otp_core::Code;

use super::{
    Account, BackupCodesChange, Claim, CodeRejection, Codes, Context, Decision, Draft, Evidence, Factor,
    PolicyDenial, Verdict, Verifications,
};
use crate::audit::EventKind;
use crate::policy::GuardedChange;
use crate::{Delta, FactorId, Label};

impl Account {
    /// Gives a factor another label, with a number if another active one has it. The same label changes
    /// nothing.
    ///
    /// # Errors
    /// [`PolicyDenial::UnknownFactor`], or [`PolicyDenial::ProofRequired`] if the policy asks for one.
    pub(crate) fn rename(
        &self,
        context: Context<'_>,
        id: FactorId,
        label: &Label,
    ) -> Result<Decision<Factor>, PolicyDenial> {
        let factor = self.known(context, id)?;
        self.check_proof(context, GuardedChange::RenameFactor)?;
        let label = self.own_label(label, id, factor.replaces());
        if label == factor.label {
            return Ok(Decision::without_change(factor.clone()));
        }
        let renamed = Factor { label, ..factor.clone() };
        let mut draft = self.draft(context);
        draft.record(EventKind::FactorRenamed, Some(id), []);
        draft.put(renamed.clone());
        Ok(Decision { answer: renamed, delta: draft.finish() })
    }

    /// Removes one factor, and nothing else; with the last active one the backup codes go too,
    /// since they protect nothing any more. A pending factor needs no proof.
    ///
    /// # Errors
    /// [`PolicyDenial::UnknownFactor`], or [`PolicyDenial::ProofRequired`] if the policy asks for one.
    pub(crate) fn revoke(&self, context: Context<'_>, id: FactorId) -> Result<Option<Delta>, PolicyDenial> {
        let factor = self.known(context, id)?;
        let mut draft = self.draft(context);
        draft.retire(factor);
        if factor.is_active() {
            self.check_proof(context, GuardedChange::RevokeFactor)?;
            let detail = [("factor_kind", factor.kind().as_str().to_owned())];
            draft.record(EventKind::FactorRevoked, Some(id), detail);
            if self.active_factors().count() == 1 {
                self.unenrol(&mut draft);
            }
        } else {
            draft.record(EventKind::EnrolmentAbandoned, Some(id), []);
        }
        Ok(draft.finish())
    }

    /// The factor that two consecutive codes are to bring back in step: an active one, or one that
    /// waits for its first code.
    ///
    /// # Errors
    /// The [`CodeRejection`] of codes that are not evaluated at all. It changes nothing.
    pub(crate) fn awaiting_resynchronisation(
        &self,
        context: Context<'_>,
        id: FactorId,
        codes: [&Code; 2],
    ) -> Result<&Factor, CodeRejection> {
        let factor = self.known(context, id).map_err(|_| CodeRejection::UnknownFactor)?;
        self.check_standing(context, &Claim::OneTimePassword(codes[0]))?;
        if Codes::Two(codes).fit(factor) { Ok(factor) } else { Err(CodeRejection::Malformed) }
    }

    /// Decides whether two consecutive codes bring a factor back in step. Both are used up, wrong ones
    /// cost one attempt, and used ones cost nothing. It is no verification, and a factor that waits for its first code
    /// still does.
    pub(crate) fn resynchronise(
        &self,
        context: Context<'_>,
        id: FactorId,
        codes: [&Code; 2],
        evidence: &Evidence<'_>,
    ) -> Decision<Verdict<Factor>> {
        let factor = match self.awaiting_resynchronisation(context, id, codes) {
            Ok(factor) => factor,
            Err(rejection) => return Decision::without_change(Verdict::Rejected(rejection)),
        };
        let codes = Codes::Two(codes);
        let Some(synchronised) = codes.accepted(factor, evidence, context) else {
            return self.refuse(context, factor, codes, evidence);
        };
        let mut draft = self.draft(context);
        draft.record(EventKind::FactorResynchronised, Some(id), []);
        evidence.put(&mut draft, synchronised.clone());
        Decision { answer: Verdict::Accepted(synchronised), delta: draft.finish() }
    }

    /// What goes when no active factor is left: nothing is there any more to guess or to prove with.
    /// The rolling budget stays.
    pub(super) fn unenrol(&self, draft: &mut Draft<'_>) {
        if self.backup_codes.is_some() {
            draft.backup_codes(BackupCodesChange::Remove);
        }
        draft.attempts().verified = Verifications::default();
        draft.attempts().clear_row();
    }

    /// A factor that is there for the owner: active, or pending and in time.
    pub(super) fn known(&self, context: Context<'_>, id: FactorId) -> Result<&Factor, PolicyDenial> {
        let known = self.factor(id).filter(|factor| factor.is_known(context.now));
        known.ok_or(PolicyDenial::UnknownFactor)
    }
}
