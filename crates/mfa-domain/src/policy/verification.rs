//! How far a code may be off and still be right.

use std::fmt::Debug;

use otp_core::{LookAhead, Window};

use super::InvalidPolicy;

/// Rules for evaluating codes.
pub trait VerificationPolicy: Debug + Send + Sync + 'static {
    /// Whether its numbers make sense; [`Mfa::new`](crate::Mfa::new) asks before it is used.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the first that does not.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// How many TOTP steps before and after the centre are tried. Each doubles as a chance for a
    /// guess (RFC 6238, 5.2).
    fn window(&self) -> Window;

    /// How many steps a device's learned drift may be, either way (RFC 6238, 6).
    fn drift_bound(&self) -> u8;

    /// How many HOTP counters beyond the expected one are tried (RFC 4226, 7.2).
    fn look_ahead(&self) -> LookAhead;
}

/// One step either side, as users of authenticator apps expect; drift up to one step; three HOTP
/// counters ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardVerification {
    /// The TOTP window. Default one step either side.
    pub window: Window,
    /// The most drift, in steps. Default 1; at most 10. Beyond the window's own steps a device whose
    /// clock is set right again is outside of its window, and must be enrolled anew.
    pub drift_bound: u8,
    /// The HOTP look-ahead. Default 3.
    pub look_ahead: LookAhead,
}

impl Default for StandardVerification {
    fn default() -> Self {
        Self { window: Window::ONE_EITHER_SIDE, drift_bound: 1, look_ahead: LookAhead::default() }
    }
}

impl StandardVerification {
    /// The current step only, and no drift.
    #[must_use]
    pub fn strict() -> Self {
        Self { window: Window::CURRENT_ONLY, drift_bound: 0, ..Self::default() }
    }
}

impl VerificationPolicy for StandardVerification {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        InvalidPolicy::unless(&[(self.drift_bound <= 10, "drift_bound must be at most 10")])
    }

    fn window(&self) -> Window {
        self.window
    }

    fn drift_bound(&self) -> u8 {
        self.drift_bound
    }

    fn look_ahead(&self) -> LookAhead {
        self.look_ahead
    }
}
