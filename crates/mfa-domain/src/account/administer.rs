//! What operators do: unlock, reset, erase, and re-encrypt.

use super::{Account, Attempts, Context, Draft, OpenSecret, Refusal};
use crate::audit::EventKind;
use crate::policy::Standing;
use crate::{Delta, Reason};

impl Account {
    /// Lifts every lock. The failures so far still count towards disabling the factors.
    ///
    /// # Errors
    /// [`Refusal::Disabled`]: no unlock brings disabled factors back, only a reset.
    pub fn unlock(&self, context: Context<'_>, reason: &Reason) -> Result<Option<Delta>, Refusal> {
        if context.policies.lockout.judge(&self.attempts) == Standing::Disabled {
            return Err(Refusal::Disabled);
        }
        let mut draft = self.draft(context);
        draft.attempts().forgive();
        draft.record(EventKind::Unlocked, None, [("reason", reason.to_string())]);
        Ok(draft.finish())
    }

    /// Removes every factor and backup code and forgets every attempt. The user is not enrolled
    /// any more: a reset never ends in a verified state.
    #[must_use]
    pub fn reset(&self, context: Context<'_>, reason: &Reason) -> Option<Delta> {
        let mut draft = self.draft(context);
        draft.record(EventKind::Reset, None, [("reason", reason.to_string())]);
        self.clear(&mut draft);
        draft.finish()
    }

    /// Removes everything but the audit trail, which says so. `None` if there never was anything.
    #[must_use]
    pub fn erase(&self, context: Context<'_>) -> Option<Delta> {
        if self.audit_head.sequence == 0 {
            return None;
        }
        let mut draft = self.draft(context);
        draft.record(EventKind::Erased, None, []);
        self.clear(&mut draft);
        draft.finish()
    }

    /// Puts secrets in place that were sealed anew.
    #[must_use]
    pub fn reseal(&self, context: Context<'_>, secrets: &[OpenSecret]) -> Option<Delta> {
        let mut draft = self.draft(context);
        for factor in &self.factors {
            if let Some(open) = OpenSecret::of(secrets, factor).filter(|open| open.resealed.is_some()) {
                open.put(&mut draft, factor.clone());
            }
        }
        draft.finish()
    }

    fn clear(&self, draft: &mut Draft<'_>) {
        self.factors.iter().for_each(|factor| draft.remove(factor.id));
        self.unenrol(draft);
        *draft.attempts() = Attempts::default();
    }
}
