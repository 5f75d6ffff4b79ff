//! Decisions for owners of factors: rename, revoke, resynchronise.

use otp_core::Code;

use super::proof::override_of;
use super::{
    Account, BackupCodesChange, Claim, CodeRejection, Codes, Context, Decision, Draft, Evidence, Factor,
    PolicyDenial, Verdict, Verifications,
};
use crate::audit::EventKind;
use crate::policy::GuardedChange;
use crate::{Delta, FactorId, Label};

impl Account {
    /// Changes the label of a factor; appends a number if another active factor has the label. The same label changes
    /// nothing.
    ///
    /// # Errors
    /// [`PolicyDenial::UnknownFactor`], or [`PolicyDenial::ProofRequired`] if the policy requires a proof.
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
        self.record_override(&mut draft, GuardedChange::RenameFactor);
        draft.record(EventKind::FactorRenamed, Some(id), []);
        draft.put(renamed.clone());
        Ok(Decision { answer: renamed, delta: draft.finish() })
    }

    /// Removes one factor. Removing an active factor also removes all pending ones, and removing the last active factor
    /// the backup codes, since they protect nothing any more. Removing a pending factor requires no proof.
    ///
    /// # Errors
    /// [`PolicyDenial::UnknownFactor`], or [`PolicyDenial::ProofRequired`] if the policy requires a proof.
    pub(crate) fn revoke(&self, context: Context<'_>, id: FactorId) -> Result<Option<Delta>, PolicyDenial> {
        let factor = self.known(context, id)?;
        let mut draft = self.draft(context);
        draft.retire(factor);
        if factor.is_active() {
            self.check_proof(context, GuardedChange::RevokeFactor)?;
            self.record_override(&mut draft, GuardedChange::RevokeFactor);
            let kind = ("factor_kind", factor.kind().as_str().to_owned());
            match override_of(context) {
                Some(reason) => {
                    draft.record(EventKind::FactorRevoked, Some(id), [kind, ("reason", reason.to_string())]);
                }
                None => draft.record(EventKind::FactorRevoked, Some(id), [kind]),
            }
            // Whoever had the factor may have offered them with it.
            self.abandon_pending(&mut draft);
            if self.active_factors().count() == 1 {
                self.unenrol(&mut draft);
            }
        } else {
            draft.record(EventKind::EnrolmentAbandoned, Some(id), []);
        }
        Ok(draft.finish())
    }

    /// Returns the active or pending factor that two consecutive codes are to resynchronise.
    ///
    /// # Errors
    /// The [`CodeRejection`] of codes that are not evaluated. Nothing changes.
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

    /// Decides whether two consecutive codes resynchronise a factor. Accepted codes are used up, wrong ones cost one
    /// attempt, and used ones cost nothing. It is not a verification, and a pending factor stays pending.
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

    /// Removes what is useless without an active factor: backup codes, the row of failures, and verifications. The
    /// rolling budget stays.
    pub(super) fn unenrol(&self, draft: &mut Draft<'_>) {
        if self.backup_codes.is_some() {
            draft.backup_codes(BackupCodesChange::Remove);
        }
        draft.attempts().verified = Verifications::default();
        draft.attempts().clear_row();
    }

    /// Finds a factor that is shown to its owner: active, or pending and not expired.
    pub(super) fn known(&self, context: Context<'_>, id: FactorId) -> Result<&Factor, PolicyDenial> {
        let known = self.factor(id).filter(|factor| factor.is_known(context.now));
        known.ok_or(PolicyDenial::UnknownFactor)
    }
}
