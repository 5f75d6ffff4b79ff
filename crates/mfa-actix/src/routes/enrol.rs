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
use crate::answer::{FactorAnswer, Warning, WebauthnBody};
use crate::body::Body;
use crate::caller::{Caller, User, UserSegment};
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::proof::{Authorisation, Given};
use crate::repeat::{Repeat, RepeatHeader, Repeatable, Reply};
use crate::state::State;

mod passkey;

/// A factor to enrol.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "kind": "totp", "label": "Work phone" }))]
pub(crate) struct EnrolRequest {
    /// Kind of factor: `totp`, `hotp`, `email` or `passkey`.
    #[schema(pattern = "^(totp|hotp|email|passkey)$", example = "totp")]
    kind: String,
    #[schema(schema_with = texts::new_label, required = false)]
    label: Option<String>,
    #[schema(schema_with = texts::account_name, required = false)]
    account_name: Option<String>,
    #[schema(schema_with = texts::display_name, required = false)]
    display_name: Option<String>,
    #[schema(schema_with = texts::issuer, required = false)]
    issuer: Option<String>,
    /// Hash of the codes: `SHA1` (default), `SHA256` or `SHA512`. Only for `totp` and `hotp`.
    #[schema(pattern = "^SHA-?(1|256|512)$", example = "SHA1")]
    algorithm: Option<String>,
    /// Number of digits of the codes: 6 (default), 7 or 8. Only for `totp` and `hotp`.
    #[schema(minimum = 6, maximum = 8, example = 6)]
    digits: Option<u8>,
    /// Length of a time step in seconds; default 30. Only for `totp`.
    #[schema(minimum = 1, maximum = 300, example = 30)]
    period: Option<u64>,
    /// Next counter of the device; default 0. Only for `hotp`.
    #[schema(maximum = 9_223_372_036_854_775_807_u64, example = 0)]
    counter: Option<u64>,
    /// Existing secret, of a hardware token or from another system. White space and dashes are ignored. Needs the
    /// scope `admin`. Only for `totp` and `hotp`.
    #[schema(value_type = Option<String>, min_length = 1, example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    secret: Option<Zeroizing<String>>,
    /// Encoding of `secret`: `base32` (default) or `hex`.
    #[schema(example = "base32")]
    secret_encoding: Option<SecretEncoding>,
    /// If `true`, the factor is active at once and needs no first code, even if the user has other factors. Needs the
    /// scope `admin`, `secret` and `reason`.
    #[serde(default)]
    imported: bool,
    #[schema(schema_with = texts::operators_reason, required = false)]
    reason: Option<String>,
    #[schema(schema_with = texts::proof, required = false)]
    proof: Option<String>,
    #[schema(schema_with = texts::proof_nonce, required = false)]
    nonce: Option<String>,
    #[schema(schema_with = texts::address, required = false)]
    address: Option<Zeroizing<String>>,
    /// Id of an active factor that is removed when this one is confirmed.
    #[schema(example = "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21")]
    replaces: Option<String>,
    /// QR code in the answer: `svg`, `png`, `text` (for a terminal) or `none`. Default: both SVG and PNG. Only for
    /// `totp` and `hotp`.
    #[schema(value_type = Option<QrForm>)]
    qr: Option<String>,
}

/// Encoding of a secret.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SecretEncoding {
    Base32,
    Hex,
}

/// Form of the QR code in the answer.
#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum QrForm {
    None,
    Svg,
    Png,
    Text,
}

impl QrForm {
    fn from_name(name: &str) -> Result<Self, Problem> {
        match name {
            "none" => Ok(Self::None),
            "svg" => Ok(Self::Svg),
            "png" => Ok(Self::Png),
            "text" => Ok(Self::Text),
            _ => Err(Problem::invalid("qr", "must be none, svg, png or text")),
        }
    }
}

/// The enrolled factor: pending, or active if it was imported.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "user": "alice@example.com",
    "factor": {
        "id": "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21", "kind": "totp", "label": "Work phone", "state": "pending",
        "created_at": "2026-03-01T09:30:00.000Z", "last_used_at": null, "expires_at": "2026-03-01T09:40:00.000Z",
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
    /// Id of the user.
    user: String,
    factor: FactorAnswer,
    /// Secret, URI and QR code, shown only once. Only for `totp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    totp: Option<OtpAnswer>,
    /// Secret, URI and QR code, shown only once. Only for `hotp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    hotp: Option<OtpAnswer>,
    /// Challenge whose answer confirms the factor. Only for `email` and `passkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<ChallengeBody>,
    /// Options for `navigator.credentials.create()`. Only for `passkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    webauthn: Option<WebauthnBody>,
    /// Drawbacks of this factor; usually empty.
    warnings: Vec<Warning>,
}

