//! A user with an authenticator app.

use std::time::Duration;

use mfa_domain::otp_core::{Secret, Totp};
use mfa_domain::ports::Clock;
use serde_json::{Value, json};

use crate::world::{Answer, World};

/// An authenticator app, and the user's backup codes.
pub(crate) struct Phone {
    pub(crate) user: String,
    pub(crate) factor: String,
    pub(crate) backup_codes: Vec<String>,
    secret: Secret,
}

impl Phone {
    /// Enrols the first factor of a user.
    pub(crate) async fn enrol(world: &World, user: &str) -> Self {
        Self::enrol_with(world, user, &json!({})).await
    }

    /// Enrols a factor, with more members in the request.
    pub(crate) async fn enrol_with(world: &World, user: &str, more: &Value) -> Self {
        let mut offer = json!({ "kind": "totp", "label": "Phone" });
        offer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let factors = format!("/mfa/v1/users/{user}/factors");
        let offered = world.call("POST", &factors, Some(offer)).await.expect(201).json();
        let secret = Secret::from_base32(offered["totp"]["secret"].as_str().unwrap()).unwrap();
        let factor = offered["factor"]["id"].as_str().unwrap().to_owned();
        let mut phone = Self { user: user.to_owned(), factor, backup_codes: Vec::new(), secret };
        let code = json!({ "code": phone.next_code(world) });
        let confirm = format!("{factors}/{}/confirm", phone.factor);
        let confirmed = world.call("POST", &confirm, Some(code)).await.expect(200).json();
        let codes = confirmed["backup_codes"].as_array().into_iter().flatten();
        phone.backup_codes = codes.map(|code| code.as_str().unwrap().to_owned()).collect();
        phone
    }

    /// The code of the next time step.
    pub(crate) fn next_code(&self, world: &World) -> String {
        world.clock.advance(Duration::from_secs(30));
        let now = world.clock.now().unix_seconds();
        Totp::default().generate(&self.secret, now).unwrap().as_str().to_owned()
    }

    /// Verifies the user by the next code, with more members in the request.
    pub(crate) async fn verify(&self, world: &World, more: &Value) -> Answer {
        let code = self.next_code(world);
        self.verify_code(world, &code, more).await
    }

    /// Verifies the user by this code, with more members in the request.
    pub(crate) async fn verify_code(&self, world: &World, code: &str, more: &Value) -> Answer {
        let mut body = json!({ "code": code });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.call("POST", &format!("/mfa/v1/users/{}/verify", self.user), Some(body)).await
    }

    /// The assertion of a verification by the next code, in this session.
    pub(crate) async fn assertion(&self, world: &World, nonce: &str) -> String {
        assertion(&self.verify(world, &json!({ "nonce": nonce })).await.expect(200))
    }
}

/// The assertion in an answer.
pub(crate) fn assertion(answer: &Answer) -> String {
    answer.json()["assertion"].as_str().unwrap_or_else(|| panic!("no assertion: {answer:?}")).to_owned()
}
