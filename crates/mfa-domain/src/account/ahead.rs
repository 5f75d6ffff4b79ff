//! Factors whose last step is in the future. A code was accepted while a clock was ahead, so all codes up to that
//! step are rejected.

use std::time::Duration;

use super::{Account, Authenticator, Context, Decision, Draft, Factor, PolicyDenial};
use crate::audit::EventKind;
use crate::policy::VerificationPolicy;
use crate::{FactorId, Reason, Timestamp};

impl Factor {
    /// The smallest wait that is reported. The clocks of two ready replicas may differ by this much.
    const WORTH_A_WORD: Duration = Duration::from_secs(30);

    /// When the factor can accept a code again, if its last step is so far after `now` that it cannot for more than
    /// 30 seconds.
    #[must_use]
    pub fn ahead_until(&self, now: Timestamp, policy: &dyn VerificationPolicy) -> Option<Timestamp> {
        let Authenticator::Totp(device) = &self.authenticator else { return None };
        let last = self.last_that_counts(now, policy)?;
        let steps = device.last_step?.checked_sub(last).filter(|steps| *steps > 0)?.saturating_add(1);
        let totp = &device.totp;
        let present = totp.step(now.unix_seconds()).ok()?;
        let seconds = present.saturating_add(steps).saturating_mul(totp.period().seconds());
        let until = Timestamp::from_unix_seconds(seconds.saturating_add(totp.t0()));
        (until.since(now) > Self::WORTH_A_WORD).then_some(until)
    }

    /// The last step of the window of a TOTP device.
    fn last_that_counts(&self, now: Timestamp, policy: &dyn VerificationPolicy) -> Option<u64> {
        let Authenticator::Totp(device) = &self.authenticator else { return None };
        device.last_that_counts(now, policy)
    }
}

impl Account {
    /// Lets a factor whose last step is in the future accept codes again. Its last step becomes the end of the
    /// current window: it is no longer known which codes of the window were used before the clock went wrong, so all
    /// of them stay used.
    ///
    /// This is the only operation that lowers a step. Codes that were accepted ahead of their time are accepted again
    /// when that time comes.
    ///
    /// # Errors
    /// [`PolicyDenial::UnknownFactor`].
    pub(crate) fn set_back(
        &self,
        context: Context<'_>,
        id: FactorId,
        reason: &Reason,
    ) -> Result<Decision<Factor>, PolicyDenial> {
        let mut factor = self.known(context, id)?.clone();
        let policy = context.policies.verification.as_ref();
        let (Some(until), last) =
            (factor.ahead_until(context.now, policy), factor.last_that_counts(context.now, policy))
        else {
            return Ok(Decision::without_change(factor));
        };
        if let Authenticator::Totp(device) = &mut factor.authenticator {
            device.last_step = last;
        }
        let mut draft = self.draft(context);
        let detail = [("reason", reason.to_string()), ("until", until.to_string())];
        draft.record(EventKind::FactorSetBack, Some(id), detail);
        draft.put(factor.clone());
        Ok(Decision { answer: factor, delta: draft.finish() })
    }
}

impl Draft<'_> {
    /// Records which of the factors that rejected a code have their last step in the future.
    pub(super) fn tell_of_ahead(&mut self, refused: &[&Factor]) {
        let Context { now, policies, .. } = self.context;
        for factor in refused {
            if let Some(until) = factor.ahead_until(now, policies.verification.as_ref()) {
                self.record(EventKind::FactorAhead, Some(factor.id), [("until", until.to_string())]);
            }
        }
    }
}