/// The secret for an authenticator app, in several forms.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct OtpAnswer {
    /// Secret in base32, to type into the app.
    #[schema(value_type = String)]
    secret: String,
    /// `otpauth` URI with the secret.
    #[schema(value_type = String)]
    uri: String,
    /// QR code of the URI as an SVG document. With `qr: svg`, or without `qr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_svg: Option<String>,
    /// QR code of the URI as a PNG image in a data URL. With `qr: png`, or without `qr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_png: Option<String>,
    /// QR code of the URI for a terminal with UTF-8 and 256 colours: lines of half-block characters with ANSI colour
    /// codes. With `qr: text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_text: Option<String>,
}

/// Enrol a factor
///
/// The factor is pending and verifies nothing until `confirm` gets its first code. For `email`, that code is sent to
/// the address; confirm it with the same API key, and use the id of `challenge` to resend it. For `passkey`, pass
/// `webauthn.publicKey` to the browser, and what it returns to `confirm`, with the same API key. A user with an active
/// factor needs a recent verification as `proof`, or the `reason` of an operator. A factor that an operator imports is
/// active at once; it needs neither a first code nor a verification.
#[utoipa::path(
    post, path = "/v1/users/{user}/factors", tag = "factors",
    operation_id = "enrol_factor",
    params(UserSegment, RepeatHeader),
    request_body = EnrolRequest,
    responses((status = 201, description = "The factor with its secret, URI and QR code, shown only once", body = EnrolAnswer)),
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
    let EnrolRequest { proof, nonce, reason, .. } = &request;
    let given = Given { proof: proof.as_deref(), nonce: nonce.as_deref(), reason: reason.as_deref() };
    let authorised = Authorisation::of(&state, &caller, &key, given).await?;
    let offer = Offer { caller: &caller, key, request, repeat, authorised: &authorised, state: &state };
    let enrolled = match FactorKind::from_name(&offer.request.kind) {
        FactorKind::Email => enrol_address(offer, unthrottled).await,
        FactorKind::Passkey => passkey::enrol(offer).await,
        _ => enrol_token(offer).await,
    };
    enrolled.map_err(|problem| authorised.explain(problem))
}

/// A request to enrol a factor, with what authorises it.
struct Offer<'a> {
    caller: &'a Caller,
    key: AccountKey,
    request: EnrolRequest,
    repeat: Repeat,
    authorised: &'a Authorisation,
    state: &'a State,
}

/// Enrols a factor with a secret.
async fn enrol_token(offer: Offer<'_>) -> Result<HttpResponse, Problem> {
    let Offer { caller, key, request, repeat, authorised, state } = offer;
    if request.address.is_some() {
        return Err(Problem::invalid("address", "is only for kind email"));
    }
    if request.display_name.is_some() {
        return Err(Problem::invalid("display_name", "is only for kind passkey"));
    }
    let qr_form = request.qr.as_deref().map(QrForm::from_name).transpose()?;
    let default_issuer = state.tenants.issuer(&caller.tenant).to_owned();
    let reason = reason_to_import(&request, authorised)?;
    let (new, tolerated) = new_factor(request, default_issuer)?;
    let reply = |enrolment: &Enrolment| {
        Reply::json(StatusCode::CREATED, &answer(&key.user, enrolment, &tolerated)).map(Reply::with_secret)
    };
    // A repeated call has the same body, so it asks for the same form.
    let shown = |reply| drawn(reply, qr_form);
    repeat
        .answer_as(state, &key, &caller.actor(), reply, shown, async |call| {
            let call = call.in_session(authorised.session());
            match reason {
                Some(reason) => state.mfa.import_factor(&key, call, new, reason).await,
                None => state.mfa.begin_enrolment(&key, call, new).await,
            }
        })
        .await
}

/// Enrols an address that codes are sent to.
async fn enrol_address(offer: Offer<'_>, unthrottled: Unthrottled) -> Result<HttpResponse, Problem> {
    let Offer { caller, key, request, repeat, authorised, state } = offer;
    refuse_token_members(&request)?;
    if request.account_name.is_some() {
        return Err(Problem::invalid("account_name", "is only for kinds totp, hotp and passkey"));
    }
    if request.display_name.is_some() {
        return Err(Problem::invalid("display_name", "is only for kind passkey"));
    }
    let label = label(request.label.as_deref())?;
    let address = request.address.as_deref().ok_or_else(|| Problem::invalid("address", "is missing"))?;
    let address = Address::new(address).map_err(|error| Problem::invalid("address", error))?;
    let replaces = request.replaces.as_deref().map(named_factor).transpose()?;
    let reply = |enrolment: &AddressEnrolment| {
        let warning = Warning {
            code: "email-only".to_owned(),
            message:
                "Anyone who reads the user's mail can log in; an authenticator app or a passkey is safer."
                    .to_owned(),
        };
        let answer = EnrolAnswer {
            user: key.user.as_str().to_owned(),
            factor: FactorAnswer::from(&enrolment.factor),
            totp: None,
            hotp: None,
            challenge: Some(ChallengeBody::of(&enrolment.begun)),
            webauthn: None,
            warnings: enrolment.is_only.then_some(warning).into_iter().collect(),
        };
        Reply::json(StatusCode::CREATED, &answer)
    };
    let mut new = NewAddress::email(label, address);
    new.replaces = replaces;
    let (actor, session) = (caller.actor(), authorised.session());
    repeat
        .answer(state, &key, &actor, reply, async |call| {
            let refused = |error| Problem::enrolment(error, state.clock.now());
            let recipient = state.mfa.enrol_recipient(&key, &actor, session, &new).await.map_err(refused)?;
            state.throttling.charge_message(state.clock.now(), &key, recipient, unthrottled).await?;
            state.mfa.enrol_address(&key, call.in_session(session), new).await.map_err(refused)
        })
        .await
}

