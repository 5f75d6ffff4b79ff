//! Errors as RFC 9457 problem details. Only this file turns errors into HTTP.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use mfa_domain::mfa::{ChangeError, EnrolError};
use mfa_domain::otp_core::uri::Name;
use mfa_domain::ports::{InvalidRecipient, Scope};
use mfa_domain::{Assurance, CodeRejection, PolicyDenial, Timestamp, Undecided};
use serde::Serialize;
use utoipa::ToSchema;

use crate::chain::Chain;
use crate::dependencies::Dependencies;

mod code;
mod credential;

pub use code::ProblemCode;

/// An error as a caller sees it. It never contains a secret, a code or an adapter's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: ProblemCode,
    detail: Option<String>,
    errors: Vec<FieldError>,
    dependencies: Option<Dependencies>,
    at_least: Option<Assurance>,
    retry_after: Option<u64>,
}

/// An invalid field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Path of the field, or name of the parameter or header; empty for the whole body or query.
    pub field: String,
    /// What is wrong with the field.
    pub message: String,
}

/// An error (RFC 9457), with the media type `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Stable URI reference. Its last segment is the problem code.
    #[schema(example = "/problems/invalid-code")]
    r#type: String,
    /// Meaning of the problem code.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// Id of the request, also in the header `x-request-id` and in the log.
    request_id: &'a str,
    /// Details of this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// Each invalid field, for `invalid-request`.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// State of each dependency. Only from `/readyz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    dependencies: Option<Dependencies>,
    /// Least assurance of the verification that the change needs: `low`, `medium` or `high`. Only for
    /// `proof-required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "low")]
    at_least: Option<&'static str>,
}

impl Problem {
    /// A problem of this kind, without details.
    #[must_use]
    pub const fn new(code: ProblemCode) -> Self {
        Self { code, detail: None, errors: Vec::new(), dependencies: None, at_least: None, retry_after: None }
    }

    /// A request with one invalid field.
    #[must_use]
    pub fn invalid(field: &str, message: impl fmt::Display) -> Self {
        let error = FieldError { field: field.to_owned(), message: message.to_string() };
        Self { errors: vec![error], ..Self::new(ProblemCode::InvalidRequest) }
    }

    /// A call that needs a key with one of these scopes.
    pub(crate) fn forbidden(needed: &[Scope]) -> Self {
        let names: Vec<_> = needed.iter().map(|scope| scope.as_str()).collect();
        let detail = format!("the call needs an API key with the scope {}", names.join(" or "));
        Self { detail: Some(detail), ..Self::new(ProblemCode::Forbidden) }
    }

    /// A change that needs a verification of at least this assurance.
    fn proof_required(at_least: Assurance) -> Self {
        Self { at_least: Some(at_least), ..Self::new(ProblemCode::ProofRequired) }
    }

    /// The problem with details of this occurrence, which must be safe to show.
    pub(crate) fn with_detail(self, detail: String) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// A dependency that checking codes needs does not work.
    pub(crate) fn not_ready(dependencies: Dependencies) -> Self {
        Self { dependencies: Some(dependencies), ..Self::new(ProblemCode::Unavailable) }
    }

    /// Too many requests. `retry_after` is the time to wait.
    pub(crate) fn throttled(retry_after: Duration) -> Self {
        Self::for_now(ProblemCode::Throttled, retry_after)
    }

    fn for_now(code: ProblemCode, retry_after: Duration) -> Self {
        // Rounded up, since a retry before the time is refused again.
        let seconds = retry_after.as_micros().div_ceil(1_000_000);
        Self { retry_after: Some(u64::try_from(seconds).unwrap_or(u64::MAX).max(1)), ..Self::new(code) }
    }

    /// The problem for a rejected code.
    pub(crate) fn rejection(rejection: CodeRejection, now: Timestamp) -> Self {
        let code = match rejection {
            CodeRejection::Invalid | CodeRejection::Replayed { .. } => ProblemCode::InvalidCode,
            CodeRejection::Malformed => ProblemCode::MalformedCode,
            CodeRejection::Locked { until } => return Self::for_now(ProblemCode::Locked, until.since(now)),
            CodeRejection::Disabled => ProblemCode::Disabled,
            CodeRejection::NotEnrolled => ProblemCode::NotEnrolled,
            CodeRejection::AlreadyActive => ProblemCode::AlreadyActive,
            CodeRejection::UnknownFactor | CodeRejection::UnknownChallenge => ProblemCode::NotFound,
            CodeRejection::ChallengeOver => ProblemCode::ChallengeOver,
            CodeRejection::Credential(refusal) => return Self::credential(refusal),
            CodeRejection::UnknownCredential => ProblemCode::UnknownCredential,
            CodeRejection::NoResendLeft { until } => {
                let detail = "the challenge has reached its limit of resends; begin another challenge";
                return Self {
                    detail: Some(detail.to_owned()),
                    ..Self::for_now(ProblemCode::Throttled, until.since(now))
                };
            }
            _ => ProblemCode::Internal,
        };
        Self::new(code)
    }

    /// The problem for a factor that could not be enrolled.
    pub(crate) fn enrolment(error: EnrolError, now: Timestamp) -> Self {
        match error {
            EnrolError::Refused(PolicyDenial::Locked { until }) => {
                Self::for_now(ProblemCode::Locked, until.since(now))
            }
            error => error.into(),
        }
    }

