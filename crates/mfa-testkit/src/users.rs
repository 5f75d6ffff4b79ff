//! Test users with a device.

use mfa_domain::mfa::{Confirmation, NewFactor, PlainBackupCodes};
use mfa_domain::otp_core::{Hotp, Secret, Token, Totp};
use mfa_domain::{AccountKey, Actor, FactorId, Label, Mfa, SubmittedCode, Timestamp, Verdict};

use crate::Violation;

/// A user with an active TOTP factor.
#[derive(Debug)]
pub struct TotpUser {
    /// The account.
    pub key: AccountKey,
    /// The factor. The code of the step in which it was confirmed is used.
    pub factor: FactorId,
    /// The parameters of the app's codes.
    pub totp: Totp,
    /// The secret in the app.
    pub secret: Secret,
    /// The backup codes as shown at enrolment; empty if this is not the first factor.
    pub backup_codes: Vec<String>,
}

/// A user with an active HOTP factor.
#[derive(Debug)]
pub struct HotpUser {
    /// The account.
    pub key: AccountKey,
    /// The factor. The code of counter 0 confirmed it and is used.
    pub factor: FactorId,
    /// The parameters of the token's codes.
    pub hotp: Hotp,
    /// The secret in the token.
    pub secret: Secret,
    /// The backup codes as shown at enrolment; empty if this is not the first factor.
    pub backup_codes: Vec<String>,
}

/// Parses a code as the HTTP layer does.
///
/// # Panics
/// If the text has the form of no code.
#[must_use]
pub fn submitted(text: &str) -> SubmittedCode {
    SubmittedCode::parse(text).unwrap()
}

impl TotpUser {
    /// Enrols a TOTP factor with default parameters and confirms it at the clock's time.
    ///
    /// # Errors
    /// [`Violation`] if a use case refuses or fails.
    pub async fn enrol(mfa: &Mfa, key: &AccountKey) -> Result<Self, Violation> {
        let totp = Totp::default();
        let now = mfa.ports().clock.now();
        let code = |secret: &Secret| totp_code(totp, secret, now);
        let (factor, secret, backup_codes) = enrol(mfa, key, Token::Totp(totp), code).await?;
        Ok(Self { key: key.clone(), factor, totp, secret, backup_codes })
    }

    /// The code that the app shows at `now`.
    #[must_use]
    pub fn code(&self, now: Timestamp) -> String {
        totp_code(self.totp, &self.secret, now)
    }

    /// `count` codes that are wrong at `now` and in any window around it.
    #[must_use]
    pub fn wrong_codes(&self, now: Timestamp, count: usize) -> Vec<String> {
        let step = self.totp.step(now.unix_seconds()).unwrap();
        let around = step.saturating_sub(20)..=step + 20;
        let right: Vec<_> = around.map(|step| self.totp.generate_step(&self.secret, step)).collect();
        let candidates = (0..1_000_000).map(|number| format!("{number:06}"));
        candidates.filter(|code| right.iter().all(|right| right.as_str() != code)).take(count).collect()
    }
}

impl HotpUser {
    /// Enrols an HOTP factor with default parameters and confirms it with the code of counter 0.
    ///
    /// # Errors
    /// [`Violation`] if a use case refuses or fails.
    pub async fn enrol(mfa: &Mfa, key: &AccountKey) -> Result<Self, Violation> {
        let hotp = Hotp::default();
        let code = |secret: &Secret| hotp.generate(secret, 0).as_str().to_owned();
        let (factor, secret, backup_codes) = enrol(mfa, key, Token::Hotp { hotp, counter: 0 }, code).await?;
        Ok(Self { key: key.clone(), factor, hotp, secret, backup_codes })
    }

    /// The code of `counter`.
    #[must_use]
    pub fn code(&self, counter: u64) -> String {
        self.hotp.generate(&self.secret, counter).as_str().to_owned()
    }
}

async fn enrol(
    mfa: &Mfa,
    key: &AccountKey,
    token: Token,
    code: impl FnOnce(&Secret) -> String,
) -> Result<(FactorId, Secret, Vec<String>), Violation> {
    let actor = Actor::user("testkit");
    let label = Label::new("Device").unwrap();
    let enrolment = mfa.begin_enrolment(key, &actor, NewFactor::new(label, token)).await?;
    let (id, secret) = (enrolment.factor.id, enrolment.secret);
    match mfa.confirm(key, &actor, id, &submitted(&code(&secret))).await? {
        Verdict::Accepted(Confirmation { backup_codes, .. }) => {
            let codes = backup_codes.iter().flat_map(PlainBackupCodes::codes);
            Ok((id, secret, codes.map(|code| code.to_display().to_string()).collect()))
        }
        Verdict::Rejected(rejection) => {
            Err(Violation::new(format!("the first code of a new factor was refused: {rejection}")))
        }
    }
}

fn totp_code(totp: Totp, secret: &Secret, now: Timestamp) -> String {
    totp.generate(secret, now.unix_seconds()).unwrap().as_str().to_owned()
}
