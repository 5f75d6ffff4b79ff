//! The kinds of problem: code, status and title of each.

use actix_web::http::StatusCode;
use serde::{Serialize, Serializer};

/// The kinds of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProblemCode {
    /// The text does not have the form of any code of this user. It costs no attempt.
    MalformedCode,
    /// The code is wrong, replayed or spent; the answer does not say which. A wrong code costs an attempt.
    InvalidCode,
    /// The passkey was refused. Costs no attempt.
    InvalidCredential,
    /// The passkey is in no account of the tenant. Only for a challenge without a user.
    UnknownCredential,
    /// The authenticator did not ask its user for a PIN or a biometric.
    UserVerificationRequired,
    /// The passkey has changed how it is stored since it was registered.
    PasskeyChanged,
    /// An authenticator of this sort cannot be registered.
    UnsupportedCredential,
    /// Too many wrong codes. Right and wrong codes get the same answer.
    Locked,
    /// Too many requests of one kind. No code was checked.
    Throttled,
    /// Too many wrong codes in a row. An operator must reset the user, who then enrols again.
    Disabled,
    /// The user has no active factor.
    NotEnrolled,
    /// The factor to confirm is already active.
    AlreadyActive,
    /// The path, factor or challenge does not exist, or belongs to another user; the answer does not say which.
    NotFound,
    /// The challenge was answered, denied or cancelled, got too many wrong codes, or has expired.
    ChallengeOver,
    /// No message can be sent to the address.
    DeliveryRefused,
    /// The change needs a recent verification with an existing factor, by default one in the session that asks for it.
    ProofRequired,
    /// The user has the maximum number of factors.
    TooManyFactors,
    /// The passkey is already registered, for this user or another one of the tenant.
    HandleTaken,
    /// The request is invalid; `errors` names each wrong field.
    InvalidRequest,
    /// The API key is missing, wrong or revoked.
    Unauthorized,
    /// The API key lacks the required scope, or is for a reserved tenant.
    Forbidden,
    /// The path does not accept this method.
    MethodNotAllowed,
    /// The request is not valid HTTP/1.
    MalformedRequest,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The request head is larger than 8 KiB or has too many fields.
    HeadTooLarge,
    /// The body is larger than 16 KiB.
    PayloadTooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// A dependency failed, or the request took too long. No code was reported as accepted.
    Unavailable,
    /// Too many requests changed the account at the same time. Nothing was accepted.
    Busy,
    /// A bug in this library. Nothing was accepted.
    Internal,
}

impl ProblemCode {
    /// All kinds.
    pub(crate) const ALL: [Self; 30] = [
        Self::MalformedCode,
        Self::InvalidCode,
        Self::InvalidCredential,
        Self::UnknownCredential,
        Self::UserVerificationRequired,
        Self::PasskeyChanged,
        Self::UnsupportedCredential,
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

    /// The stable code, the HTTP status and the title.
    const fn parts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedCode => (
                "malformed-code",
                S::UNPROCESSABLE_ENTITY,
                "The text does not have the form of any code of this user",
            ),
            Self::InvalidCode => ("invalid-code", S::UNAUTHORIZED, "The code is not valid"),
            Self::InvalidCredential => ("invalid-credential", S::UNAUTHORIZED, "The passkey is not valid"),
            Self::UnknownCredential => {
                ("unknown-credential", S::UNAUTHORIZED, "The passkey belongs to no account")
            }
            Self::UserVerificationRequired => (
                "user-verification-required",
                S::UNAUTHORIZED,
                "The security key must ask for its PIN or a biometric; set one up and try again",
            ),
            Self::PasskeyChanged => (
                "passkey-changed",
                S::UNAUTHORIZED,
                "The passkey has changed how it is stored; sign in another way and add it again",
            ),
            Self::UnsupportedCredential => (
                "unsupported-credential",
                S::UNPROCESSABLE_ENTITY,
                "An authenticator of this sort cannot be registered",
            ),
            Self::Locked => ("locked", S::TOO_MANY_REQUESTS, "Too many wrong codes; try again later"),
            Self::Throttled => ("throttled", S::TOO_MANY_REQUESTS, "Too many requests; try again later"),
            Self::Disabled => {
                ("disabled", S::FORBIDDEN, "Too many wrong codes in a row; an operator must reset the user")
            }
            Self::NotEnrolled => ("not-enrolled", S::CONFLICT, "The user has no active factor"),
            Self::AlreadyActive => ("already-active", S::CONFLICT, "The factor is already active"),
            Self::NotFound => ("not-found", S::NOT_FOUND, "The path, factor or challenge does not exist"),
            Self::ChallengeOver => (
                "challenge-over",
                S::GONE,
                "The challenge is over: it was answered, denied or cancelled, failed too often, or expired",
            ),
            Self::DeliveryRefused => {
                ("delivery-refused", S::UNPROCESSABLE_ENTITY, "No message can be sent to this address")
            }
            Self::ProofRequired => (
                "proof-required",
                S::FORBIDDEN,
                "The change needs a recent verification with an existing factor",
            ),
            Self::TooManyFactors => {
                ("too-many-factors", S::CONFLICT, "The user has the maximum number of factors")
            }
            Self::HandleTaken => ("handle-taken", S::CONFLICT, "The passkey is already registered"),
            Self::InvalidRequest => ("invalid-request", S::UNPROCESSABLE_ENTITY, "The request is invalid"),
            Self::Unauthorized => {
                ("unauthorized", S::UNAUTHORIZED, "The API key is missing, wrong or revoked")
            }
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "The API key does not allow this call"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", S::METHOD_NOT_ALLOWED, "The path does not accept this method")
            }
            Self::MalformedRequest => {
                ("malformed-request", S::BAD_REQUEST, "The request is not valid HTTP/1")
            }
            Self::RequestTimeout => {
                ("request-timeout", S::REQUEST_TIMEOUT, "The request did not arrive in time")
            }
            Self::HeadTooLarge => (
                "head-too-large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The request head is larger than 8 KiB or has too many fields",
            ),
            Self::PayloadTooLarge => {
                ("payload-too-large", S::PAYLOAD_TOO_LARGE, "The body is larger than 16 KiB")
            }
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The Content-Type must be application/json",
            ),
            Self::Unavailable => {
                ("unavailable", S::SERVICE_UNAVAILABLE, "A dependency failed, or the request took too long")
            }
            Self::Busy => (
                "busy",
                S::SERVICE_UNAVAILABLE,
                "Too many requests for this account at the same time; try again",
            ),
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "Internal error: a bug in the server"),
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

    /// The meaning, as the problem's `title`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.parts().2
    }
}

/// Serialises as the stable code.
impl Serialize for ProblemCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
