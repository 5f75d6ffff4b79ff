//! How far a code may be off and still be right.

use std::fmt::Debug;

use otp_core::{LookAhead, Window};

/// Rules for evaluating codes.
pub trait VerificationPolicy: Debug + Send + Sync + 'static {
    /// How many TOTP steps before and after the centre are tried. Each doubles as a chance for a
    /// guess (RFC 6238, 5.2).
    fn window(&self) -> Window;

    /// How many steps a device's learned drift may be, either way (RFC 6238, 6).
    fn drift_bound(&self) -> u8;

    /// How many HOTP counters beyond the expected one are tried (RFC 4226, 7.2).
    fn look_ahead(&self) -> LookAhead;
}

/// One step either side, as users of authenticator apps expect; drift up to two steps; three HOTP
/// counters ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardVerification {
    /// The TOTP window. Default one step either side.
    pub window: Window,
    /// The most drift, in steps. Default 2; at most 10.
    pub drift_bound: u8,
    /// The HOTP look-ahead. Default 3.
    pub look_ahead: LookAhead,
}

impl Default for StandardVerification {
    fn default() -> Self {
        Self { window: Window::ONE_EITHER_SIDE, drift_bound: 2, look_ahead: LookAhead::default() }
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
