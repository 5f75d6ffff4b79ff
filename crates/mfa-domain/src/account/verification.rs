//! How a user was verified.

use std::time::Duration;

use super::{Factor, FactorKind};
use crate::{FactorId, Passkey, Timestamp};

/// How and when a user was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The time of the verification.
    pub at: Timestamp,
    /// The factor; `None` for a backup code.
    pub factor: Option<FactorId>,
    /// The stable name of the kind of factor, or `backup_code`.
    pub kind: String,
    /// Authentication method references (RFC 8176).
    pub amr: &'static [&'static str],
    /// Whether the device verified its user, by a PIN or a fingerprint (Web Authentication, 6.1).
    pub user_verified: bool,
    /// Whether it resists phishing, that is, cannot be typed into a wrong page (NIST SP 800-63B-4, 3.2.5).
    pub phishing_resistant: bool,
    /// The assurance of the verification.
    pub assurance: Assurance,
}

/// The assurance of a verification, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Assurance {
    /// A code that others may have seen: written down, or sent by mail or SMS (NIST SP 800-63B-4, 3.1.2 and 3.1.3).
    Low,
    /// Possession of a device: a one-time password (NIST SP 800-63B-4, 3.1.4).
    Medium,
    /// Possession of a device, and resistance to phishing (NIST SP 800-63B-4, 3.2.5).
    High,
}

/// The last verification of an account at each assurance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verifications {
    /// With [`Assurance::Low`].
    pub low: Option<Timestamp>,
    /// With [`Assurance::Medium`].
    pub medium: Option<Timestamp>,
    /// With [`Assurance::High`].
    pub high: Option<Timestamp>,
}

impl Verification {
    pub(super) fn by_factor(factor: &Factor, at: Timestamp) -> Self {
        let (amr, assurance): (&'static [&'static str], _) = match factor.kind() {
            FactorKind::Totp | FactorKind::Hotp => (&["otp"], Assurance::Medium),
            FactorKind::Email => (&["otp"], Assurance::Low),
            FactorKind::Passkey | FactorKind::SigningKey | FactorKind::Unknown(_) => (&[], Assurance::Low),
        };
        Self {
            at,
            factor: Some(factor.id),
            kind: factor.kind().as_str().to_owned(),
            amr,
            user_verified: false,
            phishing_resistant: false,
            assurance,
        }
    }

    /// By a passkey. Says what is known: `hwk` of an authenticator whose model a trusted root attests, `swk` of a
    /// passkey that can be on several devices, `user` since each assertion needs a gesture, `mfa` if a PIN or a
    /// biometric unlocked it (RFC 8176, 2).
    pub(super) fn by_passkey(factor: &Factor, passkey: &Passkey, user_verified: bool, at: Timestamp) -> Self {
        let hardware = passkey.attestation.trusted && passkey.backup_eligible == Some(false);
        let amr: &'static [&'static str] =
            match (hardware, passkey.backup_eligible == Some(true), user_verified) {
                (true, _, true) => &["hwk", "user", "mfa"],
                (true, _, false) => &["hwk", "user"],
                (false, true, true) => &["swk", "user", "mfa"],
                (false, true, false) => &["swk", "user"],
                (false, false, true) => &["user", "mfa"],
                (false, false, false) => &["user"],
            };
        Self {
            at,
            factor: Some(factor.id),
            kind: factor.kind().as_str().to_owned(),
            amr,
            user_verified,
            phishing_resistant: true,
            assurance: Assurance::High,
        }
    }

    pub(super) fn by_backup_code(at: Timestamp) -> Self {
        Self {
            at,
            factor: None,
            kind: "backup_code".to_owned(),
            amr: &["otp"],
            user_verified: false,
            phishing_resistant: false,
            assurance: Assurance::Low,
        }
    }
}

impl Assurance {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl Verifications {
    /// Records a verification.
    pub const fn note(&mut self, assurance: Assurance, at: Timestamp) {
        let latest = match assurance {
            Assurance::Low => &mut self.low,
            Assurance::Medium => &mut self.medium,
            Assurance::High => &mut self.high,
        };
        *latest = Some(at);
    }

    /// The last verification with exactly this assurance.
    #[must_use]
    pub const fn at(&self, assurance: Assurance) -> Option<Timestamp> {
        match assurance {
            Assurance::Low => self.low,
            Assurance::Medium => self.medium,
            Assurance::High => self.high,
        }
    }

    /// Whether there was a verification of at least this assurance, at most `age` ago. One in the future, after the
    /// clock was set back, does not count.
    #[must_use]
    pub fn within(&self, age: Duration, at_least: Assurance, now: Timestamp) -> bool {
        [(Assurance::Low, self.low), (Assurance::Medium, self.medium), (Assurance::High, self.high)]
            .into_iter()
            .filter(|(assurance, _)| *assurance >= at_least)
            .filter_map(|(_, at)| at)
            .any(|at| at <= now && now.since(at) <= age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stronger_verification_proves_what_a_weaker_one_does_and_not_the_other_way() {
        let (age, now) = (Duration::from_mins(5), Timestamp::from_unix_seconds(1000));
        let proved = |assurance, at: u64| {
            let mut verifications = Verifications::default();
            verifications.note(assurance, Timestamp::from_unix_seconds(at));
            [Assurance::Low, Assurance::Medium, Assurance::High]
                .map(|at_least| verifications.within(age, at_least, now))
        };
        assert_eq!(proved(Assurance::Low, 1000), [true, false, false]);
        assert_eq!(proved(Assurance::Medium, 700), [true, true, false]);
        assert_eq!(proved(Assurance::High, 700), [true; 3]);
        assert_eq!(proved(Assurance::High, 699), [false; 3]);
        assert_eq!(proved(Assurance::High, 1001), [false; 3]);
    }

    #[test]
    fn a_later_weak_verification_does_not_hide_an_earlier_strong_one() {
        let at = Timestamp::from_unix_seconds;
        let mut verifications = Verifications::default();
        verifications.note(Assurance::High, at(900));
        verifications.note(Assurance::Low, at(1000));
        assert!(verifications.within(Duration::from_secs(100), Assurance::High, at(1000)));
        assert!(!verifications.within(Duration::from_secs(99), Assurance::High, at(1000)));
    }
}
