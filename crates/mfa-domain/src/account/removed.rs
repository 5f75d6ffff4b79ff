//! Removed factors: their used codes are not accepted again if the secret is enrolled again.

use otp_core::Secret;

use super::{Account, Authenticator, Context, Draft, Factor, FactorState, OpenSecret};
use crate::Timestamp;

/// The most removed factors that an account keeps. Enrolling a factor drops the oldest ones beyond that.
const MAX_REMOVED: usize = 16;

impl Account {
    /// The factors that are not shown to their owner any more, but whose used codes stay used: removed ones, and
    /// expired pending ones.
    pub(crate) fn gone_factors(&self, now: Timestamp) -> impl Iterator<Item = &Factor> {
        self.factors.iter().filter(move |factor| !factor.is_known(now))
    }

    /// Moves `factor`, which has an existing `secret`, past every code that a removed factor with the same secret has
    /// used. `opened` are the secrets of [`Account::gone_factors`].
    ///
    /// After an erasure nothing is left to compare with. An account without factors but with a trail may have been
    /// erased just now, so a TOTP factor then begins after the current window.
    #[must_use]
    pub(crate) fn past_used_codes(
        &self,
        context: Context<'_>,
        mut factor: Factor,
        secret: &Secret,
        opened: &[OpenSecret],
    ) -> Factor {
        for gone in self.gone_factors(context.now) {
            if OpenSecret::of(opened, gone).is_some_and(|open| open.secret.matches(secret)) {
                factor.skip_codes_of(gone);
            }
        }
        if self.factors.is_empty()
            && self.audit_head.sequence > 0
            && let Authenticator::Totp(device) = &mut factor.authenticator
        {
            let policy = context.policies.verification.as_ref();
            let ahead = u64::from(policy.window().future()) + u64::from(policy.drift_bound());
            let present = device.totp.step(context.now.unix_seconds()).ok();
            device.last_step = device.last_step.max(present.map(|step| step.saturating_add(ahead)));
        }
        factor
    }

    /// Drops the oldest removed factors to make room for the next.
    pub(super) fn forget_oldest(&self, draft: &mut Draft<'_>) {
        let removed = || self.factors.iter().filter(|factor| factor.is_removed());
        let surplus = removed().count().saturating_sub(MAX_REMOVED);
        removed().take(surplus).for_each(|factor| draft.remove(factor.id));
    }
}

impl Draft<'_> {
    /// Removes a factor. If it has used codes, it stays as [`FactorState::Removed`].
    pub(super) fn retire(&mut self, factor: &Factor) {
        if factor.has_used_codes() {
            self.put(Factor { state: FactorState::Removed, ..factor.clone() });
        } else {
            self.forget(factor);
        }
    }

    /// Removes a factor for good, and releases its handles.
    pub(super) fn forget(&mut self, factor: &Factor) {
        self.remove(factor.id);
        factor.handles().iter().for_each(|handle| self.release(handle.clone()));
    }
}

#[cfg(test)]
mod tests {
    use otp_core::{Algorithm, Digits, Hotp, Period, Totp};

    use super::*;
    use crate::account::{HotpDevice, TotpDevice};
    use crate::{FactorId, Label};

    fn factor(authenticator: Authenticator) -> Factor {
        Factor {
            id: FactorId::fresh(Timestamp::default(), &[1; 10]),
            label: Label::new("Token").unwrap(),
            state: FactorState::Active,
            created_at: Timestamp::default(),
            last_used_at: None,
            sealed: None,
            authenticator,
        }
    }

    fn totp(period: u64, t0: u64, last_step: Option<u64>) -> Factor {
        let totp = Totp::new(Algorithm::Sha1, Digits::SIX, Period::new(period).unwrap()).with_t0(t0);
        factor(Authenticator::Totp(TotpDevice { last_step, ..TotpDevice::new(totp) }))
    }

    fn hotp(counter: u64) -> Factor {
        factor(Authenticator::Hotp(HotpDevice { hotp: Hotp::default(), counter }))
    }

    #[test]
    fn a_factor_begins_after_the_last_code_that_a_removed_one_used() {
        for (mut new, removed, expected) in [
            (totp(30, 0, None), totp(30, 0, Some(7)), totp(30, 0, Some(7))),
            (totp(30, 0, Some(9)), totp(30, 0, Some(7)), totp(30, 0, Some(9))),
            (totp(30, 0, None), totp(30, 0, None), totp(30, 0, None)),
            // Used up to second 239.
            (totp(60, 0, None), totp(30, 0, Some(7)), totp(60, 0, Some(3))),
            (totp(15, 0, None), totp(30, 0, Some(7)), totp(15, 0, Some(15))),
            (totp(30, 30, None), totp(30, 0, Some(7)), totp(30, 30, Some(6))),
            (totp(30, 900, None), totp(30, 0, Some(7)), totp(30, 900, None)),
            (hotp(0), hotp(7), hotp(7)),
            (hotp(9), hotp(7), hotp(9)),
            (hotp(0), totp(30, 0, Some(7)), hotp(0)),
            (totp(30, 0, None), hotp(7), totp(30, 0, None)),
        ] {
            new.skip_codes_of(&removed);
            assert_eq!(new, expected, "after {removed:?}");
        }
        let mut new = totp(30, 0, None);
        new.skip_codes_of(&totp(30, 0, Some(u64::MAX)));
        assert_eq!(new, totp(30, 0, Some(Totp::MAX_TIME / 30)));
    }

    #[test]
    fn only_what_used_codes_is_worth_keeping() {
        let used = [hotp(1), totp(30, 0, Some(0)), hotp(0), totp(30, 0, None)];
        assert_eq!(used.map(|factor| factor.has_used_codes()), [true, true, false, false]);
    }
}
