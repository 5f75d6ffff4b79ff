//! Codes that were right before: used up, and no guesses.

use otp_core::{Code, LookAhead, ResyncSteps, ResyncWindow, Secret};

use super::{Account, Authenticator, Codes, Context, Decision, Factor, OpenSecret, Rejection};
use crate::audit::EventKind;
use crate::policy::VerificationPolicy;
use crate::{Delta, FactorId, SubmittedCode, Timestamp};

/// How many counters before the next one count as used.
const USED_COUNTERS: u8 = 3;

impl Account {
    /// Records that a code was posted that `factor`, or the set of backup codes, had accepted before.
    ///
    /// Apart from the decision, since anybody who has seen a used code can post it for ever: the
    /// caller bounds how much of that the trail keeps.
    #[must_use]
    pub fn record_replay(&self, context: Context<'_>, factor: Option<FactorId>) -> Option<Delta> {
        let form = if factor.is_some() { "otp" } else { "backup_code" };
        let mut draft = self.draft(context);
        draft.record(EventKind::Replayed, factor, [("form", form.to_owned())]);
        // A right code of a step before the last one, which may have been accepted while a clock was ahead.
        let factor: Vec<_> = self.factors.iter().filter(|known| Some(known.id) == factor).collect();
        draft.tell_of_ahead(&factor);
        draft.finish()
    }

    /// What follows from codes that `factor` does not accept: used ones change nothing, wrong ones
    /// cost one attempt.
    pub(super) fn refuse(
        &self,
        context: Context<'_>,
        factor: &Factor,
        codes: Codes<'_>,
        secret: &OpenSecret,
    ) -> Decision<Result<Factor, Rejection>> {
        if codes.used(factor, secret, context) {
            return Decision::without_change(Err(Rejection::Replayed { factor: Some(factor.id) }));
        }
        let mut draft = self.draft(context);
        draft.fail(Some(factor.id), codes.form());
        draft.tell_of_ahead(&[factor]);
        Decision { answer: Err(Rejection::Invalid), delta: draft.finish() }
    }
}

impl Codes<'_> {
    /// Whether `factor` has used them up.
    fn used(self, factor: &Factor, secret: &OpenSecret, context: Context<'_>) -> bool {
        let Some(open) = OpenSecret::of(std::slice::from_ref(secret), factor) else { return false };
        match self {
            Self::One(SubmittedCode::OneTimePassword(code)) => {
                factor.has_used(code, &open.secret, context.now, context.policies.verification.as_ref())
            }
            Self::One(SubmittedCode::Backup(_)) => false,
            Self::Two(codes) => {
                factor.has_used_pair(codes, &open.secret, context.now, context.policies.verification.as_ref())
            }
        }
    }
}

impl Factor {
    /// Whether `code` was right and is used up: of a step up to the last accepted one, in the window of
    /// now or in that of the last one; or of one of the last three counters. No such code is ever
    /// accepted again.
    #[must_use]
    pub fn has_used(
        &self,
        code: &Code,
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> bool {
        match &self.authenticator {
            Authenticator::Totp(device) => {
                let Some(last) = device.last_step else { return false };
                let used = |centre| {
                    let lowest = device.totp.verify_around(secret, code, centre, policy.window(), None);
                    lowest.is_some_and(|step| step <= last)
                };
                let step = device.totp.step(now.unix_seconds()).unwrap_or(last);
                // Both, whatever the first one says: time tells nothing.
                used(device.drift.within(policy).centre(step)) | used(last)
            }
            Authenticator::Hotp(device) => {
                let first = device.counter.saturating_sub(USED_COUNTERS.into());
                let ahead = u8::try_from(device.counter - first).unwrap_or(USED_COUNTERS).checked_sub(1);
                let ahead = ahead.and_then(|ahead| LookAhead::new(ahead).ok());
                ahead.is_some_and(|ahead| device.hotp.verify(secret, code, first, ahead).is_some())
            }
        }
    }

    /// Whether two consecutive codes were right and the first of them, or both, are used up: the first is of a step up
    /// to the last accepted one, in the window of now or near that of the last one; or of one of the last three counters.
    /// No such pair is ever accepted. The second code alone still may be, and a wrong one makes the pair a guess.
    #[must_use]
    pub fn has_used_pair(
        &self,
        [first, second]: [&Code; 2],
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> bool {
        match &self.authenticator {
            Authenticator::Totp(device) => {
                let Some(last) = device.last_step else { return false };
                let used = |centre, reach| {
                    let reach = ResyncSteps::new(reach).unwrap_or_default();
                    let matched = device.totp.resynchronise(secret, first, second, centre, reach, None);
                    matched.is_some_and(|second| second <= last.saturating_add(1))
                };
                let step = device.totp.step(now.unix_seconds()).unwrap_or(last);
                let window = policy.window();
                // Both, whatever the first one says: time tells nothing.
                used(device.drift.within(policy).centre(step), window.past().max(window.future()))
                    | used(last, 1)
            }
            Authenticator::Hotp(device) => {
                let oldest = device.counter.saturating_sub(USED_COUNTERS.into());
                let Ok(window) = ResyncWindow::new(u16::from(USED_COUNTERS) - 1) else { return false };
                let matched = device.hotp.resynchronise(secret, first, second, oldest, window);
                matched.is_some_and(|second| second <= device.counter)
            }
        }
    }
}
