//! Errors as RFC 9457 problem details: the one place where they become HTTP.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use mfa_domain::mfa::{ChangeError, EnrolError};
use mfa_domain::otp_core::uri::Name;
use mfa_domain::ports::{InvalidRecipient, Scope};
use mfa_domain::{Assurance, CodeRejection, PolicyDenial, Timestamp, Undecided};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::chain::Chain;
use crate::dependencies::Dependencies;

/// What went wrong, as a caller hears it. It never holds a secret, a code or an adapter's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: ProblemCode,
    detail: Option<String>,
    errors: Vec<FieldError>,
    dependencies: Option<Dependencies>,
    at_least: Option<Assurance>,
    retry_after: Option<u64>,
}

/// The kinds of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProblemCode {
    /// Not the form of any code that this user could have; it costs no attempt.
    MalformedCode,
    /// Well-formed and wrong, replayed, or spent: one answer for all three; a wrong one costs an attempt.
    InvalidCode,
    /// The account's budget is spent; right and wrong codes get the same answer.
    Locked,
    /// Too many requests of one kind; no code was looked at.
    Throttled,
    /// Too many failures in a row: factors must be bound anew, or an operator resets.
    Disabled,
    /// The user has no active factor.
    NotEnrolled,
    /// The factor to confirm is active.
    AlreadyActive,
    /// Not this user's, or not there: one answer for both.
    NotFound,
    /// What was answered was answered, denied or cancelled before, was guessed at too often, or has expired.
    ChallengeOver,
    /// Nothing can be sent to the address.
    DeliveryRefused,
    /// The change needs a fresh verification by an existing factor.
    ProofRequired,
    /// The user has as many factors as allowed.
    TooManyFactors,
    /// What was to be bound, such as a passkey, is bound to another user of the tenant.
    HandleTaken,
    /// The request is not as it must be; `errors` says where.
    InvalidRequest,
    /// The API key is missing or wrong.
    Unauthorized,
    /// The API key lacks the scope.
    Forbidden,
    /// The path is there, but not for this method.
    MethodNotAllowed,
    /// The request is not valid HTTP/1.
    MalformedRequest,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The head of the request is larger than 8 KiB or has too many fields.
    HeadTooLarge,
    /// The body is larger than 16 KiB.
    PayloadTooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// A dependency is down, or time ran out; nothing was accepted.
    Unavailable,
    /// Too many conflicts; nothing was accepted.
    Busy,
    /// A defect of ours; nothing was accepted.
    Internal,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field, as a path; empty for the body as a whole.
    pub field: String,
    /// What it must be.
    pub message: String,
}

/// A problem as it is sent, with the media type `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// A stable URI reference; its last segment is the problem's code.
    #[schema(example = "/problems/invalid-code")]
    r#type: String,
    /// What the code means.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The same id as in the header `x-request-id` and in the log.
    request_id: &'a str,
    /// More about this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// Of `/readyz`: which dependency it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    dependencies: Option<Dependencies>,
    /// Of `proof-required`: how much the verification must prove, `low`, `medium` or `high`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "low")]
    at_least: Option<&'static str>,
}

impl ProblemCode {
    /// Every kind.
    pub(crate) const ALL: [Self; 25] = [
        Self::MalformedCode,
        Self::InvalidCode,
        Self::Locked,
        Self::Throttled,
        Self::Disabled,
        Self::NotEnrolled,
        Self::AlreadyActive,
        Self::NotFound,
        Self::ChallengeOver,
        Self::DeliveryRefused,
        Self::ProofRequired,
        Self::TooManyFactors,
        Self::HandleTaken,
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::MethodNotAllowed,
        Self::MalformedRequest,
        Self::RequestTimeout,
        Self::HeadTooLarge,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::Unavailable,
        Self::Busy,
        Self::Internal,
    ];

    /// The stable code, the HTTP status and what it means.
    const fn parts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedCode => (
                "malformed-code",
                S::UNPROCESSABLE_ENTITY,
                "Not the form of any code that this user could have",
            ),
            Self::InvalidCode => ("invalid-code", S::UNAUTHORIZED, "The code is not valid"),
            Self::Locked => ("locked", S::TOO_MANY_REQUESTS, "Too many wrong codes; try again later"),
            Self::Throttled => {
                ("throttled", S::TOO_MANY_REQUESTS, "Too many requests of one kind; try again later")
            }
            Self::Disabled => {
                ("disabled", S::FORBIDDEN, "Too many wrong codes in a row; factors must be bound anew")
            }
            Self::NotEnrolled => ("not-enrolled", S::CONFLICT, "The user has no active factor"),
            Self::AlreadyActive => ("already-active", S::CONFLICT, "The factor is active already"),
            Self::NotFound => ("not-found", S::NOT_FOUND, "Not there"),
            Self::ChallengeOver => {
                ("challenge-over", S::GONE, "It was answered, denied or cancelled, or has expired")
            }
            Self::DeliveryRefused => {
                ("delivery-refused", S::UNPROCESSABLE_ENTITY, "Nothing can be sent to the address")
            }
            Self::ProofRequired => (
                "proof-required",
                S::FORBIDDEN,
                "The change needs a fresh verification by an existing factor",
            ),
            Self::TooManyFactors => {
                ("too-many-factors", S::CONFLICT, "The user has as many factors as allowed")
            }
            Self::HandleTaken => ("handle-taken", S::CONFLICT, "It is bound to another user already"),
            Self::InvalidRequest => {
                ("invalid-request", S::UNPROCESSABLE_ENTITY, "The request is not as it must be")
            }
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, "The API key is missing or wrong"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "The API key lacks the scope"),
            Self::MethodNotAllowed => ("method-not-allowed", S::METHOD_NOT_ALLOWED, "Not with this method"),
            Self::MalformedRequest => {
                ("malformed-request", S::BAD_REQUEST, "The request is not valid HTTP/1")
            }
            Self::RequestTimeout => {
                ("request-timeout", S::REQUEST_TIMEOUT, "The request did not arrive in time")
            }
            Self::HeadTooLarge => (
                "head-too-large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The head of the request is larger than 8 KiB or has too many fields",
            ),
            Self::PayloadTooLarge => {
                ("payload-too-large", S::PAYLOAD_TOO_LARGE, "The body is larger than 16 KiB")
            }
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", S::UNSUPPORTED_MEDIA_TYPE, "The body must be application/json")
            }
            Self::Unavailable => (
                "unavailable",
                S::SERVICE_UNAVAILABLE,
                "A dependency is down, or time ran out; nothing was accepted",
            ),
            Self::Busy => ("busy", S::SERVICE_UNAVAILABLE, "Too many conflicts; nothing was accepted"),
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "A defect; nothing was accepted"),
        }
    }

    /// The stable code, the last segment of the problem's `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.parts().1
    }

    /// What it means, as the problem's `title`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.parts().2
    }
}

