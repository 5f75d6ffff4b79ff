//! A minimal authenticator app.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use otp_core::{Hotp, Secret, Totp};
use serde_json::Value;

/// The factor on a test user's device.
#[derive(Debug)]
pub struct Authenticator {
    /// The id of the factor.
    pub factor: String,
    secret: Secret,
    near: Mutex<Near>,
}

/// The codes of a device near the present, which take long to compute.
#[derive(Debug, Default)]
struct Near {
    /// The step of the present.
    step: u64,
    codes: HashSet<String>,
}

impl Authenticator {
    /// Reads the answer of `POST …/factors`.
    #[must_use]
    pub fn scan(enrolment: &Value) -> Self {
        let otp = enrolment.get("totp").or_else(|| enrolment.get("hotp")).expect("an enrolment");
        Self {
            factor: enrolment["factor"]["id"].as_str().expect("an id").to_owned(),
            secret: Secret::from_base32(otp["secret"].as_str().expect("a secret")).expect("base32"),
            near: Mutex::default(),
        }
    }

    /// The secret in base32.
    #[must_use]
    pub fn secret(&self) -> String {
        self.secret.to_base32().to_string()
    }

    /// The TOTP code `seconds` from now, with the defaults of authenticator apps.
    #[must_use]
    pub fn totp(&self, seconds: i64) -> String {
        let at = now().checked_add_signed(seconds).expect("a time");
        Totp::default().generate(&self.secret, at).expect("a time").as_str().to_owned()
    }

    /// The HOTP code of `counter`.
    #[must_use]
    pub fn hotp(&self, counter: u64) -> String {
        Hotp::default().generate(&self.secret, counter).as_str().to_owned()
    }

    /// Whether a code is that of one of these counters. With six digits, one in a million matches by chance.
    #[must_use]
    pub fn shows(&self, code: &str, mut counters: Range<u64>) -> bool {
        counters.any(|counter| self.hotp(counter) == code)
    }

    /// A six-digit code that is none of this device's next or last hundred.
    #[must_use]
    pub fn wrong(&self, number: usize) -> String {
        let mut near = self.near.lock().expect("no panic while it is held");
        let step = now() / 30;
        if near.step != step {
            let steps = (-100..=100).map(|step| self.totp(30 * step));
            let codes = steps.chain((0..100).map(|counter| self.hotp(counter))).collect();
            *near = Near { step, codes };
        }
        let mut candidates = (0..1_000_000_usize).map(|i| format!("{:06}", (number * 7919 + i) % 1_000_000));
        candidates.find(|code| !near.codes.contains(code)).expect("most codes are wrong")
    }
}

/// The current time in Unix seconds.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the server under test runs on the real clock")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
