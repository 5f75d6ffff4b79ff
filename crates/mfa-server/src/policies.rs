//! Converts settings to the domain's policies.

use std::sync::Arc;

use anyhow::Result;
use mfa_crypto::Argon2Settings;
use mfa_domain::Policies;
use mfa_domain::otp_core::{LookAhead, ResyncSteps, ResyncWindow, Window};
use mfa_domain::policy::{
    StandardBackupCodes, StandardChallenges, StandardEnrolment, StandardLockout, StandardPasskeys,
    StandardVerification,
};

use crate::config::Settings;
use crate::config::settings::{Argon2, Verification};

/// The policies that the settings describe.
pub(crate) fn policies(settings: &Settings) -> Result<Policies> {
    Ok(Policies {
        lockout: Arc::new(StandardLockout::from(settings.lockout.clone())),
        enrolment: Arc::new(StandardEnrolment::from(settings.enrolment.clone())),
        backup_codes: Arc::new(StandardBackupCodes::from(settings.backup_codes.clone())),
        verification: Arc::new(verification(&settings.verification)?),
        challenges: Arc::new(StandardChallenges::from(settings.challenge.clone())),
        passkeys: Arc::new(StandardPasskeys::from(&settings.webauthn)),
    })
}

fn verification(settings: &Verification) -> Result<StandardVerification> {
    Ok(StandardVerification {
        window: Window::new(settings.past_steps, settings.future_steps)?,
        drift_bound: settings.drift_bound,
        look_ahead: LookAhead::new(settings.look_ahead)?,
        resync_steps: ResyncSteps::new(settings.resync_steps)?,
        resync_counters: ResyncWindow::new(settings.resync_counters)?,
    })
}

impl From<&Argon2> for Argon2Settings {
    fn from(settings: &Argon2) -> Self {
        let Argon2 { memory_kib, iterations, lanes, concurrency } = *settings;
        Self { memory_kib, iterations, lanes, concurrency }
    }
}
