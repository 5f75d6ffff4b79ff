//! Bounded parameters of HOTP and TOTP. Each type checks its range when it is constructed.

/// The number of decimal digits of a code: 6, 7 or 8 (RFC 4226, section 5.3).
///
/// Nine and ten digits are rejected although the RFC mentions them: the truncated value has 31 bits, so a
/// tenth digit would only be 0, 1 or 2, and a ninth is visibly biased.
///
/// ```
/// use otp_core::Digits;
///
/// assert_eq!(Digits::new(8), Ok(Digits::EIGHT));
/// assert!(Digits::new(10).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digits(u8);

impl Digits {
    /// Six digits, the default of authenticator apps.
    pub const SIX: Self = Self(6);
    /// Seven digits.
    pub const SEVEN: Self = Self(7);
    /// Eight digits.
    pub const EIGHT: Self = Self(8);

    /// Takes a count from 6 to 8.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Digits`] for any other count.
    pub const fn new(count: u8) -> Result<Self, ParameterError> {
        match count {
            6..=8 => Ok(Self(count)),
            _ => Err(ParameterError::Digits(count)),
        }
    }

    /// The count, 6 to 8.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }

    /// The last decimal digits of a truncated tag, as many as this number. The divisors are constants, so no
    /// division instruction, whose time may depend on its operands, processes a secret.
    pub(crate) const fn cut(self, truncated: u32) -> u32 {
        match self.0 {
            6 => truncated % 1_000_000,
            7 => truncated % 10_000_000,
            _ => truncated % 100_000_000,
        }
    }
}

impl Default for Digits {
    fn default() -> Self {
        Self::SIX
    }
}

/// The length of a TOTP step: 1 to 300 seconds, default 30 (RFC 6238, section 5.2).
///
/// A code can be guessed or passed on during its whole lifetime, hence the limit of five minutes.
///
/// ```
/// use otp_core::Period;
///
/// assert_eq!(Period::default().seconds(), 30);
/// assert!(Period::new(0).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(u64);

impl Period {
    /// The longest period, in seconds.
    pub const MAX_SECONDS: u64 = 300;
    /// Thirty seconds, the default of authenticator apps.
    pub const THIRTY_SECONDS: Self = Self(30);

    /// Takes 1 to 300 seconds.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Period`] for any other duration.
    pub const fn new(seconds: u64) -> Result<Self, ParameterError> {
        match seconds {
            1..=Self::MAX_SECONDS => Ok(Self(seconds)),
            _ => Err(ParameterError::Period(seconds)),
        }
    }

    /// The duration in seconds, 1 to 300.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl Default for Period {
    fn default() -> Self {
        Self::THIRTY_SECONDS
    }
}

/// The steps around the current one that a TOTP check accepts: up to 10 past and up to 10 future steps.
///
/// Each additional step is one more code that a guess may hit: with `n` steps and six digits, a guess
/// succeeds with probability `n / 10^6` (RFC 6238, section 5.2). Past and future are separate because
/// transmission makes a code late, never early.
///
/// ```
/// use otp_core::Window;
///
/// let late_only = Window::new(1, 0)?;
/// assert_eq!((late_only.past(), late_only.future()), (1, 0));
/// assert!(Window::new(11, 0).is_err());
/// # Ok::<(), otp_core::ParameterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    past: u8,
    future: u8,
}

impl Window {
    /// The maximum number of steps on either side.
    pub const MAX_STEPS: u8 = 10;
    /// Only the current step.
    pub const CURRENT_ONLY: Self = Self { past: 0, future: 0 };
    /// The current step and one on either side: what users of authenticator apps expect.
    pub const ONE_EITHER_SIDE: Self = Self { past: 1, future: 1 };

    /// Takes 0 to 10 past and 0 to 10 future steps.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Window`] with the first side above 10.
    pub const fn new(past: u8, future: u8) -> Result<Self, ParameterError> {
        if past > Self::MAX_STEPS {
            return Err(ParameterError::Window(past));
        }
        if future > Self::MAX_STEPS {
            return Err(ParameterError::Window(future));
        }
        Ok(Self { past, future })
    }

    /// Steps before the current one, 0 to 10.
    #[must_use]
    pub const fn past(self) -> u8 {
        self.past
    }

    /// Steps after the current one, 0 to 10.
    #[must_use]
    pub const fn future(self) -> u8 {
        self.future
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::ONE_EITHER_SIDE
    }
}

