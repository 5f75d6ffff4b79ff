//! What passkeys must do.

use std::fmt::Debug;

use super::InvalidPolicy;
use crate::passkey::{ResidentKey, UserVerification};

/// What registrations and authentications with passkeys ask for, and what is refused.
///
/// Each value drives both the options for the browser and the check of what it returns.
pub trait PasskeyPolicy: Debug + Send + Sync + 'static {
    /// Checks the values of this policy. Called by [`Mfa::new`](crate::Mfa::new).
    ///
    /// # Errors
    /// [`InvalidPolicy`] names each value outside its range.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// Whether authenticators ask for a PIN or a biometric. With
    /// [`Required`](UserVerification::Required), a credential without it is refused. Otherwise possession alone is
    /// enough, also without a user name: look at
    /// [`Verification::user_verified`](crate::Verification::user_verified).
    fn user_verification(&self) -> UserVerification;

    /// Whether new credentials can be used without a user name. With [`Required`](ResidentKey::Required), a credential
    /// that the browser says cannot is refused.
    fn resident_key(&self) -> ResidentKey;

    /// Whether a credential whose signature counter did not grow is refused. It is audited in any case (Web
    /// Authentication Level 3, 6.1.1).
    fn refuses_clones(&self) -> bool;
}

/// The default policy: user verification and resident keys are preferred, and a counter that does not grow is audited
/// only, since some authenticators restore old counters from backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandardPasskeys {
    /// [`PasskeyPolicy::user_verification`].
    pub user_verification: UserVerification,
    /// [`PasskeyPolicy::resident_key`].
    pub resident_key: ResidentKey,
    /// [`PasskeyPolicy::refuses_clones`]; default `false`.
    pub refuse_clones: bool,
}

impl PasskeyPolicy for StandardPasskeys {
    fn user_verification(&self) -> UserVerification {
        self.user_verification
    }

    fn resident_key(&self) -> ResidentKey {
        self.resident_key
    }

    fn refuses_clones(&self) -> bool {
        self.refuse_clones
    }
}
