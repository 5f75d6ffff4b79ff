//! How many backup codes a user gets.

use std::fmt::Debug;

use super::InvalidPolicy;

/// Rules for backup codes.
pub trait BackupCodePolicy: Debug + Send + Sync + 'static {
    /// Validates the numbers of the policy. [`Mfa::new`](crate::Mfa::new) calls it.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names each number that is out of range.
    fn validate(&self) -> Result<(), InvalidPolicy> {
        Ok(())
    }

    /// The number of codes in a set; at most 50, since each costs a slow hash.
    fn set_size(&self) -> usize;

    /// Whether to tell a user with this many codes left to get new ones.
    fn is_low(&self, remaining: usize) -> bool;
}

/// Ten codes, and a warning when three or fewer are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardBackupCodes {
    /// The number of codes in a set. Default 10; 1 to 50.
    pub set_size: usize,
    /// Warn when this many codes or fewer are left. Default 3; at most `set_size`.
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
