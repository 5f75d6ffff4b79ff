//! Factors: what a user proves themselves with.

use std::str::FromStr;

use otp_core::{Hotp, Totp};
use thiserror::Error;

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
    /// twice, however late and whatever the clock does.
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
        !self.is_active() && !self.is_pending(now)
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

/// How many steps a device's clock is off, learned from the codes that it gives (RFC 6238, 6).
///
/// The window moves by `steps`; it never gets wider. It moves by one only after three successes in
/// a row on the same side of its centre, so that a person who types late is no drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Where the centre of the window is, in steps from the current one.
    pub steps: i8,
    /// Successes in a row before (negative) or after (positive) the centre.
    pub leaning: i8,
}

impl Drift {
    /// Successes on one side that move the window.
    pub const PATIENCE: i8 = 3;

    /// No further off than `bound`, which may have been tightened since.
    #[must_use]
    pub fn within(self, bound: u8) -> Self {
        let bound = i8::try_from(bound).unwrap_or(i8::MAX);
        Self { steps: self.steps.clamp(-bound, bound), ..self }
    }

    /// The centre of the window when the clock says `step`.
    #[must_use]
    pub fn centre(self, step: u64) -> u64 {
        step.saturating_add_signed(i64::from(self.steps))
    }

    /// What is known after a code of step `matched` was accepted while the clock said `step`.
    #[must_use]
    pub fn learn(self, step: u64, matched: u64, bound: u8) -> Self {
        let leaning = match matched.cmp(&self.centre(step)) {
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Less => self.leaning.min(0).saturating_sub(1),
            std::cmp::Ordering::Greater => self.leaning.max(0).saturating_add(1),
        };
        let moved = self.steps.saturating_add(leaning.signum());
        if leaning.unsigned_abs() < Self::PATIENCE.unsigned_abs() {
            Self { leaning, ..self }
        } else if moved.unsigned_abs() <= bound {
            Self { steps: moved, leaning: 0 }
        } else {
            Self { leaning: 0, ..self }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