/// Refuses the members that only factors with a secret have.
fn refuse_token_members(request: &EnrolRequest) -> Result<(), Problem> {
    let foreign = [
        ("issuer", request.issuer.is_some()),
        ("algorithm", request.algorithm.is_some()),
        ("digits", request.digits.is_some()),
        ("period", request.period.is_some()),
        ("counter", request.counter.is_some()),
        ("secret", request.secret.is_some()),
        ("secret_encoding", request.secret_encoding.is_some()),
        ("imported", request.imported),
        ("qr", request.qr.is_some()),
    ];
    match foreign.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Problem::invalid(field, "is only for kinds totp and hotp")),
        None => Ok(()),
    }
}

/// The label, which only a passkey may leave out.
fn label(text: Option<&str>) -> Result<Label, Problem> {
    let text = text.ok_or_else(|| Problem::invalid("label", "is missing"))?;
    Label::new(text).map_err(|error| Problem::invalid("label", error))
}

/// The reason for an import; `None` if the factor is not imported.
fn reason_to_import<'a>(
    request: &EnrolRequest,
    authorised: &'a Authorisation,
) -> Result<Option<&'a Reason>, Problem> {
    if !request.imported {
        return Ok(None);
    }
    if request.secret.is_none() {
        return Err(Problem::invalid("secret", "is missing"));
    }
    authorised.reason().map(Some).ok_or_else(|| Problem::invalid("reason", "is missing"))
}

/// The factor to enrol, and the warnings about its secret.
fn new_factor(
    request: EnrolRequest,
    default_issuer: String,
) -> Result<(NewFactor, Vec<SecretWarning>), Problem> {
    let token = token(&request)?;
    let EnrolRequest { label: text, account_name, issuer, secret, secret_encoding, replaces, .. } = request;
    let label = label(text.as_deref())?;
    let secret = match (secret, secret_encoding) {
        (None, Some(_)) => {
            return Err(Problem::invalid("secret_encoding", "is only for a request with secret"));
        }
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
        (FactorKind::Totp, _, Some(_)) => Err(Problem::invalid("counter", "is only for kind hotp")),
        (FactorKind::Hotp, Some(_), _) => Err(Problem::invalid("period", "is only for kind totp")),
        _ => Err(Problem::invalid("kind", "must be totp, hotp, email or passkey")),
    }
}

/// The answer without a QR code. It is stored like this, since a QR code is large and can be drawn again.
fn answer(user: &UserId, enrolment: &Enrolment, tolerated: &[SecretWarning]) -> EnrolAnswer {
    let otp = OtpAnswer {
        secret: enrolment.secret.to_base32().to_string(),
        uri: enrolment.uri.to_string(),
        qr_svg: None,
        qr_png: None,
        qr_text: None,
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
        webauthn: None,
        warnings: warnings.map(|w| Warning { code: w.code().to_owned(), message: w.to_string() }).collect(),
    }
}

/// Adds the QR code in the requested form; without one, as SVG and PNG.
fn drawn(reply: Reply, form: Option<QrForm>) -> Result<Reply, Problem> {
    let mut answer: EnrolAnswer = reply.read()?;
    for otp in [&mut answer.totp, &mut answer.hotp].into_iter().flatten() {
        if matches!(form, None | Some(QrForm::Svg)) {
            otp.qr_svg = Some(qr::svg(&otp.uri).map_err(undrawn)?.to_string());
        }
        if matches!(form, None | Some(QrForm::Png)) {
            let png = qr::png(&otp.uri).map_err(undrawn)?;
            otp.qr_png = Some(format!("data:image/png;base64,{}", BASE64.encode(&png)));
        }
        if matches!(form, Some(QrForm::Text)) {
            otp.qr_text = Some(qr::terminal(&otp.uri).map_err(undrawn)?.to_string());
        }
    }
    reply.with(&answer)
}

/// Never happens: the longest names fit. By now the factor is stored.
fn undrawn(_: qr::QrError) -> Problem {
    ProblemCode::Internal.into()
}
