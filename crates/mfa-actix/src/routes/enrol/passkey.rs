//! Enrolling a passkey.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use mfa_domain::mfa::{NewPasskey, PasskeyEnrolment};
use mfa_domain::{AccountKey, ShownName};

use super::{EnrolAnswer, EnrolRequest, label, named_factor, refuse_token_members};
use crate::answer::{FactorAnswer, WebauthnBody};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::repeat::{Repeat, Reply};
use crate::routes::challenges::ChallengeBody;
use crate::state::State;

pub(super) async fn enrol(
    caller: &Caller,
    key: AccountKey,
    request: EnrolRequest,
    repeat: Repeat,
    state: &State,
) -> Result<HttpResponse, Problem> {
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
            state.mfa.enrol_passkey(&key, call, new).await.map_err(refused)
        })
        .await
}

fn shown(text: Option<&str>, field: &str) -> Result<Option<ShownName>, Problem> {
    text.map(ShownName::new).transpose().map_err(|error| Problem::invalid(field, error))
}