    /// The problem for an error response that the framework made.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => ProblemCode::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => ProblemCode::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::PayloadTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemCode::UnsupportedMediaType,
            StatusCode::UNAUTHORIZED => ProblemCode::Unauthorized,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => ProblemCode::Unavailable,
            status if status.is_client_error() => ProblemCode::InvalidRequest,
            _ => ProblemCode::Internal,
        };
        Self::new(code)
    }

    /// The kind of problem.
    #[must_use]
    pub const fn code(&self) -> ProblemCode {
        self.code
    }

    /// The value of `Retry-After`, in seconds.
    pub(crate) const fn retry_after(&self) -> Option<u64> {
        match self.code {
            ProblemCode::Unavailable | ProblemCode::Busy => Some(1),
            _ => self.retry_after,
        }
    }

    pub(crate) fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            r#type: format!("/problems/{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            request_id,
            detail: self.detail.as_deref(),
            errors: &self.errors,
            dependencies: self.dependencies,
            at_least: self.at_least.map(Assurance::as_str),
        }
    }
}

/// Examples for the OpenAPI document.
impl Problem {
    /// A problem of this kind, with its usual members.
    pub(crate) fn example_of(code: ProblemCode) -> Self {
        match code {
            ProblemCode::InvalidRequest => Self::invalid("label", "must not be empty"),
            ProblemCode::Forbidden => Self::forbidden(&[Scope::Admin]),
            ProblemCode::ProofRequired => Self::proof_required(Assurance::Low)
                .with_detail("the proof does not count: the assertion is about another user".to_owned()),
            code => Self::new(code),
        }
    }

    /// The problem as JSON.
    pub(crate) fn example(&self) -> serde_json::Value {
        serde_json::to_value(self.body("3f2b8c1e9a4d4e0f8b7a6c5d4e3f2a1b")).unwrap_or_default()
    }
}

impl From<ProblemCode> for Problem {
    fn from(code: ProblemCode) -> Self {
        Self::new(code)
    }
}

impl From<Undecided> for Problem {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::Busy => return Self::new(ProblemCode::Busy),
            Undecided::HandleTaken => return Self::new(ProblemCode::HandleTaken),
            _ => {}
        }
        tracing::error!(error = %Chain(&undecided), "could not complete a request");
        Self::new(ProblemCode::Unavailable)
    }
}

impl From<PolicyDenial> for Problem {
    fn from(denial: PolicyDenial) -> Self {
        let code = match denial {
            PolicyDenial::ProofRequired { at_least } => return Self::proof_required(at_least),
            PolicyDenial::UnknownFactor => ProblemCode::NotFound,
            PolicyDenial::NotEnrolled => ProblemCode::NotEnrolled,
            PolicyDenial::Disabled => ProblemCode::Disabled,
            PolicyDenial::Locked { .. } => ProblemCode::Locked,
            PolicyDenial::OperatorsOnly => return Self::forbidden(&[Scope::Admin]),
            PolicyDenial::TooManyFactors { .. } => ProblemCode::TooManyFactors,
            PolicyDenial::KindNotAdmitted => return Self::invalid("kind", denial),
            PolicyDenial::CounterTooLarge => return Self::invalid("counter", denial),
            PolicyDenial::DuplicateSecret => return Self::invalid("secret", denial),
            PolicyDenial::DuplicateCredential => ProblemCode::HandleTaken,
            _ => ProblemCode::Internal,
        };
        Self::new(code)
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refusal) => refusal.into(),
            ChangeError::Undecided(undecided) => undecided.into(),
            _ => ProblemCode::Internal.into(),
        }
    }
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Refused(refusal) => refusal.into(),
            EnrolError::Secret(secret) => Self::invalid("secret", secret),
            EnrolError::Name(error) if error.name() == Some(Name::Account) => {
                Self::invalid("account_name", error)
            }
            EnrolError::Name(error) => Self::invalid("issuer", error),
            EnrolError::Address(InvalidRecipient(why)) => {
                Self { detail: Some(why), ..Self::new(ProblemCode::DeliveryRefused) }
            }
            EnrolError::Credential(refusal) => Self::credential(refusal),
            EnrolError::Undecided(undecided) => undecided.into(),
            _ => ProblemCode::Internal.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.title())
    }
}

impl Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    /// The status with the problem as an extension. The envelope writes the body, since it knows the request id.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        response.extensions_mut().insert(self.clone());
        response
    }
}

#[cfg(test)]
mod tests {
    use mfa_domain::ports::SignerError;

    use super::*;

    #[test]
    fn what_others_did_first_is_no_outage_and_a_signer_that_fails_is_one() {
        let problem = |undecided: Undecided| {
            let code = Problem::from(undecided).code();
            (code.as_str(), code.status().as_u16())
        };
        assert_eq!(problem(Undecided::HandleTaken), ("handle-taken", 409));
        assert_eq!(problem(Undecided::Busy), ("busy", 503));
        assert_eq!(problem(SignerError::new("broken").into()), ("unavailable", 503));
    }

    #[test]
    fn a_challenge_that_is_over_is_told_from_one_that_never_was() {
        let problem = |rejection| {
            let code = Problem::rejection(rejection, Timestamp::default()).code();
            (code.as_str(), code.status().as_u16())
        };
        assert_eq!(problem(CodeRejection::ChallengeOver), ("challenge-over", 410));
        assert_eq!(problem(CodeRejection::UnknownChallenge), ("not-found", 404));
        assert_eq!(problem(CodeRejection::UnknownFactor), ("not-found", 404));
        let until = Timestamp::from_unix_seconds(90);
        let refused = Problem::rejection(CodeRejection::NoResendLeft { until }, Timestamp::default());
        assert_eq!((refused.code(), refused.retry_after()), (ProblemCode::Throttled, Some(90)));
    }
}
