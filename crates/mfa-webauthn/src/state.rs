//! What a ceremony keeps between its two steps.

use mfa_domain::passkey::UserVerification;
use mfa_domain::ports::WebauthnError;
use serde::{Deserialize, Serialize};
use webauthn_rs_core::proto::RegistrationState as LibraryState;

/// Raised whenever the meaning of a member changes. Ceremonies that are open at that moment fail.
const VERSION: u8 = 1;

/// The state of a registration.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    v: u8,
    /// In base64url, as in client data.
    pub(crate) challenge: String,
    /// In base64url.
    pub(crate) user_handle: String,
    user_verification: String,
    /// What the library needs. It is read by the library alone.
    pub(crate) library: LibraryState,
}

/// The state of an authentication.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authentication<'a> {
    v: u8,
    /// In base64url, as in client data.
    pub(crate) challenge: &'a str,
    user_verification: &'a str,
}

impl Registration {
    pub(crate) fn new(
        challenge: String,
        user_handle: String,
        user_verification: UserVerification,
        library: LibraryState,
    ) -> Self {
        let user_verification = user_verification.as_str().to_owned();
        Self { v: VERSION, challenge, user_handle, user_verification, library }
    }

    pub(crate) fn read(state: &[u8]) -> Result<Self, WebauthnError> {
        let read: Self = serde_json::from_slice(state).map_err(WebauthnError::new)?;
        of_this_version(read.v).map(|()| read)
    }

    pub(crate) fn user_verification_required(&self) -> bool {
        is_required(&self.user_verification)
    }
}

impl<'a> Authentication<'a> {
    pub(crate) const fn new(challenge: &'a str, user_verification: UserVerification) -> Self {
        Self { v: VERSION, challenge, user_verification: user_verification.as_str() }
    }

    pub(crate) fn read(state: &'a [u8]) -> Result<Self, WebauthnError> {
        let read: Self = serde_json::from_slice(state).map_err(WebauthnError::new)?;
        of_this_version(read.v).map(|()| read)
    }

    pub(crate) fn user_verification_required(&self) -> bool {
        is_required(self.user_verification)
    }
}

fn of_this_version(version: u8) -> Result<(), WebauthnError> {
    if version == VERSION {
        Ok(())
    } else {
        Err(WebauthnError::new("the ceremony was begun by another version"))
    }
}

/// A policy that is not known counts as the strictest.
fn is_required(user_verification: &str) -> bool {
    let lax = [UserVerification::Preferred, UserVerification::Discouraged];
    !lax.iter().any(|lax| lax.as_str() == user_verification)
}
