//! Time-based one-time passwords (RFC 6238).

use otp_core::{Algorithm, Code, Digits, Period, ResyncSteps, Secret, Totp};
use serde::{Deserialize, Serialize};

use super::stored::{self, is_usual};
use crate::Timestamp;
use crate::policy::VerificationPolicy;

/// The parameters and progress of a TOTP device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpDevice {
    /// Algorithm, digits, period.
    pub totp: Totp,
    /// The last step whose code was accepted. It never decreases, so no code is accepted twice, at any time and with
    /// any clock. The exception: an operator may [set it back](crate::Mfa::set_back) to the present if it is in the
    /// future.
    pub last_step: Option<u64>,
    /// The drift of its clock.
    pub drift: Drift,
}

impl TotpDevice {
    /// A device that has accepted no code yet.
    #[must_use]
    pub fn new(totp: Totp) -> Self {
        Self { totp, last_step: None, drift: Drift::default() }
    }

    pub(super) fn accepting(
        &self,
        code: &Code,
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> Option<Self> {
        let step = self.totp.step(now.unix_seconds()).ok()?;
        let drift = self.drift.within(policy);
        let matched =
            self.totp.verify_around(secret, code, drift.centre(step), policy.window(), self.last_step)?;
        let drift = drift.learn(step, matched, policy.drift_bound());
        Some(Self { totp: self.totp, last_step: Some(matched), drift })
    }

    pub(super) fn synchronised(
        &self,
        [first, second]: [&Code; 2],
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> Option<Self> {
        let step = self.totp.step(now.unix_seconds()).ok()?;
        let (reach, after) = (policy.resync_steps(), self.last_step);
        let matched = self.totp.resynchronise(secret, first, second, step, reach, after)?;
        Some(Self { totp: self.totp, last_step: Some(matched), drift: Drift::found(step, matched)? })
    }

    pub(super) fn has_used(
        &self,
        code: &Code,
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> bool {
        let Some(last) = self.last_step else { return false };
        let used = |centre| {
            let lowest = self.totp.verify_around(secret, code, centre, policy.window(), None);
            lowest.is_some_and(|step| step <= last)
        };
        let step = self.totp.step(now.unix_seconds()).unwrap_or(last);
        // Evaluate both, also after a match: the time must not reveal which one matched.
        used(self.drift.within(policy).centre(step)) | used(last)
    }

    pub(super) fn has_used_pair(
        &self,
        [first, second]: [&Code; 2],
        secret: &Secret,
        now: Timestamp,
        policy: &dyn VerificationPolicy,
    ) -> bool {
        let Some(last) = self.last_step else { return false };
        let used = |centre, reach| {
            let reach = ResyncSteps::new(reach).unwrap_or_default();
            let matched = self.totp.resynchronise(secret, first, second, centre, reach, None);
            matched.is_some_and(|second| second <= last.saturating_add(1))
        };
        let step = self.totp.step(now.unix_seconds()).unwrap_or(last);
        let window = policy.window();
        // Evaluate both, also after a match: the time must not reveal which one matched.
        used(self.drift.within(policy).centre(step), window.past().max(window.future())) | used(last, 1)
    }

    /// Uses up every code that `removed` has used. Periods may differ, so steps are compared by their end.
    pub(super) fn skip_codes_of(&mut self, removed: &Self) {
        let step = removed.last_second().and_then(|second| self.totp.step(second).ok());
        self.last_step = self.last_step.max(step);
    }

    /// The last second of the last accepted step.
    fn last_second(&self) -> Option<u64> {
        let end = self.last_step?.saturating_add(1).saturating_mul(self.totp.period().seconds());
        Some(end.saturating_add(self.totp.t0()).saturating_sub(1).min(Totp::MAX_TIME))
    }

    /// The last step of the window at `now`.
    pub(crate) fn last_that_counts(&self, now: Timestamp, policy: &dyn VerificationPolicy) -> Option<u64> {
        let step = self.totp.step(now.unix_seconds()).ok()?;
        let centre = self.drift.within(policy).centre(step);
        Some(centre.saturating_add(policy.window().future().into()))
    }
}

/// A TOTP device as [`Data`](crate::Data). Default values are omitted: for most devices only the last step remains.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TotpData {
    v: u32,
    #[serde(default = "stored::algorithm", skip_serializing_if = "stored::is_usual_algorithm")]
    algorithm: String,
    #[serde(default = "stored::digits", skip_serializing_if = "stored::is_usual_digits")]
    digits: u8,
    #[serde(default = "usual_period", skip_serializing_if = "is_usual_period")]
    period: u64,
    #[serde(default, skip_serializing_if = "is_usual")]
    t0: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_step: Option<u64>,
    #[serde(default, skip_serializing_if = "is_usual")]
    drift: i16,
    #[serde(default, skip_serializing_if = "is_usual")]
    leaning: i8,
}

fn usual_period() -> u64 {
    Period::default().seconds()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_usual_period(period: &u64) -> bool {
    *period == usual_period()
}

impl TotpData {
    pub(super) const VERSION: u32 = 1;

    pub(super) fn of(device: &TotpDevice) -> Self {
        let TotpDevice { totp, last_step, drift } = device;
        Self {
            v: Self::VERSION,
            algorithm: totp.algorithm().name().to_owned(),
            digits: totp.digits().value(),
            period: totp.period().seconds(),
            t0: totp.t0(),
            last_step: *last_step,
            drift: drift.steps,
            leaning: drift.leaning,
        }
    }

    pub(super) fn read(self) -> Option<TotpDevice> {
        let algorithm: Algorithm = self.algorithm.parse().ok()?;
        let (digits, period) = (Digits::new(self.digits).ok()?, Period::new(self.period).ok()?);
        Some(TotpDevice {
            totp: Totp::new(algorithm, digits, period).with_t0(self.t0),
            last_step: self.last_step,
            drift: Drift { steps: self.drift, leaning: self.leaning },
        })
    }
}

/// How many steps a device's clock is off (RFC 6238, 6).
///
/// The window moves by `steps`; it never gets wider. Two consecutive codes move it to where they are found. Single
/// codes move it by one step, and only after three successes in a row on the same side of its centre, so that a
/// person who types late does not cause drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// The centre of the window, in steps from the current one.
    pub steps: i16,
    /// Successes in a row before (negative) or after (positive) the centre.
    pub leaning: i8,
}

impl Drift {
    /// The number of successes on one side that moves the window.
    pub const SUCCESSES_TO_MOVE: i8 = 3;

    /// The drift after the second of two consecutive codes was found at step `matched`, while the clock showed
    /// `step`; `None` if it is too large to be stored.
    #[must_use]
    pub fn found(step: u64, matched: u64) -> Option<Self> {
        let steps = i16::try_from(i128::from(matched) - i128::from(step)).ok()?;
        Some(Self { steps, leaning: 0 })
    }

    /// The drift, limited to what the policy allows for single or for two codes. The policy may have become stricter
    /// since.
    #[must_use]
    pub fn within(self, policy: &dyn VerificationPolicy) -> Self {
        let bound = i16::from(policy.drift_bound().max(policy.resync_steps().value()));
        Self { steps: self.steps.clamp(-bound, bound), ..self }
    }

    /// The centre of the window when the clock shows `step`.
    #[must_use]
    pub fn centre(self, step: u64) -> u64 {
        step.saturating_add_signed(i64::from(self.steps))
    }

    /// The drift after a code of step `matched` was accepted while the clock showed `step`. A drift does not grow
    /// beyond `bound`; a larger one may still shrink.
    #[must_use]
    pub fn learn(self, step: u64, matched: u64, bound: u8) -> Self {
        let leaning = match matched.cmp(&self.centre(step)) {
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Less => self.leaning.min(0).saturating_sub(1),
            std::cmp::Ordering::Greater => self.leaning.max(0).saturating_add(1),
        };
        let moved = self.steps.saturating_add(leaning.signum().into());
        let back = moved.unsigned_abs() < self.steps.unsigned_abs();
        if leaning.unsigned_abs() < Self::SUCCESSES_TO_MOVE.unsigned_abs() {
            Self { leaning, ..self }
        } else if back || moved.unsigned_abs() <= bound.into() {
            Self { steps: moved, leaning: 0 }
        } else {
            Self { leaning: 0, ..self }
        }
    }
}

#[cfg(test)]
mod tests {
    use otp_core::ResyncSteps;

    use super::*;
    use crate::policy::StandardVerification;

    #[test]
    fn a_device_that_is_always_slow_moves_the_window_and_no_further_than_the_bound() {
        let mut drift = Drift::default();
        for login in 0..30 {
            let step = 1000 + login;
            drift = drift.learn(step, drift.centre(step) - 1, 2);
        }
        assert_eq!(drift.steps, -2);
    }

    #[test]
    fn one_late_code_now_and_then_is_no_drift() {
        let mut drift = Drift::default();
        for login in 0..30 {
            let step = 1000 + login;
            drift = drift.learn(step, if login % 3 == 2 { step } else { step - 1 }, 2);
        }
        assert_eq!(drift.steps, 0);
    }

    #[test]
    fn a_device_that_was_set_right_is_learned_back() {
        let mut drift = Drift { steps: -1, leaning: 0 };
        for _ in 0..3 {
            drift = drift.learn(1000, 1000, 2);
        }
        assert_eq!(drift, Drift::default());
        assert_eq!(Drift { steps: -2, leaning: 0 }.centre(1), 0);
    }

    #[test]
    fn single_codes_lead_back_from_where_two_codes_were_found_and_no_further_away() {
        let found = Drift::found(1000, 800).unwrap();
        assert_eq!(found, Drift { steps: -200, leaning: 0 });
        assert_eq!(found.centre(1000), 800);
        let after = |logins: u64, side: i64| {
            (0..logins).map(|login| 2000 + login).fold(found, |drift, step| {
                drift.learn(step, drift.centre(step).checked_add_signed(side).unwrap(), 1)
            })
        };
        assert_eq!(after(30, -1), found);
        assert_eq!(after(30, 1), Drift { steps: -190, leaning: 0 });
        assert_eq!(Drift::found(0, u64::MAX), None);
    }

    #[test]
    fn a_drift_is_as_far_off_as_the_policy_lets_either_way_of_finding_it() {
        let drift = Drift { steps: -200, leaning: 0 };
        let within = |steps, drift_bound| {
            let resync_steps = ResyncSteps::new(steps).unwrap();
            drift.within(&StandardVerification { drift_bound, resync_steps, ..Default::default() }).steps
        };
        assert_eq!([within(240, 1), within(20, 1), within(0, 10), within(0, 0)], [-200, -20, -10, 0]);
        assert_eq!(drift.within(&StandardVerification::strict()), Drift::default());
    }
}
