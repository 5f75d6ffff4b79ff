//! How far a code may be off and still be right.

use std::fmt::Debug;

use otp_core::{LookAhead, ResyncSteps, ResyncWindow, Window};

use super::InvalidPolicy;

/// Rules for evaluating codes.
pub trait VerificationPolicy: Debug + Send + Sync + 'static {
    /// Whether its numbers make sense; [`Mfa::new`](crate::Mfa::new) asks before it is used.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names those that do not.
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

    /// How many TOTP steps either way two consecutive codes are searched, to bind a device whose
    /// clock is off or to bring it back in step. The window moves to where they are found, and is
    /// as narrow there.
    ///
    /// Two codes that a device showed so many steps ago, and that were not used, bring the window
    /// back to that time: whoever saw three in a row can use the third.
    fn resync_steps(&self) -> ResyncSteps;

    /// How many HOTP counters ahead two consecutive codes are searched (RFC 4226, 7.4).
    fn resync_counters(&self) -> ResyncWindow;
}

/// One step either side, as users of authenticator apps expect; drift up to one step; three HOTP
/// counters ahead; and by two consecutive codes 240 steps either way and 1,000 counters ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardVerification {
    /// The TOTP window. Default one step either side.
    pub window: Window,
    /// The most drift, in steps. Default 1; at most 10. Beyond the window's own steps a device whose
    /// clock is set right again is outside of its window, and must be enrolled anew.
    pub drift_bound: u8,
    /// The HOTP look-ahead. Default 3.
    pub look_ahead: LookAhead,
    /// How far two consecutive TOTP codes may be off. Default 240 steps, two hours of 30 seconds.
    pub resync_steps: ResyncSteps,
    /// How far two consecutive HOTP codes may be ahead. Default 1,000 counters.
    pub resync_counters: ResyncWindow,
}

impl Default for StandardVerification {
    fn default() -> Self {
        Self {
            window: Window::ONE_EITHER_SIDE,
            drift_bound: 1,
            look_ahead: LookAhead::default(),
            resync_steps: ResyncSteps::default(),
            resync_counters: ResyncWindow::default(),
        }
    }
}

impl StandardVerification {
    /// The current step only, and no drift, not even by two consecutive codes.
    #[must_use]
    pub fn strict() -> Self {
        Self {
            window: Window::CURRENT_ONLY,
            drift_bound: 0,
            resync_steps: ResyncSteps::NONE,
            ..Self::default()
        }
    }
}

impl VerificationPolicy for StandardVerification {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        InvalidPolicy::unless(&[("drift_bound", self.drift_bound <= 10, "0 to 10")])
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

    fn resync_steps(&self) -> ResyncSteps {
        self.resync_steps
    }

    fn resync_counters(&self) -> ResyncWindow {
        self.resync_counters
    }
}