impl Problem {
    /// A problem of that kind, with nothing more to say.
    #[must_use]
    pub const fn new(code: ProblemCode) -> Self {
        Self { code, detail: None, errors: Vec::new(), dependencies: None, at_least: None, retry_after: None }
    }

    /// A request that is wrong at `field`.
    #[must_use]
    pub fn invalid(field: &str, message: impl fmt::Display) -> Self {
        let error = FieldError { field: field.to_owned(), message: message.to_string() };
        Self { errors: vec![error], ..Self::new(ProblemCode::InvalidRequest) }
    }

    /// A call that needs a key with one of those scopes.
    pub(crate) fn forbidden(needed: &[Scope]) -> Self {
        let names: Vec<_> = needed.iter().map(|scope| scope.as_str()).collect();
        let detail = format!("the call needs an API key with the scope {}", names.join(" or "));
        Self { detail: Some(detail), ..Self::new(ProblemCode::Forbidden) }
    }

    /// A change that needs a verification of at least that assurance.
    fn proof_required(at_least: Assurance) -> Self {
        Self { at_least: Some(at_least), ..Self::new(ProblemCode::ProofRequired) }
    }

    /// Something that is needed does not work.
    pub(crate) fn not_ready(dependencies: Dependencies) -> Self {
        Self { dependencies: Some(dependencies), ..Self::new(ProblemCode::Unavailable) }
    }

    /// Too many requests, and how long to wait.
    pub(crate) fn throttled(retry_after: Duration) -> Self {
        Self::for_now(ProblemCode::Throttled, retry_after)
    }

    fn for_now(code: ProblemCode, retry_after: Duration) -> Self {
        // Rounded up: a second early is too early.
        let seconds = retry_after.as_micros().div_ceil(1_000_000);
        Self { retry_after: Some(u64::try_from(seconds).unwrap_or(u64::MAX).max(1)), ..Self::new(code) }
    }

    /// What the rejection of a code means at `now`.
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
            CodeRejection::NoResendLeft { until } => {
                let detail =
                    "as many codes as one challenge may have were asked for; begin another challenge";
                return Self {
                    detail: Some(detail.to_owned()),
                    ..Self::for_now(ProblemCode::Throttled, until.since(now))
                };
            }
            _ => ProblemCode::Internal,
        };
        Self::new(code)
    }

    /// Why an address could not be enrolled at `now`.
    pub(crate) fn enrolment(error: EnrolError, now: Timestamp) -> Self {
        match error {
            EnrolError::Refused(PolicyDenial::Locked { until }) => {
                Self::for_now(ProblemCode::Locked, until.since(now))
            }
            error => error.into(),
        }
    }

    /// The problem of a response that the framework made by itself.
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

    /// For `Retry-After`, in seconds.
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

/// For the description of the API.
impl Problem {
    /// A problem of that kind, with the members that it usually has.
    pub(crate) fn example_of(code: ProblemCode) -> Self {
        match code {
            ProblemCode::InvalidRequest => Self::invalid("label", "must not be empty"),
            ProblemCode::Forbidden => Self::forbidden(&[Scope::Admin]),
            ProblemCode::ProofRequired => Self::proof_required(Assurance::Low),
            code => Self::new(code),
        }
    }

    /// The problem as it is sent.
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
        tracing::error!(error = %Chain(&undecided), "could not decide");
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
            EnrolError::Undecided(undecided) => undecided.into(),
            _ => ProblemCode::Internal.into(),
        }
    }
}

/// As its code.
impl Serialize for ProblemCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
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

    /// The status and the problem itself; the envelope writes the body, since it knows the id.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        response.extensions_mut().insert(self.clone());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_did_first_is_no_outage() {
        let problem = |undecided: Undecided| {
            let code = Problem::from(undecided).code();
            (code.as_str(), code.status().as_u16())
        };
        assert_eq!(problem(Undecided::HandleTaken), ("handle-taken", 409));
        assert_eq!(problem(Undecided::Busy), ("busy", 503));
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
