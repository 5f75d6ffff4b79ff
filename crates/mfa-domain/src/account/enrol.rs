//! Decisions about enrolment: a factor is offered, pending, and confirmed by its first code.

use super::{
    Account, BackupCodes, BackupCodesChange, Claim, CodeRejection, Codes, Context, Decision, Draft, Evidence,
    Factor, FactorState, PolicyDenial, Verdict,
};
use crate::audit::EventKind;
use crate::policy::GuardedChange;
use crate::{Delta, FactorId, Purpose, Reason};

/// The most pending factors; a further one replaces the oldest.
const MAX_PENDING: usize = 3;

impl Account {
    /// Offers a factor, which is pending until its first code.
    ///
    /// # Errors
    /// The [`PolicyDenial`]: the kind is not allowed, there are too many factors, the proof is missing, or the factor
    /// to replace does not exist.
    pub(crate) fn begin_enrolment(
        &self,
        context: Context<'_>,
        factor: Factor,
    ) -> Result<Option<Delta>, PolicyDenial> {
        self.admit_enrolment(context, &factor)?;
        let mut draft = self.draft(context);
        self.record_overrides(&mut draft, &factor, GuardedChange::AddFactor);
        self.make_room(&mut draft, context);
        self.forget_oldest(&mut draft);
        let detail = [("factor_kind", factor.kind().as_str().to_owned())];
        draft.record(EventKind::EnrolmentStarted, Some(factor.id), detail);
        if factor.is_sent_codes() {
            draft.code_sent(&factor, Purpose::Enrol);
        }
        draft.put(factor);
        Ok(draft.finish())
    }

    /// Checks whether `factor` may be offered now. Called before the message with its code is charged.
    ///
    /// # Errors
    /// As [`Account::begin_enrolment`].
    pub(crate) fn admit_enrolment(&self, context: Context<'_>, factor: &Factor) -> Result<(), PolicyDenial> {
        self.admit(context, factor, GuardedChange::AddFactor)?;
        let Some(kind) = factor.challenge_kind() else { return Ok(()) };
        // Nothing is sent while an account is locked.
        self.check_standing(context, &Claim::Response(&kind)).map_err(|rejection| match rejection {
            CodeRejection::Locked { until } => PolicyDenial::Locked { until },
            _ => PolicyDenial::Disabled,
        })
    }

    /// Imports an active factor at an operator's request: a token whose secret the user already has. It replaces the
    /// factor that it names, and comes without backup codes, since the owner is not there to see them.
    ///
    /// # Errors
    /// As [`Account::begin_enrolment`], and [`PolicyDenial::OperatorsOnly`].
    pub(crate) fn import(
        &self,
        context: Context<'_>,
        factor: Factor,
        reason: &Reason,
    ) -> Result<Decision<Factor>, PolicyDenial> {
        if !context.actor.is_admin() {
            return Err(PolicyDenial::OperatorsOnly);
        }
        self.admit(context, &factor, GuardedChange::ImportFactor)?;
        let mut draft = self.draft(context);
        self.record_overrides(&mut draft, &factor, GuardedChange::ImportFactor);
        self.forget_oldest(&mut draft);
        let detail = [("factor_kind", factor.kind().as_str().to_owned()), ("reason", reason.to_string())];
        draft.record(EventKind::FactorImported, Some(factor.id), detail);
        self.activated(&mut draft, factor.id, factor.replaces(), None);
        let active = Factor { state: FactorState::Active, ..self.labelled(factor) };
        draft.put(active.clone());
        Ok(Decision { answer: active, delta: draft.finish() })
    }

    /// Returns the pending factor that a code is to confirm.
    ///
    /// Called before its secret is opened. Confirming uses the attempt budget of the account: no endpoint that takes
    /// a code is without a limit.
    ///
    /// # Errors
    /// The [`CodeRejection`] of a code that is not evaluated. Nothing changes.
    pub(crate) fn awaiting_confirmation(
        &self,
        context: Context<'_>,
        id: FactorId,
        codes: Codes<'_>,
    ) -> Result<&Factor, CodeRejection> {
        let factor = self.known(context, id).map_err(|_| CodeRejection::UnknownFactor)?;
        if factor.is_active() {
            return Err(CodeRejection::AlreadyActive);
        }
        self.check_standing(context, &codes.claim())?;
        if codes.fit(factor) { Ok(factor) } else { Err(CodeRejection::Malformed) }
    }

    /// Decides whether `codes` confirm a pending factor. Accepted codes are used up.
    ///
    /// If this is the user's first active factor, `first_codes` become the backup codes and every other pending
    /// factor is removed. A confirmation does not count as a verification for guarded changes: only an existing
    /// factor can provide one.
    pub(crate) fn confirm(
        &self,
        context: Context<'_>,
        id: FactorId,
        codes: Codes<'_>,
        evidence: &Evidence<'_>,
        first_codes: Option<BackupCodes>,
    ) -> Decision<Verdict<Factor>> {
        let factor = match self.awaiting_confirmation(context, id, codes) {
            Ok(factor) => factor,
            Err(rejection) => return self.refuse_unadmitted(context, id, rejection, evidence),
        };
        let Some(accepted) = codes.accepted(factor, evidence, context) else {
            return self.refuse(context, factor, codes, evidence);
        };
        let mut draft = self.draft(context);
        let active = self.activate(&mut draft, context, accepted, first_codes);
        evidence.put(&mut draft, active.clone());
        Decision { answer: Verdict::Accepted(active), delta: draft.finish() }
    }

