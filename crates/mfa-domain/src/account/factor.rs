//! Factors: what a user proves themselves with.

use std::str::FromStr;

use otp_core::{Hotp, Token, Totp};
use thiserror::Error;

use crate::policy::VerificationPolicy;
use crate::{FactorId, Label, Sealed, Timestamp};

/// One thing that a user can prove themselves with: their phone, their hardware token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// Its id, unique for all time.
    pub id: FactorId,
    /// What the user calls it.
    pub label: Label,
    /// Whether it counts yet.
    pub state: FactorState,
    /// When its enrolment began.
    pub created_at: Timestamp,
    /// When a code of it was last accepted, confirmation included.
    pub last_used_at: Option<Timestamp>,
    /// What it is, and what is known of it.
    pub authenticator: Authenticator,
}

/// Whether a factor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorState {
    /// It waits for its first code and protects nothing yet.
    Pending {
        /// When it is too late for that.
        expires_at: Timestamp,
        /// The factor that it takes the place of once confirmed.
        replaces: Option<FactorId>,
    },
    /// A first code confirmed it.
    Active,
    /// It was removed after it had used codes. Nothing shows it and it accepts nothing; it is kept so that
    /// its used codes do not count again if its secret is given again.
    Removed,
}

/// What a factor is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authenticator {
    /// A time-based one-time password device (RFC 6238).
    Totp(TotpDevice),
    /// A counter-based one-time password device (RFC 4226).
    Hotp(HotpDevice),
}

/// What is known of a TOTP device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpDevice {
    /// Algorithm, digits, period.
    pub totp: Totp,
    /// Its secret.
    pub secret: Sealed,
    /// The last step of which a code was accepted. It never falls, so that no code is accepted
    /// twice, however late and whatever the clock does; but an operator may
    /// [set it back](super::Account::set_back) to the present if it lies ahead.
    pub last_step: Option<u64>,
    /// How far its clock is off.
    pub drift: Drift,
}

/// What is known of an HOTP device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotpDevice {
    /// Algorithm and digits.
    pub hotp: Hotp,
    /// Its secret.
    pub secret: Sealed,
    /// The next counter that can be accepted, at most [`HotpDevice::MAX_COUNTER`]. It never falls.
    pub counter: u64,
}

impl HotpDevice {
    /// The last counter: stores keep it as a signed integer of 64 bits. A token that is used once
    /// a second reaches it in 292 billion years.
    pub const MAX_COUNTER: u64 = i64::MAX.cast_unsigned();

    /// The device once the code of `matched` is used up; `None` after the last counter, which
    /// could never be used up.
    pub(crate) fn past(self, matched: u64) -> Option<Self> {
        let counter = matched.checked_add(1).filter(|counter| *counter <= Self::MAX_COUNTER)?;
        Some(Self { counter, ..self })
    }
}

/// The kind of a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FactorKind {
    /// Time-based one-time passwords (RFC 6238).
    Totp,
    /// Counter-based one-time passwords (RFC 4226).
    Hotp,
}

