//! How far a code may be off and still be accepted.

use std::fmt::Debug;

use otp_core::{LookAhead, ResyncSteps, ResyncWindow, Window};

use super::InvalidPolicy;

/// Rules for evaluating codes.
pub trait VerificationPolicy: Debug + Send + Sync + 'static {
    /// Validates the numbers of the policy. [`Mfa::new`](crate::Mfa::new) calls it.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names each number that is out of range.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// The TOTP steps before and after the centre that are tried. Each further step is another chance for a guess
    /// (RFC 6238, 5.2).
    fn window(&self) -> Window;

    /// The largest learned clock drift of a device, in steps either way (RFC 6238, 6).
    fn drift_bound(&self) -> u8;

    /// The HOTP counters beyond the expected one that are tried (RFC 4226, 7.2).
    fn look_ahead(&self) -> LookAhead;

    /// The TOTP steps either way in which two consecutive codes are searched, to confirm or resynchronise a device
    /// whose clock is off. The window moves to where they are found and keeps its width.
    ///
    /// Two unused codes that a device showed within this range in the past move the window back to that time. So an
    /// attacker who saw three codes in a row can use the third.
    fn resync_steps(&self) -> ResyncSteps;

    /// The HOTP counters ahead in which two consecutive codes are searched (RFC 4226, 7.4).
    fn resync_counters(&self) -> ResyncWindow;
}

/// One step either side, as users of authenticator apps expect; drift up to one step; three HOTP counters ahead; with
/// two consecutive codes 240 steps either way and 1,000 counters ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardVerification {
    /// The TOTP window. Default one step either side.
    pub window: Window,
    /// The largest drift, in steps. Default 1; at most 10. If it is larger than the window and the clock of a device
    /// is corrected, the device is outside its window and must be enrolled again.
    pub drift_bound: u8,
    /// The HOTP look-ahead. Default 3 counters.
    pub look_ahead: LookAhead,
    /// The range for two consecutive TOTP codes, either way. Default 240 steps: two hours with steps of 30 seconds.
    pub resync_steps: ResyncSteps,
    /// The range for two consecutive HOTP codes, ahead. Default 1,000 counters.
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
