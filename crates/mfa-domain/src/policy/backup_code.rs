//! How many backup codes a user gets.

use std::fmt::Debug;

use super::InvalidPolicy;

/// Rules for backup codes.
pub trait BackupCodePolicy: Debug + Send + Sync + 'static {
    /// Whether its numbers make sense; [`Mfa::new`](crate::Mfa::new) asks before it is used.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names those that do not.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// How many codes a set has; at most 50, since each costs a slow
    /// hash.
    fn set_size(&self) -> usize;

    /// Whether a user with so many codes left should be told to get new ones.
    fn is_low(&self, remaining: usize) -> bool;
}

/// Ten codes, and a warning when three or fewer are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardBackupCodes {
    /// How many codes a set has. Default 10; 1 to 50.
    pub set_size: usize,
    /// With so many left, or fewer, a warning is given. Default 3; at most `set_size`.
    pub low: usize,
}

impl Default for StandardBackupCodes {
    fn default() -> Self {
        Self { set_size: 10, low: 3 }
    }
}

impl BackupCodePolicy for StandardBackupCodes {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        InvalidPolicy::unless(&[
            ("set_size", (1..=50).contains(&self.set_size), "1 to 50"),
            ("low", self.low <= self.set_size, "at most set_size"),
        ])
    }

    fn set_size(&self) -> usize {
        self.set_size
    }

    fn is_low(&self, remaining: usize) -> bool {
        remaining <= self.low
    }
}