impl Factor {
    /// Whether it counts.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self.state, FactorState::Active)
    }

    /// Whether it waits for its first code and there is still time for that.
    #[must_use]
    pub fn is_pending(&self, now: Timestamp) -> bool {
        matches!(self.state, FactorState::Pending { expires_at, .. } if now < expires_at)
    }

    /// Whether it waited in vain.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        matches!(self.state, FactorState::Pending { .. }) && !self.is_pending(now)
    }

    /// Whether it was removed.
    #[must_use]
    pub const fn is_removed(&self) -> bool {
        matches!(self.state, FactorState::Removed)
    }

    /// Whether it exists for its owner: active, or pending and in time.
    #[must_use]
    pub fn is_known(&self, now: Timestamp) -> bool {
        self.is_active() || self.is_pending(now)
    }

    /// The factor that goes once this one is active.
    pub(super) const fn replaces(&self) -> Option<FactorId> {
        match self.state {
            FactorState::Pending { replaces, .. } => replaces,
            FactorState::Active | FactorState::Removed => None,
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> FactorKind {
        match self.authenticator {
            Authenticator::Totp(_) => FactorKind::Totp,
            Authenticator::Hotp(_) => FactorKind::Hotp,
        }
    }

    /// Its secret.
    #[must_use]
    pub const fn secret(&self) -> &Sealed {
        match &self.authenticator {
            Authenticator::Totp(device) => &device.secret,
            Authenticator::Hotp(device) => &device.secret,
        }
    }

    pub(crate) fn reseal(&mut self, secret: Sealed) {
        match &mut self.authenticator {
            Authenticator::Totp(device) => device.secret = secret,
            Authenticator::Hotp(device) => device.secret = secret,
        }
    }

    /// Its algorithm and parameters, with the next counter of an HOTP factor.
    #[must_use]
    pub const fn token(&self) -> Token {
        match &self.authenticator {
            Authenticator::Totp(device) => Token::Totp(device.totp),
            Authenticator::Hotp(HotpDevice { hotp, counter, .. }) => {
                Token::Hotp { hotp: *hotp, counter: *counter }
            }
        }
    }

    /// How many digits its codes have.
    #[must_use]
    pub const fn digits(&self) -> otp_core::Digits {
        match &self.authenticator {
            Authenticator::Totp(device) => device.totp.digits(),
            Authenticator::Hotp(device) => device.hotp.digits(),
        }
    }
}

impl FactorKind {
    /// The stable name, as stores keep it and the API shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Hotp => "hotp",
        }
    }
}

impl FromStr for FactorKind {
    type Err = UnknownFactorKind;

    fn from_str(name: &str) -> Result<Self, UnknownFactorKind> {
        match name {
            "totp" => Ok(Self::Totp),
            "hotp" => Ok(Self::Hotp),
            _ => Err(UnknownFactorKind),
        }
    }
}

/// A name that is no kind of factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a kind of factor; it must be totp or hotp")]
pub struct UnknownFactorKind;

/// How many steps a device's clock is off (RFC 6238, 6).
///
/// The window moves by `steps`; it never gets wider. Two consecutive codes move it to where they are
/// found. Single codes move it by one only after three successes in a row on the same side of its
/// centre, so that a person who types late is no drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Where the centre of the window is, in steps from the current one.
    pub steps: i16,
    /// Successes in a row before (negative) or after (positive) the centre.
    pub leaning: i8,
}

impl Drift {
    /// Successes on one side that move the window.
    pub const PATIENCE: i8 = 3;

    /// What is known after the second of two consecutive codes was found at step `matched`, while the
    /// clock said `step`; `None` if that is too far off to be kept.
    #[must_use]
    pub fn found(step: u64, matched: u64) -> Option<Self> {
        let steps = i16::try_from(i128::from(matched) - i128::from(step)).ok()?;
        Some(Self { steps, leaning: 0 })
    }

    /// No further off than the policy allows in one way or the other. It may have been tightened
    /// since.
    #[must_use]
    pub fn within(self, policy: &dyn VerificationPolicy) -> Self {
        let bound = i16::from(policy.drift_bound().max(policy.resync_steps().value()));
        Self { steps: self.steps.clamp(-bound, bound), ..self }
    }

    /// The centre of the window when the clock says `step`.
    #[must_use]
    pub fn centre(self, step: u64) -> u64 {
        step.saturating_add_signed(i64::from(self.steps))
    }

    /// What is known after a code of step `matched` was accepted while the clock said `step`. Further
    /// off than `bound` nothing is learned, but the way back is.
    #[must_use]
    pub fn learn(self, step: u64, matched: u64, bound: u8) -> Self {
        let leaning = match matched.cmp(&self.centre(step)) {
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Less => self.leaning.min(0).saturating_sub(1),
            std::cmp::Ordering::Greater => self.leaning.max(0).saturating_add(1),
        };
        let moved = self.steps.saturating_add(leaning.signum().into());
        let back = moved.unsigned_abs() < self.steps.unsigned_abs();
        if leaning.unsigned_abs() < Self::PATIENCE.unsigned_abs() {
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