/// The number of counters after the expected one that a HOTP check tries: 0 to 20, default 3 (RFC 4226,
/// section 7.4).
///
/// ```
/// use otp_core::LookAhead;
///
/// assert_eq!(LookAhead::default().value(), 3);
/// assert!(LookAhead::new(21).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookAhead(u8);

impl LookAhead {
    /// The maximum look-ahead.
    pub const MAX: u8 = 20;
    /// Only the expected counter.
    pub const NONE: Self = Self(0);

    /// Takes 0 to 20 counters.
    ///
    /// # Errors
    ///
    /// [`ParameterError::LookAhead`] above 20.
    pub const fn new(counters: u8) -> Result<Self, ParameterError> {
        if counters > Self::MAX {
            return Err(ParameterError::LookAhead(counters));
        }
        Ok(Self(counters))
    }

    /// The number of counters, 0 to 20.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl Default for LookAhead {
    fn default() -> Self {
        Self(3)
    }
}

/// The range in which resynchronisation searches two consecutive HOTP codes: 1 to 1000 counters, default 1000
/// (RFC 4226, section 7.4 and appendix E.4).
///
/// Two codes of six digits match by chance with probability 10^-12 per counter, so this window may be much
/// wider than a look-ahead. It is bounded because each counter costs an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResyncWindow(u16);

impl ResyncWindow {
    /// The maximum window.
    pub const MAX: u16 = 1000;

    /// Takes 1 to 1000 counters.
    ///
    /// # Errors
    ///
    /// [`ParameterError::ResyncWindow`] for any other number.
    pub const fn new(counters: u16) -> Result<Self, ParameterError> {
        match counters {
            1..=Self::MAX => Ok(Self(counters)),
            _ => Err(ParameterError::ResyncWindow(counters)),
        }
    }

    /// The number of counters, 1 to 1000.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }
}

impl Default for ResyncWindow {
    fn default() -> Self {
        Self(Self::MAX)
    }
}

/// The range in which resynchronisation searches two consecutive TOTP codes: 0 to 240 steps before and after
/// the current one, default 240, which is two hours of 30-second steps.
///
/// As with [`ResyncWindow`], two codes do not match by chance. The bound limits the use of observed codes: an
/// unused pair that a device showed in the past is accepted within it.
///
/// ```
/// use otp_core::ResyncSteps;
///
/// assert_eq!(ResyncSteps::new(20)?.value(), 20);
/// assert!(ResyncSteps::new(241).is_err());
/// # Ok::<(), otp_core::ParameterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResyncSteps(u8);

impl ResyncSteps {
    /// The maximum range.
    pub const MAX: u8 = 240;
    /// Only a pair whose second code belongs to the current step.
    pub const NONE: Self = Self(0);

    /// Takes 0 to 240 steps.
    ///
    /// # Errors
    ///
    /// [`ParameterError::ResyncSteps`] above 240.
    pub const fn new(steps: u8) -> Result<Self, ParameterError> {
        if steps > Self::MAX {
            return Err(ParameterError::ResyncSteps(steps));
        }
        Ok(Self(steps))
    }

    /// The number of steps, 0 to 240.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl Default for ResyncSteps {
    fn default() -> Self {
        Self(Self::MAX)
    }
}

/// A parameter out of range. The message states the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// The number of digits is not 6, 7 or 8.
    #[error("a code has 6 to 8 digits, not {0}")]
    Digits(u8),
    /// The period is 0 or longer than five minutes.
    #[error("a period lasts 1 to {max} seconds, not {0}", max = Period::MAX_SECONDS)]
    Period(u64),
    /// One side of the window is too wide.
    #[error("a window has 0 to {max} steps on either side, not {0}", max = Window::MAX_STEPS)]
    Window(u8),
    /// The look-ahead is too long.
    #[error("a look-ahead has 0 to {max} counters, not {0}", max = LookAhead::MAX)]
    LookAhead(u8),
    /// The resynchronisation window is 0 or too wide.
    #[error("a resynchronisation window has 1 to {max} counters, not {0}", max = ResyncWindow::MAX)]
    ResyncWindow(u16),
    /// The resynchronisation range is too wide.
    #[error("a resynchronisation reaches 0 to {max} steps either way, not {0}", max = ResyncSteps::MAX)]
    ResyncSteps(u8),
}
