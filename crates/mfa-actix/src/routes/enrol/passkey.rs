//! Enrolling a passkey.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use mfa_domain::ShownName;
use mfa_domain::mfa::{NewPasskey, PasskeyEnrolment};

use super::{EnrolAnswer, Offer, label, named_factor, refuse_token_members};
use crate::answer::{FactorAnswer, WebauthnBody};
use crate::problem::Problem;
use crate::repeat::Reply;
use crate::routes::challenges::ChallengeBody;

pub(super) async fn enrol(offer: Offer<'_>) -> Result<HttpResponse, Problem> {
    let Offer { caller, key, request, repeat, authorised, state } = offer;
    refuse_token_members(&request)?;
    if request.address.is_some() {
        return Err(Problem::invalid("address", "is only for kind email"));
    }
    let new = NewPasskey {
        label: request.label.as_deref().map(|text| label(Some(text))).transpose()?,
        account_name: shown(request.account_name.as_deref(), "account_name")?,
        display_name: shown(request.display_name.as_deref(), "display_name")?,
        replaces: request.replaces.as_deref().map(named_factor).transpose()?,
    };
    let reply = |enrolment: &PasskeyEnrolment| {
        let answer = EnrolAnswer {
            user: key.user.as_str().to_owned(),
            factor: FactorAnswer::from(&enrolment.factor),
            totp: None,
            hotp: None,
            challenge: Some(ChallengeBody::without_message(&enrolment.challenge)),
            webauthn: Some(WebauthnBody::new(&enrolment.options)?),
            warnings: Vec::new(),
        };
        Reply::json(StatusCode::CREATED, &answer)
    };
    repeat
        .answer(state, &key, &caller.actor(), reply, async |call| {
            let refused = |error| Problem::enrolment(error, state.clock.now());
            state.mfa.enrol_passkey(&key, call.in_session(authorised.session()), new).await.map_err(refused)
        })
        .await
}

fn shown(text: Option<&str>, field: &str) -> Result<Option<ShownName>, Problem> {
    text.map(ShownName::new).transpose().map_err(|error| Problem::invalid(field, error))
}
