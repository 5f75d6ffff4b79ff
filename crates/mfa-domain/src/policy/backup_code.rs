//! How many backup codes a user gets.

use std::fmt::Debug;

/// Rules for backup codes.
pub trait BackupCodePolicy: Debug + Send + Sync + 'static {
    /// How many codes a set has; at most 100.
    fn set_size(&self) -> usize;

    /// Whether a user with so many codes left should be told to get new ones.
    fn is_low(&self, remaining: usize) -> bool;
}

/// Ten codes, and a warning when three or fewer are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardBackupCodes {
    /// How many codes a set has. Default 10; 1 to 100.
    pub set_size: usize,
    /// With so many left, or fewer, a warning is given. Default 3.
    pub low: usize,
}

impl Default for StandardBackupCodes {
    fn default() -> Self {
        Self { set_size: 10, low: 3 }
    }
}

impl BackupCodePolicy for StandardBackupCodes {
    fn set_size(&self) -> usize {
        self.set_size
    }

    fn is_low(&self, remaining: usize) -> bool {
        remaining <= self.low
    }
}
