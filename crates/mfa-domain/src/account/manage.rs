//! What owners do to their factors: rename, revoke, resynchronise.

use otp_core::{Code, ResyncWindow};

use super::{
    Account, Authenticator, BackupCodesChange, Context, Decision, Draft, Factor, OpenSecret, Refusal,
    Rejection,
};
use crate::audit::EventKind;
use crate::policy::Change;
use crate::{Delta, FactorId, Label};

impl Account {
    /// Gives a factor another label.
    ///
    /// # Errors
    /// [`Refusal::UnknownFactor`], or [`Refusal::ProofRequired`] if the policy asks for one.
    pub fn rename(
        &self,
        context: Context<'_>,
        id: FactorId,
        label: Label,
    ) -> Result<Decision<Factor>, Refusal> {
        let factor = self.known(context, id)?;
        self.check_proof(context, Change::RenameFactor)?;
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
    /// [`Refusal::UnknownFactor`], or [`Refusal::ProofRequired`] if the policy asks for one.
    pub fn revoke(&self, context: Context<'_>, id: FactorId) -> Result<Option<Delta>, Refusal> {
        let factor = self.known(context, id)?;
        let mut draft = self.draft(context);
        draft.remove(id);
        if factor.is_active() {
            self.check_proof(context, Change::RevokeFactor)?;
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

    /// The counter-based factor that two codes are to bring back in step (RFC 4226, 7.4).
    ///
    /// # Errors
    /// The [`Rejection`] of codes that are not evaluated at all. It changes nothing.
    pub fn awaiting_resynchronisation(
        &self,
        context: Context<'_>,
        id: FactorId,
        codes: [&Code; 2],
    ) -> Result<&Factor, Rejection> {
        let factor = self.factor(id).filter(|factor| factor.is_active()).ok_or(Rejection::UnknownFactor)?;
        self.check_standing(context)?;
        let is_hotp = matches!(factor.authenticator, Authenticator::Hotp(_));
        if is_hotp && codes.iter().all(|code| code.digits() == factor.digits()) {
            Ok(factor)
        } else {
            Err(Rejection::Malformed)
        }
    }

    /// Decides whether two consecutive codes bring a counter-based factor back in step. The counter
    /// only ever grows, both codes are used up, and wrong ones cost an attempt. It is no
    /// verification.
    pub fn resynchronise(
        &self,
        context: Context<'_>,
        id: FactorId,
        codes: [&Code; 2],
        secret: &OpenSecret,
    ) -> Decision<Result<Factor, Rejection>> {
        let factor = match self.awaiting_resynchronisation(context, id, codes) {
            Ok(factor) => factor,
            Err(rejection) => return Decision::without_change(Err(rejection)),
        };
        let mut draft = self.draft(context);
        let Some(synchronised) = synchronised(factor, codes, secret) else {
            draft.fail(Some(id), "resynchronisation");
            return Decision { answer: Err(Rejection::Invalid), delta: draft.finish() };
        };
        draft.record(EventKind::FactorResynchronised, Some(id), []);
        secret.put(&mut draft, synchronised.clone());
        Decision { answer: Ok(synchronised), delta: draft.finish() }
    }

    /// What goes when no active factor is left: nothing is there any more to guess or to prove with.
    /// The rolling budget stays.
    pub(super) fn unenrol(&self, draft: &mut Draft<'_>) {
        if self.backup_codes.is_some() {
            draft.backup_codes(BackupCodesChange::Remove);
        }
        draft.attempts().verified_at = None;
        draft.attempts().clear_row();
    }

    /// A factor that is there for the owner: active, or pending and in time.
    fn known(&self, context: Context<'_>, id: FactorId) -> Result<&Factor, Refusal> {
        let known = self.factor(id).filter(|factor| !factor.is_expired(context.now));
        known.ok_or(Refusal::UnknownFactor)
    }
}

fn synchronised(factor: &Factor, [first, second]: [&Code; 2], secret: &OpenSecret) -> Option<Factor> {
    let open = OpenSecret::of(std::slice::from_ref(secret), factor)?;
    let mut factor = factor.clone();
    let Authenticator::Hotp(device) = &mut factor.authenticator else { return None };
    let matched =
        device.hotp.resynchronise(&open.secret, first, second, device.counter, ResyncWindow::default())?;
    *device = device.clone().past(matched)?;
    Some(factor)
}
