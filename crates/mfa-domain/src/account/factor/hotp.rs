//! Counter-based one-time passwords (RFC 4226).

use otp_core::{Algorithm, Code, Digits, Hotp, LookAhead, ResyncWindow, Secret};
use serde::{Deserialize, Serialize};

use super::stored;
use crate::policy::VerificationPolicy;

/// How many counters before the next one are recognised as used.
const USED_COUNTERS: u8 = 3;

/// The parameters and progress of an HOTP device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotpDevice {
    /// Algorithm and digits.
    pub hotp: Hotp,
    /// The next counter that can be accepted, at most [`HotpDevice::MAX_COUNTER`]. It never decreases.
    pub counter: u64,
}

impl HotpDevice {
    /// The last counter: the largest signed 64-bit integer. A token that is used once a second reaches it in 292
    /// billion years.
    pub const MAX_COUNTER: u64 = i64::MAX.cast_unsigned();

    /// The device after the code of `matched` is used up; `None` after the last counter, which could never be used
    /// up.
    fn past(&self, matched: u64) -> Option<Self> {
        let counter = matched.checked_add(1).filter(|counter| *counter <= Self::MAX_COUNTER)?;
        Some(Self { hotp: self.hotp, counter })
    }

    pub(super) fn accepting(
        &self,
        code: &Code,
        secret: &Secret,
        policy: &dyn VerificationPolicy,
    ) -> Option<Self> {
        self.past(self.hotp.verify(secret, code, self.counter, policy.look_ahead())?)
    }

    pub(super) fn synchronised(
        &self,
        [first, second]: [&Code; 2],
        secret: &Secret,
        policy: &dyn VerificationPolicy,
    ) -> Option<Self> {
        let reach = policy.resync_counters();
        self.past(self.hotp.resynchronise(secret, first, second, self.counter, reach)?)
    }

    pub(super) fn has_used(&self, code: &Code, secret: &Secret) -> bool {
        let first = self.counter.saturating_sub(USED_COUNTERS.into());
        let ahead = u8::try_from(self.counter - first).unwrap_or(USED_COUNTERS).checked_sub(1);
        let ahead = ahead.and_then(|ahead| LookAhead::new(ahead).ok());
        ahead.is_some_and(|ahead| self.hotp.verify(secret, code, first, ahead).is_some())
    }

    pub(super) fn has_used_pair(&self, [first, second]: [&Code; 2], secret: &Secret) -> bool {
        let oldest = self.counter.saturating_sub(USED_COUNTERS.into());
        let Ok(window) = ResyncWindow::new(u16::from(USED_COUNTERS) - 1) else { return false };
        let matched = self.hotp.resynchronise(secret, first, second, oldest, window);
        matched.is_some_and(|second| second <= self.counter)
    }

    /// Uses up every code that `removed` has used.
    pub(super) fn skip_codes_of(&mut self, removed: &Self) {
        self.counter = self.counter.max(removed.counter);
    }
}

/// An HOTP device as [`Data`](crate::Data). Default values are omitted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HotpData {
    v: u32,
    #[serde(default = "stored::algorithm", skip_serializing_if = "stored::is_usual_algorithm")]
    algorithm: String,
    #[serde(default = "stored::digits", skip_serializing_if = "stored::is_usual_digits")]
    digits: u8,
    counter: u64,
}

impl HotpData {
    pub(super) const VERSION: u32 = 1;

    pub(super) fn of(device: &HotpDevice) -> Self {
        let HotpDevice { hotp, counter } = device;
        Self {
            v: Self::VERSION,
            algorithm: hotp.algorithm().name().to_owned(),
            digits: hotp.digits().value(),
            counter: *counter,
        }
    }

    pub(super) fn read(self) -> Option<HotpDevice> {
        let algorithm: Algorithm = self.algorithm.parse().ok()?;
        let hotp = Hotp::new(algorithm, Digits::new(self.digits).ok()?);
        Some(HotpDevice { hotp, counter: self.counter })
    }
}
