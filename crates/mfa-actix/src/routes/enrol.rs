//! `POST /v1/users/{user}/factors`

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use data_encoding::BASE64;
use mfa_domain::mfa::{AddressEnrolment, Enrolment, EnrolmentWarning, NewAddress, NewFactor};
use mfa_domain::otp_core::{Algorithm, Digits, Hotp, Period, Secret, SecretWarning, Token, Totp, qr};
use mfa_domain::ports::Scope;
use mfa_domain::{AccountKey, Address, FactorKind, Label, Reason, UserId, typed};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::Unthrottled;
use super::challenges::ChallengeBody;
use super::verify::named_factor;
use crate::answer::{FactorAnswer, Warning};
use crate::body::Body;
use crate::caller::{Caller, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::repeat::{Repeat, RepeatHeader, Repeatable, Reply};
use crate::state::State;

/// A factor to enrol.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolRequest {
    /// `totp`, `hotp` or `email`.
    #[schema(pattern = "^(totp|hotp|email)$", example = "totp")]
    kind: String,
    #[schema(schema_with = texts::label)]
    label: String,
    #[schema(schema_with = texts::account_name, required = false)]
    account_name: Option<String>,
    #[schema(schema_with = texts::issuer, required = false)]
    issuer: Option<String>,
    /// `SHA1` (default), `SHA256` or `SHA512`.
    #[schema(pattern = "^SHA-?(1|256|512)$", example = "SHA1")]
    algorithm: Option<String>,
    /// 6 (default), 7 or 8.
    #[schema(minimum = 6, maximum = 8, example = 6)]
    digits: Option<u8>,
    /// Seconds, 30 by default; TOTP only.
    #[schema(minimum = 1, maximum = 300, example = 30)]
    period: Option<u64>,
    /// The next counter, 0 by default; HOTP only.
    #[schema(maximum = 9_223_372_036_854_775_807_u64, example = 0)]
    counter: Option<u64>,
    /// An existing secret, of a hardware token or from another system, white space and dashes aside; needs the scope `admin`.
    #[schema(value_type = Option<String>, min_length = 1, example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    secret: Option<Zeroizing<String>>,
    /// How `secret` is written: `base32` (default) or `hex`.
    #[schema(example = "base32")]
    secret_encoding: Option<SecretEncoding>,
    /// With `true` the factor counts at once, on an operator's word: it needs no first code, also beside others. Needs the
    /// scope `admin`, `secret` and `reason`.
    #[serde(default)]
    imported: bool,
    #[schema(schema_with = texts::reason, required = false)]
    reason: Option<String>,
    #[schema(schema_with = texts::address, required = false)]
    address: Option<Zeroizing<String>>,
    /// The active factor that goes as soon as this one is confirmed.
    #[schema(example = "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21")]
    replaces: Option<String>,
}

/// How a secret is written.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SecretEncoding {
    Base32,
    Hex,
}

/// A factor that was offered or imported.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "user": "alice@example.com",
    "factor": {
        "id": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21", "kind": "totp", "label": "Work phone", "state": "pending",
        "created_at": "2026-03-01T09:30:00.000Z", "last_used_at": null, "expires_at": "2026-03-01T09:45:00.000Z",
    },
    "totp": {
        "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "uri": "otpauth://totp/Example:alice%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example",
        "qr_svg": "<svg xmlns=\"http://www.w3.org/2000/svg\">…</svg>",
        "qr_png": "data:image/png;base64,iVBORw0KGgo…",
    },
    "warnings": [],
}))]
pub(crate) struct EnrolAnswer {
    /// Whose it is.
    user: String,
    factor: FactorAnswer,
    /// For `kind: totp`. The secret is never shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    totp: Option<OtpAnswer>,
    /// For `kind: hotp`. The secret is never shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    hotp: Option<OtpAnswer>,
    /// Of a factor whose codes are sent: what its first code answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<ChallengeBody>,
    /// What the user should know.
    warnings: Vec<Warning>,
}

/// What an authenticator app needs.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct OtpAnswer {
    /// The secret in base32, for typing.
    #[schema(value_type = String)]
    secret: String,
    /// The `otpauth` URI.
    #[schema(value_type = String)]
    uri: String,
    /// The URI as a QR code, an SVG document.
    qr_svg: String,
    /// The URI as a QR code, a PNG image as a data URL.
    qr_png: String,
}

