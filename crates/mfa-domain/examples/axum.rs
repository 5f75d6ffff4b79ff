//! A login form's second step, in an axum application.
//!
//! ```text
//! cargo run -p mfa-domain --example axum
//! curl localhost:3000/enrol -H 'x-user: alice' --json '{"label": "Phone"}'
//! curl localhost:3000/confirm -H 'x-user: alice' --json '{"factor": "…", "code": "123456"}'
//! curl localhost:3000/login -H 'x-user: alice' --json '{"code": "123456"}'
//! ```

use std::error::Error;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use mfa_crypto::{AesGcmVault, Argon2Hasher, KeyRing};
use mfa_domain::mfa::{Confirmation, EnrolError, NewFactor, PlainBackupCodes};
use mfa_domain::otp_core::{Token, Totp};
use mfa_domain::ports::{Clock, SystemClock, SystemEntropy};
use mfa_domain::{
    AccountKey, Actor, CodeRejection, FactorId, Label, Mfa, Policies, PolicyDenial, Ports, SubmittedCode,
    TenantId, Undecided, UserId, Verdict,
};
use mfa_store_memory::MemoryStore;
use serde::{Deserialize, Serialize};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A real one keeps its accounts in a database, and its key ring in a file that it reads here.
    let ring = KeyRing::generate(&SystemEntropy, SystemClock.now())?;
    let ports = Ports::new(MemoryStore::default(), AesGcmVault::new(ring), Argon2Hasher::default());
    let app = Router::new()
        .route("/enrol", post(enrol))
        .route("/confirm", post(confirm))
        .route("/login", post(login))
        .with_state(Arc::new(Mfa::new(ports, Policies::default())?));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}

#[derive(Deserialize)]
struct Enrol {
    label: String,
}

#[derive(Serialize)]
struct Enrolled {
    factor: String,
    /// To be shown as a QR code, once. It holds the secret.
    uri: String,
}

async fn enrol(
    State(mfa): State<Arc<Mfa>>,
    User(user): User,
    Json(body): Json<Enrol>,
) -> Result<Json<Enrolled>, Failure> {
    let label = Label::new(&body.label).map_err(invalid)?;
    let phone = NewFactor {
        issuer: Some("Example".to_owned()),
        ..NewFactor::new(label, Token::Totp(Totp::default()))
    };
    let enrolment = mfa.begin_enrolment(&user, &Actor::user("web"), phone).await?;
    Ok(Json(Enrolled { factor: enrolment.factor.id.to_string(), uri: enrolment.uri.to_string() }))
}

#[derive(Deserialize)]
struct Confirm {
    factor: String,
    code: String,
}

#[derive(Serialize)]
struct Confirmed {
    /// To be shown once.
    backup_codes: Vec<String>,
}

async fn confirm(
    State(mfa): State<Arc<Mfa>>,
    User(user): User,
    Json(body): Json<Confirm>,
) -> Result<Json<Confirmed>, Failure> {
    let factor: FactorId = body.factor.parse().map_err(invalid)?;
    let code = SubmittedCode::parse(&body.code).map_err(invalid)?;
    match mfa.confirm(&user, &Actor::user("web"), factor, &code).await? {
        Verdict::Rejected(rejection) => Err(Failure::Rejected(rejection)),
        Verdict::Accepted(Confirmation { backup_codes, .. }) => {
            let codes = backup_codes.iter().flat_map(PlainBackupCodes::codes);
            Ok(Json(Confirmed { backup_codes: codes.map(|code| code.to_display().to_string()).collect() }))
        }
    }
}

#[derive(Deserialize)]
struct Login {
    code: String,
}

async fn login(
    State(mfa): State<Arc<Mfa>>,
    User(user): User,
    Json(body): Json<Login>,
) -> Result<&'static str, Failure> {
    let code = SubmittedCode::parse(&body.code).map_err(invalid)?;
    match mfa.verify(&user, &Actor::user("web"), &code, None).await? {
        // Here a real one gives the browser a new session, for a user with two factors.
        Verdict::Accepted(_) => Ok("welcome"),
        Verdict::Rejected(rejection) => Err(Failure::Rejected(rejection)),
    }
}

/// Whose password was right a moment ago. A real one reads it from a signed cookie; a header is
/// anybody's to write.
struct User(AccountKey);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let name = parts.headers.get("x-user").and_then(|name| name.to_str().ok()).unwrap_or_default();
        let tenant = TenantId::new("example").map_err(invalid)?;
        Ok(Self(AccountKey::new(tenant, UserId::new(name).map_err(invalid)?)))
    }
}

/// Whatever can go wrong here.
enum Failure {
    Invalid(String),
    Refused(PolicyDenial),
    Rejected(CodeRejection),
    Undecided(Undecided),
}

impl IntoResponse for Failure {
    /// The one place where errors become HTTP. None of these texts holds a secret.
    fn into_response(self) -> Response {
        match self {
            Self::Invalid(what) => (StatusCode::UNPROCESSABLE_ENTITY, what).into_response(),
            Self::Refused(refusal) => (StatusCode::FORBIDDEN, refusal.to_string()).into_response(),
            Self::Rejected(CodeRejection::Locked { until }) => {
                let wait = until.since(SystemClock.now()).as_secs() + 1;
                let headers = [(header::RETRY_AFTER, wait.to_string())];
                (StatusCode::TOO_MANY_REQUESTS, headers, "too many wrong codes").into_response()
            }
            Self::Rejected(rejection) => (StatusCode::UNAUTHORIZED, rejection.to_string()).into_response(),
            // Its source says why, and belongs in the log. Nothing was accepted.
            Self::Undecided(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        }
    }
}

fn invalid(error: impl Error) -> Failure {
    Failure::Invalid(error.to_string())
}

impl From<Undecided> for Failure {
    fn from(error: Undecided) -> Self {
        Self::Undecided(error)
    }
}

impl From<EnrolError> for Failure {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Refused(refusal) => Self::Refused(refusal),
            EnrolError::Undecided(error) => Self::Undecided(error),
            error => invalid(error),
        }
    }
}
