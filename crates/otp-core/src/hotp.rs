//! Counter-based one-time passwords.

use crate::algorithm::Algorithm;
use crate::code::Code;
use crate::mac::Keyed;
use crate::parameters::{Digits, LookAhead, ResyncWindow};
use crate::secret::Secret;

/// HOTP, the counter-based one-time password of RFC 4226: its parameters, without secret or counter.
///
/// The caller stores the counter. After a match, the next expected counter is the matched one plus one; a
/// rejected code never changes it.
///
/// ```
/// use otp_core::{Code, Hotp, LookAhead, Secret};
///
/// let secret = Secret::from_bytes(b"12345678901234567890")?;
/// let hotp = Hotp::default();
/// assert_eq!(hotp.generate(&secret, 3).as_str(), "969429");
///
/// let typed = Code::parse("969429")?;
/// assert_eq!(hotp.verify(&secret, &typed, 1, LookAhead::new(3)?), Some(3));
/// assert_eq!(hotp.verify(&secret, &typed, 4, LookAhead::new(3)?), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hotp {
    algorithm: Algorithm,
    digits: Digits,
}

impl Hotp {
    /// HOTP with these parameters. RFC 4226 itself uses [`Algorithm::Sha1`], as [`Hotp::default`] does.
    #[must_use]
    pub const fn new(algorithm: Algorithm, digits: Digits) -> Self {
        Self { algorithm, digits }
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

    /// The code of a counter (RFC 4226, section 5.3).
    #[must_use]
    pub fn generate(&self, secret: &Secret, counter: u64) -> Code {
        let value = Keyed::new(self.algorithm, secret).value(counter, self.digits);
        Code::from_value(value, self.digits)
    }

    /// Returns the lowest counter from `counter` to `counter + look_ahead` that gives this code (RFC 4226,
    /// section 7.4), or `None`.
    ///
    /// Earlier counters never match, so a used or skipped code stays invalid. A code with another number of
    /// digits is rejected before any HMAC. Every counter is evaluated, in constant time for a given
    /// look-ahead. The search ends at `u64::MAX`, which can match but has no successor: a caller MUST use a
    /// checked addition for the next counter.
    #[must_use]
    pub fn verify(&self, secret: &Secret, code: &Code, counter: u64, look_ahead: LookAhead) -> Option<u64> {
        if code.digits() != self.digits {
            return None;
        }
        let last = counter.saturating_add(u64::from(look_ahead.value()));
        Keyed::new(self.algorithm, secret).lowest_match(counter..=last, code, None)
    }

    /// Resynchronises a token that ran ahead, by two consecutive codes (RFC 4226, section 7.4 and appendix
    /// E.4). Returns the counter of the *second* code, so that the next expected counter is this plus one; or
    /// `None`.
    ///
    /// The first code is searched at `counter` and at the `window` counters after it, never before it. The
    /// lowest pair wins. Codes with another number of digits are rejected before any HMAC.
    ///
    /// ```
    /// use otp_core::{Code, Hotp, ResyncWindow, Secret};
    ///
    /// let secret = Secret::from_bytes(b"12345678901234567890")?;
    /// let (first, second) = (Code::parse("520489")?, Code::parse("403154")?); // counters 9 and 10
    /// let found = Hotp::default().resynchronise(&secret, &first, &second, 0, ResyncWindow::default());
    /// assert_eq!(found, Some(10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn resynchronise(
        &self,
        secret: &Secret,
        first: &Code,
        second: &Code,
        counter: u64,
        window: ResyncWindow,
    ) -> Option<u64> {
        if first.digits() != self.digits || second.digits() != self.digits {
            return None;
        }
        let last = counter.saturating_add(u64::from(window.value()));
        Keyed::new(self.algorithm, secret).lowest_pair(counter..=last, [first, second], None)
    }
}