/// Offer a factor
///
/// It protects nothing until its first code confirms it. Of `email` that code is sent to the address, and `confirm` takes it
/// from the same API key; `challenge` has the id with which another can be sent. With an active factor, a fresh
/// verification is needed. One that an operator imports is active at once, and needs neither.
#[utoipa::path(
    post, path = "/v1/users/{user}/factors", tag = "factors",
    operation_id = "enrol_factor",
    params(UserSegment, RepeatHeader),
    request_body = EnrolRequest,
    responses((status = 201, description = "The factor, its secret, URI and QR codes; shown this once", body = EnrolAnswer)),
    extensions(("x-problems" = json!([
        ProblemCode::ProofRequired, ProblemCode::NotFound,
        ProblemCode::TooManyFactors, ProblemCode::DeliveryRefused, ProblemCode::Locked, ProblemCode::Disabled,
    ]))),
)]
pub(crate) async fn enrol(
    caller: Caller,
    User(key): User,
    Repeatable(Body(request), repeat): Repeatable<Body<EnrolRequest>>,
    unthrottled: Unthrottled,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    if (request.secret.is_some() || request.imported) && !caller.is_admin {
        return Err(Problem::forbidden(&[Scope::Admin]));
    }
    if FactorKind::from_name(&request.kind) == FactorKind::Email {
        return enrol_address(&caller, key, request, repeat, unthrottled, &state).await;
    }
    if request.address.is_some() {
        return Err(Problem::invalid("address", "belongs to email"));
    }
    let default_issuer = state.tenants.issuer(&caller.tenant).to_owned();
    let reason = reason(&request)?;
    let (new, tolerated) = new_factor(request, default_issuer)?;
    let reply = |enrolment: &Enrolment| {
        Reply::json(StatusCode::CREATED, &answer(&key.user, enrolment, &tolerated)).map(Reply::with_secret)
    };
    repeat
        .answer_as(&state, &key, &caller.actor(), reply, drawn, async |call| match reason {
            Some(reason) => state.mfa.import_factor(&key, call, new, &reason).await,
            None => state.mfa.begin_enrolment(&key, call, new).await,
        })
        .await
}

/// The same for an address that codes are sent to.
async fn enrol_address(
    caller: &Caller,
    key: AccountKey,
    request: EnrolRequest,
    repeat: Repeat,
    unthrottled: Unthrottled,
    state: &State,
) -> Result<HttpResponse, Problem> {
    let foreign = [
        ("account_name", request.account_name.is_some()),
        ("issuer", request.issuer.is_some()),
        ("algorithm", request.algorithm.is_some()),
        ("digits", request.digits.is_some()),
        ("period", request.period.is_some()),
        ("counter", request.counter.is_some()),
        ("secret", request.secret.is_some()),
        ("secret_encoding", request.secret_encoding.is_some()),
        ("imported", request.imported),
        ("reason", request.reason.is_some()),
    ];
    if let Some((field, _)) = foreign.iter().find(|(_, given)| *given) {
        return Err(Problem::invalid(field, "belongs to totp and hotp, not to email"));
    }
    let label = Label::new(&request.label).map_err(|error| Problem::invalid("label", error))?;
    let address = request.address.as_deref().ok_or_else(|| Problem::invalid("address", "is missing"))?;
    let address = Address::new(address).map_err(|error| Problem::invalid("address", error))?;
    let replaces = request.replaces.as_deref().map(named_factor).transpose()?;
    let reply = |enrolment: &AddressEnrolment| {
        let warning = Warning {
            code: "email-only".to_owned(),
            message: "Whoever reads the user's mail can log in; an authenticator app or a passkey is better."
                .to_owned(),
        };
        let answer = EnrolAnswer {
            user: key.user.as_str().to_owned(),
            factor: FactorAnswer::from(&enrolment.factor),
            totp: None,
            hotp: None,
            challenge: Some(ChallengeBody::of(&enrolment.begun)),
            warnings: enrolment.is_only.then_some(warning).into_iter().collect(),
        };
        Reply::json(StatusCode::CREATED, &answer)
    };
    let mut new = NewAddress::email(label, address);
    new.replaces = replaces;
    let actor = caller.actor();
    repeat
        .answer(state, &key, &actor, reply, async |call| {
            let refused = |error| Problem::enrolment(error, state.clock.now());
            let recipient = state.mfa.enrol_recipient(&key, &actor, &new).await.map_err(refused)?;
            state.throttling.charge_message(state.clock.now(), &key, recipient, unthrottled).await?;
            state.mfa.enrol_address(&key, call, new).await.map_err(refused)
        })
        .await
}

/// Why it is imported, if it is.
fn reason(request: &EnrolRequest) -> Result<Option<Reason>, Problem> {
    match (request.imported, &request.reason) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Problem::invalid("reason", "belongs to imported: true")),
        (true, _) if request.secret.is_none() => Err(Problem::invalid("secret", "is missing")),
        (true, None) => Err(Problem::invalid("reason", "is missing")),
        (true, Some(text)) => match Reason::new(text) {
            Ok(reason) => Ok(Some(reason)),
            Err(error) => Err(Problem::invalid("reason", error)),
        },
    }
}

