//! Time-based one-time passwords.

use crate::algorithm::Algorithm;
use crate::code::Code;
use crate::mac::Keyed;
use crate::parameters::{Digits, Period, ResyncSteps, Window};
use crate::secret::Secret;

/// TOTP, the time-based one-time password of RFC 6238: its parameters, without secret or clock.
///
/// Times are Unix seconds from the caller. The default is SHA-1, 6 digits, 30 seconds and T0 = 0, the only
/// parameters that every authenticator app handles correctly.
///
/// ```
/// use otp_core::{Code, Secret, Totp, Window};
///
/// let secret = Secret::from_bytes(b"12345678901234567890")?;
/// let totp = Totp::default();
/// let typed = Code::parse("287082")?;
///
/// let step = totp.verify(&secret, &typed, 59, Window::ONE_EITHER_SIDE, None)?;
/// assert_eq!(step, Some(1));
/// // The step that was used is remembered, and the code is dead.
/// assert_eq!(totp.verify(&secret, &typed, 59, Window::ONE_EITHER_SIDE, step)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Totp {
    algorithm: Algorithm,
    digits: Digits,
    period: Period,
    t0: u64,
}

impl Totp {
    /// The maximum time for TOTP: the end of the year 9999, in Unix seconds. A later time comes from a broken
    /// clock or from milliseconds passed as seconds.
    pub const MAX_TIME: u64 = 253_402_300_799;

    /// TOTP with these parameters and T0 = 0.
    #[must_use]
    pub const fn new(algorithm: Algorithm, digits: Digits, period: Period) -> Self {
        Self { algorithm, digits, period, t0: 0 }
    }

    /// The same parameters with steps counted from `t0`, in Unix seconds (RFC 6238, section 4.1).
    #[must_use]
    pub const fn with_t0(self, t0: u64) -> Self {
        Self { t0, ..self }
    }

    /// The hash function of the HMAC.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The number of digits of a code.
    #[must_use]
    pub const fn digits(&self) -> Digits {
        self.digits
    }

    /// The length of a step.
    #[must_use]
    pub const fn period(&self) -> Period {
        self.period
    }

    /// T0, the start of step 0, in Unix seconds.
    #[must_use]
    pub const fn t0(&self) -> u64 {
        self.t0
    }

    /// The step at `now`, in Unix seconds: `T = (now - T0) / period`, rounded down (RFC 6238, section 4.2).
    ///
    /// # Errors
    ///
    /// [`TimeError::BeforeT0`] if `now` is before T0, [`TimeError::TooLate`] after [`Totp::MAX_TIME`].
    pub const fn step(&self, now: u64) -> Result<u64, TimeError> {
        if now > Self::MAX_TIME {
            return Err(TimeError::TooLate);
        }
        match now.checked_sub(self.t0) {
            Some(elapsed) => Ok(elapsed / self.period.seconds()),
            None => Err(TimeError::BeforeT0),
        }
    }

    /// The code at `now`, in Unix seconds.
    ///
    /// # Errors
    ///
    /// As [`Totp::step`].
    pub fn generate(&self, secret: &Secret, now: u64) -> Result<Code, TimeError> {
        Ok(self.generate_step(secret, self.step(now)?))
    }

    /// The code of a step.
    #[must_use]
    pub fn generate_step(&self, secret: &Secret, step: u64) -> Code {
        let value = Keyed::new(self.algorithm, secret).value(step, self.digits);
        Code::from_value(value, self.digits)
    }

    /// Returns the lowest step in the window around `now` that gives this code and is after the step `after`;
    /// or `None`.
    ///
    /// To accept each code once (RFC 6238, section 5.2), store the matched step durably and pass it as
    /// `after` from then on: neither this code nor an older one matches again. If two steps of the window
    /// share a code, the lower one after `after` matches.
    ///
    /// Every step of the window is evaluated, in constant time for a given window. The window ends at step 0
    /// and does not wrap. A code with another number of digits is rejected before any HMAC.
    ///
    /// # Errors
    ///
    /// As [`Totp::step`]; a code that does not match is no error.
    pub fn verify(
        &self,
        secret: &Secret,
        code: &Code,
        now: u64,
        window: Window,
        after: Option<u64>,
    ) -> Result<Option<u64>, TimeError> {
        let centre = self.step(now)?;
        Ok(self.verify_around(secret, code, centre, window, after))
    }

