//! Requests that a guard denies, and their answers.

use thiserror::Error;

use crate::{FetchError, Refusal, StepUp, StepUpNeeded, UsedOnceError};

/// Why a [`Guard`](crate::Guard) denies a request. The text quotes nothing of the assertion, so it may be logged; it is
/// not for the client, since it would tell somebody with another's session what to try next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Denied {
    /// Nobody is logged in, or the session has no assertion.
    #[error("the session has no assertion")]
    Missing,
    /// The assertion was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The verification is not recent or not strong enough.
    #[error(transparent)]
    StepUp(#[from] StepUpNeeded),
    /// The assertion was used before.
    #[error("the assertion was used before")]
    Used,
    /// The keys cannot be fetched, so nothing is known about the assertion.
    #[error(transparent)]
    Keys(#[from] FetchError),
    /// It cannot be told whether the assertion was used before.
    #[error(transparent)]
    UsedOnce(#[from] UsedOnceError),
}

impl Denied {
    /// Whether a dependency failed, so that the request was neither admitted nor refused. Log it: somebody must mend
    /// it.
    #[must_use]
    pub const fn is_undecided(&self) -> bool {
        matches!(self, Self::Keys(_) | Self::UsedOnce(_))
    }
}

/// The answer to a denied request, for any HTTP framework. It is the same for every reason to refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// 401 if a new verification helps (RFC 9470, 3), 503 if a dependency failed.
    pub status: u16,
    /// The headers: names in lower case, each once.
    pub headers: Vec<(&'static str, String)>,
    /// A problem (RFC 9457).
    pub body: &'static str,
}

impl Answer {
    /// `WWW-Authenticate` says what verification is needed.
    pub(crate) fn step_up(step_up: &StepUp) -> Self {
        Self::new(
            401,
            ("www-authenticate", step_up.challenge()),
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"A more recent or a stronger verification is required"}"#,
        )
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            503,
            ("retry-after", "1".to_owned()),
            r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The verification could not be checked; try again"}"#,
        )
    }

    fn new(status: u16, header: (&'static str, String), body: &'static str) -> Self {
        let headers = vec![
            header,
            // A cache would answer others with it, or the same user after the verification (RFC 9111, 5.2.2.5).
            ("cache-control", "no-store".to_owned()),
            ("content-type", "application/problem+json".to_owned()),
        ];
        Self { status, headers, body }
    }
}