/// The factor, and what was tolerated to read its secret.
fn new_factor(
    request: EnrolRequest,
    default_issuer: String,
) -> Result<(NewFactor, Vec<SecretWarning>), Problem> {
    let token = token(&request)?;
    let EnrolRequest { label, account_name, issuer, secret, secret_encoding, replaces, .. } = request;
    let label = Label::new(&label).map_err(|error| Problem::invalid("label", error))?;
    let secret = match (secret, secret_encoding) {
        (None, Some(_)) => return Err(Problem::invalid("secret_encoding", "belongs to secret")),
        (None, None) => None,
        (Some(text), Some(SecretEncoding::Hex)) => {
            Some(Secret::from_hex(&typed(&text)).map(|key| (key, Vec::new())))
        }
        (Some(text), _) => Some(Secret::import_base32(&typed(&text))),
    };
    let secret = secret.transpose().map_err(|error| Problem::invalid("secret", error))?;
    let (secret, tolerated) = secret.map_or((None, Vec::new()), |(key, tolerated)| (Some(key), tolerated));
    let new = NewFactor {
        issuer: Some(issuer.unwrap_or(default_issuer)),
        account_name,
        secret,
        replaces: replaces.as_deref().map(named_factor).transpose()?,
        ..NewFactor::new(label, token)
    };
    Ok((new, tolerated))
}

fn token(request: &EnrolRequest) -> Result<Token, Problem> {
    let kind = FactorKind::from_name(&request.kind);
    let algorithm = match &request.algorithm {
        Some(name) => name.parse().map_err(|error| Problem::invalid("algorithm", error))?,
        None => Algorithm::default(),
    };
    let digits = match request.digits {
        Some(digits) => Digits::new(digits).map_err(|error| Problem::invalid("digits", error))?,
        None => Digits::default(),
    };
    match (kind, request.period, request.counter) {
        (FactorKind::Totp, period, None) => {
            let period = period.map_or_else(|| Ok(Period::default()), Period::new);
            let period = period.map_err(|error| Problem::invalid("period", error))?;
            Ok(Token::Totp(Totp::new(algorithm, digits, period)))
        }
        (FactorKind::Hotp, None, counter) => {
            let hotp = Hotp::new(algorithm, digits);
            Ok(Token::Hotp { hotp, counter: counter.unwrap_or_default() })
        }
        (FactorKind::Totp, _, Some(_)) => Err(Problem::invalid("counter", "belongs to hotp, not to totp")),
        (FactorKind::Hotp, Some(_), _) => Err(Problem::invalid("period", "belongs to totp, not to hotp")),
        _ => Err(Problem::invalid("kind", "not a kind of factor; it must be totp, hotp or email")),
    }
}

/// Without the QR codes: they are large, and can be drawn whenever the answer is given.
fn answer(user: &UserId, enrolment: &Enrolment, tolerated: &[SecretWarning]) -> EnrolAnswer {
    let otp = OtpAnswer {
        secret: enrolment.secret.to_base32().to_string(),
        uri: enrolment.uri.to_string(),
        qr_svg: String::new(),
        qr_png: String::new(),
    };
    let (totp, hotp) = match enrolment.factor.kind() {
        FactorKind::Hotp => (None, Some(otp)),
        _ => (Some(otp), None),
    };
    let tolerated = tolerated.iter().map(|warning| EnrolmentWarning::Secret(*warning));
    let warnings = tolerated.chain(enrolment.warnings.iter().copied());
    EnrolAnswer {
        user: user.as_str().to_owned(),
        factor: FactorAnswer::from(&enrolment.factor),
        totp,
        hotp,
        challenge: None,
        warnings: warnings.map(|w| Warning { code: w.code().to_owned(), message: w.to_string() }).collect(),
    }
}

/// With the QR codes.
fn drawn(reply: Reply) -> Result<Reply, Problem> {
    // The longest names fit; the factor is there by now.
    let too_long = |_| ProblemCode::Internal;
    let mut answer: EnrolAnswer = reply.read()?;
    for otp in [&mut answer.totp, &mut answer.hotp].into_iter().flatten() {
        let png = qr::png(&otp.uri).map_err(too_long)?;
        otp.qr_svg = qr::svg(&otp.uri).map_err(too_long)?.to_string();
        otp.qr_png = format!("data:image/png;base64,{}", BASE64.encode(&png));
    }
    reply.with(&answer)
}
