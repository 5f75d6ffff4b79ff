//! A throttle that is down.

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::{Charge, Quota};

/// A throttle that cannot be reached: it fails at once, or never answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailingThrottle {
    /// Each charge is an error.
    AtOnce,
    /// No charge ever ends.
    Silently,
}

#[async_trait]
impl Throttle for FailingThrottle {
    async fn charge(&self, _: &ThrottleKey, _: Quota, _: Timestamp) -> Result<Charge, StoreError> {
        match self {
            Self::AtOnce => Err(StoreError::new("told to fail")),
            Self::Silently => std::future::pending().await,
        }
    }
}
