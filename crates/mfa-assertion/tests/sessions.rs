//! Sessions of a host, and a guard that decides about them. The layers around a guard are tested with the same.

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mfa_assertion::{
    Acr, DynUsedOnce, FetchedKeys, Guard, MemoryUsedOnce, Presented, StepUp, UsedOnce, UsedOnceError,
};
use serde_json::{Value, json};

use crate::support::{Issuer, NONCE, NOW, SUBJECT, claims, claims_with, verifier};

/// What the guard asks for.
pub(crate) const CHALLENGE: &str = concat!(
    r#"Bearer error="insufficient_user_authentication", "#,
    r#"error_description="A more recent or a stronger verification is required", "#,
    r#"acr_values="medium high", max_age=120"#
);

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| Issuer::new("ES256"));

/// A store that fails.
#[derive(Debug)]
struct Broken;

impl UsedOnce for Broken {
    async fn first_use(&self, _: &str, _: u64) -> Result<bool, UsedOnceError> {
        Err(UsedOnceError::new("down"))
    }
}

/// Admits, at [`NOW`], sessions that were verified by a hardware key within two minutes.
pub(crate) fn guard() -> Guard {
    guard_with(|| ready(Ok::<_, Infallible>(published())))
}

/// The same with keys from elsewhere.
pub(crate) fn guard_with<F, Fut, E>(fetch: F) -> Guard
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String, E>> + Send + 'static,
    E: 'static,
{
    let step_up = StepUp::new().max_age(Duration::from_mins(2)).methods(["hwk"]).acr(Acr::Medium);
    Guard::new(verifier(), Arc::new(FetchedKeys::new(fetch))).step_up(step_up).clock(|| NOW)
}

/// The key set of the issuer.
pub(crate) fn published() -> String {
    json!({ "keys": [ISSUER.jwk()] }).to_string()
}

pub(crate) fn memory() -> Arc<dyn DynUsedOnce> {
    Arc::new(MemoryUsedOnce::new(10, || NOW))
}

pub(crate) fn broken_store() -> Arc<dyn DynUsedOnce> {
    Arc::new(Broken)
}

/// A session that is admitted in this second for the last time. Its assertion has expired for logins.
pub(crate) fn alice() -> Presented {
    session(&ISSUER, &kept())
}

/// Sessions that are refused, and why.
pub(crate) fn refused() -> Vec<(Option<Presented>, &'static str)> {
    let but = |claim: &str, value: Value| {
        let mut claims = kept();
        claims[claim] = value;
        Some(session(&ISSUER, &claims))
    };
    let of_another_session = "the assertion is bound to another session or to none";
    let of_another_user = "the assertion is about another user";
    vec![
        (None, "the session has no assertion"),
        (but("nonce", json!("another")), of_another_session),
        (Some(session(&ISSUER, &claims_with("nonce", None))), of_another_session),
        (Some(Presented { nonce: String::new(), ..alice() }), of_another_session),
        (but("sub", json!("bob")), of_another_user),
        (Some(Presented { subject: "bob".to_owned(), ..alice() }), of_another_user),
        (but("auth_time", json!(NOW - 121)), "the verification is too old"),
        (but("amr", json!(["otp"])), "the verification used none of the required methods"),
        (but("acr", json!("low")), "the assurance of the verification is too low"),
        (but("aud", json!("another")), "the assertion is for another audience"),
        (Some(session(&Issuer::new("ES256"), &kept())), "the signature of the assertion is wrong"),
        (
            Some(Presented { assertion: String::new(), ..alice() }),
            "the assertion is not a JWS in the compact serialisation",
        ),
    ]
}

fn kept() -> Value {
    let mut claims = claims();
    claims["auth_time"] = json!(NOW - 120);
    claims["exp"] = json!(NOW - 60);
    claims
}

fn session(issuer: &Issuer, claims: &Value) -> Presented {
    Presented { assertion: issuer.assertion(claims), nonce: NONCE.to_owned(), subject: SUBJECT.to_owned() }
}
