//! A throttle that is unavailable.

use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{StoreError, Throttle, ThrottleKey};
use mfa_domain::quota::{Charge, Quota};

/// An unavailable throttle: it fails at once, or never answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailingThrottle {
    /// Each charge fails.
    AtOnce,
    /// No charge completes.
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