    /// Issues new backup codes. The old ones stop working.
    ///
    /// # Errors
    /// The [`PolicyDenial`] of [`Account::admit_backup_codes`].
    pub(crate) fn issue_backup_codes(
        &self,
        context: Context<'_>,
        codes: BackupCodes,
    ) -> Result<Option<Delta>, PolicyDenial> {
        self.admit_backup_codes(context)?;
        let mut draft = self.draft(context);
        self.record_override(&mut draft, GuardedChange::IssueBackupCodes);
        issue(&mut draft, codes);
        Ok(draft.finish())
    }

    /// Checks whether new backup codes may be issued now.
    ///
    /// # Errors
    /// [`PolicyDenial::NotEnrolled`] or [`PolicyDenial::ProofRequired`].
    pub(crate) fn admit_backup_codes(&self, context: Context<'_>) -> Result<(), PolicyDenial> {
        if !self.is_enrolled() {
            return Err(PolicyDenial::NotEnrolled);
        }
        self.check_proof(context, GuardedChange::IssueBackupCodes)
    }

    /// Checks whether `factor` may be enrolled now.
    fn admit(
        &self,
        context: Context<'_>,
        factor: &Factor,
        change: GuardedChange,
    ) -> Result<(), PolicyDenial> {
        let policy = context.policies.enrolment.as_ref();
        if !policy.admits(&factor.kind()) {
            return Err(PolicyDenial::KindNotAdmitted);
        }
        let replaces = factor.replaces();
        if let Some(id) = replaces
            && !self.factor(id).is_some_and(Factor::is_active)
        {
            return Err(PolicyDenial::UnknownFactor);
        }
        let most = policy.max_factors();
        if self.active_factors().filter(|factor| Some(factor.id) != replaces).count() >= most {
            return Err(PolicyDenial::TooManyFactors { most });
        }
        if replaces.is_some() {
            self.check_proof(context, GuardedChange::RevokeFactor)?;
        }
        self.check_proof(context, change)
    }

    /// Records which of the proofs that [`admit`](Self::admit) checked were only the word of an operator.
    fn record_overrides(&self, draft: &mut Draft<'_>, factor: &Factor, change: GuardedChange) {
        if factor.replaces().is_some() {
            self.record_override(draft, GuardedChange::RevokeFactor);
        }
        self.record_override(draft, change);
    }

    /// `factor` with a label that no other active factor has.
    fn labelled(&self, factor: Factor) -> Factor {
        let label = self.own_label(&factor.label, factor.id, factor.replaces());
        Factor { label, ..factor }
    }

    /// Makes a pending factor active after its first code.
    pub(super) fn activate(
        &self,
        draft: &mut Draft<'_>,
        context: Context<'_>,
        confirmed: Factor,
        first_codes: Option<BackupCodes>,
    ) -> Factor {
        let replaces = confirmed.replaces();
        let confirmed = self.labelled(confirmed);
        let active = Factor { state: FactorState::Active, last_used_at: Some(context.now), ..confirmed };
        let detail = [("factor_kind", active.kind().as_str().to_owned())];
        draft.record(EventKind::FactorActivated, Some(active.id), detail);
        self.activated(draft, active.id, replaces, first_codes);
        active
    }

    /// Applies the effects of factor `id` becoming active.
    fn activated(
        &self,
        draft: &mut Draft<'_>,
        id: FactorId,
        replaces: Option<FactorId>,
        first_codes: Option<BackupCodes>,
    ) {
        if let Some(old) = replaces.and_then(|old| self.factor(old)) {
            draft.record(EventKind::FactorRevoked, Some(old.id), [("replaced_by", id.to_string())]);
            draft.retire(old);
        }
        if !self.is_enrolled() {
            draft.attempts().clear_row();
            // They were offered without proof, perhaps to an attacker who only has the password.
            abandon(draft, self.pending_factors().filter(|other| other.id != id));
            if let Some(codes) = first_codes {
                issue(draft, codes);
            }
        }
    }

    /// Gives up every pending factor.
    pub(super) fn abandon_pending(&self, draft: &mut Draft<'_>) {
        abandon(draft, self.pending_factors());
    }

    fn pending_factors(&self) -> impl Iterator<Item = &Factor> {
        self.factors.iter().filter(|factor| matches!(factor.state, FactorState::Pending { .. }))
    }

    /// Removes expired pending factors, and the oldest pending ones if there are too many.
    fn make_room(&self, draft: &mut Draft<'_>, context: Context<'_>) {
        let (expired, waiting): (Vec<_>, Vec<_>) =
            self.pending_factors().partition(|factor| factor.is_expired(context.now));
        let room = context.policies.enrolment.max_factors().saturating_sub(self.active_factors().count());
        let keep = MAX_PENDING.min(room).saturating_sub(1);
        let surplus = waiting.len().saturating_sub(keep);
        abandon(draft, expired.into_iter().chain(waiting.into_iter().take(surplus)));
    }
}

fn abandon<'a>(draft: &mut Draft<'_>, pending: impl Iterator<Item = &'a Factor>) {
    for factor in pending {
        draft.record(EventKind::EnrolmentAbandoned, Some(factor.id), []);
        draft.retire(factor);
    }
}

fn issue(draft: &mut Draft<'_>, codes: BackupCodes) {
    draft.record(EventKind::BackupCodesIssued, None, [("codes", codes.codes.len().to_string())]);
    draft.backup_codes(BackupCodesChange::Replace(codes));
}
