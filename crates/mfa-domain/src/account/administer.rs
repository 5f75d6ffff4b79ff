//! Decisions for operators: unlock, reset, erase, reseal.

use super::{Account, Attempts, Context, Draft, Factor, PolicyDenial, Resealed};
use crate::audit::EventKind;
use crate::policy::Standing;
use crate::{Data, Delta, Reason};

impl Account {
    /// Lifts every lock. Earlier failures still count towards disabling the factors. Records nothing if there is
    /// nothing to lift.
    ///
    /// # Errors
    /// [`PolicyDenial::Disabled`]: only a reset ends that, not an unlock.
    pub(crate) fn unlock(
        &self,
        context: Context<'_>,
        reason: &Reason,
    ) -> Result<Option<Delta>, PolicyDenial> {
        if context.policies.lockout.judge(&self.attempts) == Standing::Disabled {
            return Err(PolicyDenial::Disabled);
        }
        let mut draft = self.draft(context);
        draft.attempts().forgive();
        if *draft.attempts() == self.attempts {
            return Ok(None);
        }
        draft.record(EventKind::Unlocked, None, [("reason", reason.to_string())]);
        Ok(draft.finish())
    }

    /// Removes every factor and backup code, and forgets every attempt. The user is not enrolled afterwards: a reset
    /// never leads to a verified state. Removes kept answers with secrets in any case; that alone is no event. `None`
    /// if there is nothing to remove.
    #[must_use]
    pub(crate) fn reset(&self, context: Context<'_>, reason: &Reason) -> Option<Delta> {
        if self.is_clear() {
            return self.forget_answers(context, &EventKind::Reset);
        }
        let mut draft = self.draft(context);
        draft.record(EventKind::Reset, None, [("reason", reason.to_string())]);
        self.factors.iter().filter(|factor| !factor.is_removed()).for_each(|factor| draft.retire(factor));
        self.clear(&mut draft);
        draft.finish()
    }

    /// Erases everything but the audit trail, which records it. Also erases removed factors. Removes kept answers in
    /// any case; that alone is no event. `None` if there is nothing but the trail.
    #[must_use]
    pub(crate) fn erase(&self, context: Context<'_>) -> Option<Delta> {
        if self.is_clear() && self.factors.is_empty() && self.data == Data::default() {
            return self.forget_answers(context, &EventKind::Erased);
        }
        let mut draft = self.draft(context);
        draft.record(EventKind::Erased, None, []);
        self.factors.iter().for_each(|factor| draft.forget(factor));
        self.forget_data(&mut draft);
        self.clear(&mut draft);
        draft.finish()
    }

    /// Replaces the sealed secrets of factors by the resealed ones.
    #[must_use]
    pub(crate) fn reseal(&self, context: Context<'_>, secrets: &[Resealed]) -> Option<Delta> {
        let mut draft = self.draft(context);
        for factor in &self.factors {
            let resealed = secrets.iter().find(|resealed| {
                resealed.factor == factor.id && factor.sealed.as_ref() == Some(&resealed.before)
            });
            if let Some(resealed) = resealed {
                draft.put_resealed(factor.clone(), &resealed.after);
            }
        }
        draft.finish()
    }

    /// Forgets everything else, also how authenticators know the user: to them, whoever has the id later is another
    /// user.
    fn forget_data(&self, draft: &mut Draft<'_>) {
        draft.data(Data::default());
        if let Ok(Some(user)) = self.passkey_user()
            && let Ok(handle) = user.handle.handle()
        {
            draft.release(handle);
        }
    }

    /// Whether a reset would remove nothing.
    fn is_clear(&self) -> bool {
        self.factors.iter().all(Factor::is_removed)
            && self.backup_codes.is_none()
            && self.attempts == Attempts::default()
    }

    /// Removes the kept answers that such an event ends, when there is no event to record.
    fn forget_answers(&self, context: Context<'_>, event: &EventKind) -> Option<Delta> {
        let mut delta = self.unchanged(context.now);
        delta.answers.after(event);
        delta.answers_changed = delta.answers != self.answers;
        delta.answers_changed.then_some(delta)
    }

    fn clear(&self, draft: &mut Draft<'_>) {
        self.unenrol(draft);
        *draft.attempts() = Attempts::default();
    }
}