    /// Like [`Totp::verify`], but around the step `centre`, for a caller who corrects the drift of a device
    /// (RFC 6238, section 6): the window moves and does not widen.
    #[must_use]
    pub fn verify_around(
        &self,
        secret: &Secret,
        code: &Code,
        centre: u64,
        window: Window,
        after: Option<u64>,
    ) -> Option<u64> {
        if code.digits() != self.digits {
            return None;
        }
        let first = centre.saturating_sub(u64::from(window.past()));
        let last = centre.saturating_add(u64::from(window.future()));
        Keyed::new(self.algorithm, secret).lowest_match(first..=last, code, after)
    }

    /// Resynchronises a device whose clock is wrong, by two consecutive codes: returns the step of the
    /// *second* one, or `None`.
    ///
    /// That step is at most `reach` steps before or after the step `centre`, and both codes belong to steps
    /// after the step `after`, so that used codes, and codes older than a used one, are never accepted again.
    /// The lowest pair wins. Store the returned step as the last one, and its distance from `centre` as the
    /// drift of the device (RFC 6238, section 6), for [`Totp::verify_around`] with its narrow window.
    ///
    /// Every step of the range is evaluated. Codes with another number of digits are rejected before any
    /// HMAC.
    ///
    /// ```
    /// use otp_core::{Code, ResyncSteps, Secret, Totp};
    ///
    /// let secret = Secret::from_bytes(b"12345678901234567890")?;
    /// let totp = Totp::default();
    /// // The clock says step 9, and the device is eight behind.
    /// let (first, second) = (Code::parse("755224")?, Code::parse("287082")?); // steps 0 and 1
    /// let reach = ResyncSteps::default();
    /// assert_eq!(totp.resynchronise(&secret, &first, &second, 9, reach, None), Some(1));
    /// assert_eq!(totp.resynchronise(&secret, &first, &second, 9, reach, Some(0)), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn resynchronise(
        &self,
        secret: &Secret,
        first: &Code,
        second: &Code,
        centre: u64,
        reach: ResyncSteps,
        after: Option<u64>,
    ) -> Option<u64> {
        if first.digits() != self.digits || second.digits() != self.digits {
            return None;
        }
        let reach = u64::from(reach.value());
        // The last step of a first code; its second code is one step later.
        let last = centre.saturating_add(reach).checked_sub(1)?;
        let start = centre.saturating_sub(reach).saturating_sub(1);
        Keyed::new(self.algorithm, secret).lowest_pair(start..=last, [first, second], after)
    }
}

/// Converts signed Unix seconds, as clocks and time libraries return them, to the unsigned ones of this
/// crate.
///
/// # Errors
///
/// [`TimeError::BeforeEpoch`] for a time before 1970.
///
/// ```
/// assert_eq!(otp_core::unix_seconds(59), Ok(59));
/// assert_eq!(otp_core::unix_seconds(-1), Err(otp_core::TimeError::BeforeEpoch));
/// ```
pub fn unix_seconds(signed: i64) -> Result<u64, TimeError> {
    u64::try_from(signed).map_err(|_| TimeError::BeforeEpoch)
}

/// A time without a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// The time is before 1970.
    #[error("the time is before the Unix epoch")]
    BeforeEpoch,
    /// The time is before the T0 of the token.
    #[error("the time is before T0, the start of the first step")]
    BeforeT0,
    /// The time is after [`Totp::MAX_TIME`].
    #[error("the time is after the year 9999")]
    TooLate,
}
