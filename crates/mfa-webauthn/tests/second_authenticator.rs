//! Ceremonies with a second, independent authenticator: the crate `passkey`.

pub(crate) mod client;

use std::time::Duration;

use client::{Browser, Device, MODEL};
use mfa_domain::passkey::{
    AssertionResponse, RegistrationResponse, ResidentKey, UserHandle, UserVerification,
};
use mfa_domain::ports::{
    Assertion, AuthenticationRequest, CeremonyError, CredentialHint, CredentialRefusal, NewCredential,
    RegistrationRequest, Webauthn,
};
use mfa_webauthn::RelyingParty;
use passkey::client::WebauthnError;
use passkey::crypto::iana::Algorithm;
use passkey::types::ctap2::Ctap2Error;
use rstest::rstest;
use serde_json::{Value, json};

use crate::published::relying_party;
use crate::support::{ORIGIN, refusal, stored, tenant, user_handle};

/// The relying party, and what it asks for.
struct Site {
    relying_party: RelyingParty,
    resident_key: ResidentKey,
    user_verification: UserVerification,
}

impl Site {
    fn new() -> Self {
        Self {
            relying_party: relying_party("example.com", ORIGIN, &[]),
            resident_key: ResidentKey::Preferred,
            user_verification: UserVerification::Preferred,
        }
    }

    fn register(
        &self,
        browser: &mut Browser,
        has: &[&NewCredential],
    ) -> Result<NewCredential, CeremonyError> {
        self.try_register(browser, &user_handle(), has, str::to_owned).unwrap()
    }

    /// Registers, with what the page makes of the options.
    fn try_register(
        &self,
        browser: &mut Browser,
        user_handle: &UserHandle,
        has: &[&NewCredential],
        page: impl FnOnce(&str) -> String,
    ) -> Result<Result<NewCredential, CeremonyError>, WebauthnError> {
        let request = RegistrationRequest {
            user_handle,
            user_name: "alice@example.com",
            display_name: "Alice",
            exclude: has.iter().map(|credential| hint(credential)).collect(),
            user_verification: self.user_verification,
            resident_key: self.resident_key,
            timeout: Duration::from_mins(5),
        };
        let ceremony = self.relying_party.begin_registration(&tenant(), &request).unwrap();
        let created = browser.create(&page(&ceremony.options))?;
        let response = RegistrationResponse::from_json(&created).unwrap();
        Ok(self.relying_party.finish_registration(&tenant(), &ceremony.state, &response))
    }

    fn authenticate(
        &self,
        browser: &mut Browser,
        credential: &NewCredential,
    ) -> Result<Assertion, CeremonyError> {
        let answered = self.try_authenticate(browser, Some(credential), credential, str::to_owned);
        let (_, assertion) = answered.unwrap();
        assertion
    }

    /// Authenticates, with what the page makes of the options. Gives the response too.
    fn try_authenticate(
        &self,
        browser: &mut Browser,
        allow: Option<&NewCredential>,
        credential: &NewCredential,
        page: impl FnOnce(&str) -> String,
    ) -> Result<(AssertionResponse, Result<Assertion, CeremonyError>), WebauthnError> {
        let request = AuthenticationRequest {
            challenge: [9; 32],
            allow: allow.map(|credential| vec![hint(credential)]),
            user_verification: self.user_verification,
            timeout: Duration::from_mins(5),
        };
        let ceremony = self.relying_party.begin_authentication(&tenant(), &request).unwrap();
        let asserted = browser.assert(&page(&ceremony.options))?;
        let response = AssertionResponse::from_json(&asserted).unwrap();
        let known = Some(stored(credential));
        let assertion =
            self.relying_party.finish_authentication(&tenant(), &ceremony.state, &response, known);
        Ok((response, assertion))
    }
}

fn hint(NewCredential { passkey, .. }: &NewCredential) -> CredentialHint<'_> {
    CredentialHint { id: &passkey.credential_id, transports: &passkey.transports }
}

/// A page that asks for no user verification, whatever the server wants.
fn without_user_verification(options: &str) -> String {
    let mut options: Value = serde_json::from_str(options).unwrap();
    for pointer in ["/userVerification", "/authenticatorSelection/userVerification"] {
        if let Some(value) = options.pointer_mut(pointer) {
            *value = "discouraged".into();
        }
    }
    options.to_string()
}

#[test]
fn a_discoverable_passkey_names_its_user() {
    let site = Site { resident_key: ResidentKey::Required, ..Site::new() };
    let mut browser = Browser::new(ORIGIN, &Device::PHONE);
    let credential = site.register(&mut browser, &[]).unwrap();
    let passkey = &credential.passkey;
    assert_eq!(passkey.user_handle, user_handle());
    assert_eq!(passkey.rp_id, "example.com");
    assert_eq!(passkey.aaguid.0, MODEL);
    assert_eq!(passkey.transports, ["hybrid", "internal"]);
    assert_eq!(passkey.discoverable, Some(true));
    assert_eq!((passkey.backup_eligible, passkey.backed_up), (Some(true), true));
    assert_eq!(passkey.attestation.format, "none");
    assert!(passkey.user_verified);

    let (response, assertion) =
        site.try_authenticate(&mut browser, None, &credential, str::to_owned).unwrap();
    assert_eq!(response.credential_id, credential.passkey.credential_id);
    assert_eq!(response.user_handle, Some(user_handle()));
    let expected = Assertion { user_verified: true, backup_eligible: true, backed_up: true, sign_count: 0 };
    assert_eq!(assertion.unwrap(), expected);
}

#[test]
fn two_users_of_one_authenticator_are_told_apart() {
    let site = Site { resident_key: ResidentKey::Required, ..Site::new() };
    let mut browser = Browser::new(ORIGIN, &Device::PHONE);
    let mut register = |byte| {
        let handle = UserHandle::new([byte; 64]).unwrap();
        site.try_register(&mut browser, &handle, &[], str::to_owned).unwrap().unwrap()
    };
    let (alice, bob) = (register(1), register(2));
    // The authenticator offers the newest.
    let (response, assertion) = site.try_authenticate(&mut browser, None, &bob, str::to_owned).unwrap();
    assert!(assertion.is_ok());
    assert_eq!(response.user_handle, Some(bob.passkey.user_handle.clone()));
    assert!(site.authenticate(&mut browser, &alice).is_ok());
    let (_, assertion) = site.try_authenticate(&mut browser, Some(&bob), &alice, str::to_owned).unwrap();
    assert!(refusal(assertion).is_some(), "an assertion of one passkey verifies with another");
}

#[rstest]
#[case::discouraged(ResidentKey::Discouraged, true)]
#[case::not_possible(ResidentKey::Preferred, false)]
fn a_passkey_that_is_not_discoverable_is_used_by_its_id(
    #[case] resident_key: ResidentKey,
    #[case] can: bool,
) {
    let site = Site { resident_key, ..Site::new() };
    let mut browser = Browser::new(ORIGIN, &Device { discoverable: can, ..Device::PHONE });
    let credential = site.register(&mut browser, &[]).unwrap();
    assert_eq!(credential.passkey.discoverable, Some(false));
    let by_itself = site.try_authenticate(&mut browser, None, &credential, str::to_owned);
    assert_eq!(by_itself.unwrap_err(), WebauthnError::CredentialNotFound);
    let (response, assertion) =
        site.try_authenticate(&mut browser, Some(&credential), &credential, str::to_owned).unwrap();
    assert_eq!(response.user_handle, None);
    assert!(assertion.is_ok());
}

#[test]
fn an_authenticator_that_cannot_store_passkeys_does_not_register_where_that_is_required() {
    let site = Site { resident_key: ResidentKey::Required, ..Site::new() };
    let mut browser = Browser::new(ORIGIN, &Device { discoverable: false, ..Device::PHONE });
    let refused = site.try_register(&mut browser, &user_handle(), &[], str::to_owned).unwrap_err();
    assert_eq!(refused, WebauthnError::AuthenticatorError(Ctap2Error::UnsupportedOption.into()));
}

#[test]
fn a_counter_is_read_from_each_assertion() {
    let site = Site::new();
    let mut browser = Browser::new(ORIGIN, &Device { counts: true, ..Device::PHONE });
    let credential = site.register(&mut browser, &[]).unwrap();
    assert_eq!(credential.passkey.sign_count, 0);
    for sign_count in 1..=3 {
        assert_eq!(site.authenticate(&mut browser, &credential).unwrap().sign_count, sign_count);
    }
}

#[test]
fn a_key_without_a_pin_is_accepted_where_user_verification_is_preferred() {
    let mut site = Site::new();
    let mut browser = Browser::new(ORIGIN, &Device { verifies: false, ..Device::PHONE });
    let credential = site.register(&mut browser, &[]).unwrap();
    assert!(!credential.passkey.user_verified);
    assert!(!site.authenticate(&mut browser, &credential).unwrap().user_verified);

    // Where it is required, browser and authenticator refuse; the server does so too if the page asks them not to.
    site.user_verification = UserVerification::Required;
    let refused = site.try_register(&mut browser, &user_handle(), &[], str::to_owned);
    assert!(refused.is_err());
    let registered = site.try_register(&mut browser, &user_handle(), &[], without_user_verification).unwrap();
    assert_eq!(refusal(registered), Some(CredentialRefusal::UserVerification));
    let (_, assertion) = site
        .try_authenticate(&mut browser, Some(&credential), &credential, without_user_verification)
        .unwrap();
    assert_eq!(refusal(assertion), Some(CredentialRefusal::UserVerification));
}

#[test]
fn a_passkey_that_was_registered_with_a_pin_is_accepted_without_where_that_is_not_required() {
    let site = Site::new();
    let mut browser = Browser::new(ORIGIN, &Device::PHONE);
    let credential = site.register(&mut browser, &[]).unwrap();
    assert!(credential.passkey.user_verified);
    let (_, assertion) = site
        .try_authenticate(&mut browser, Some(&credential), &credential, without_user_verification)
        .unwrap();
    assert!(!assertion.unwrap().user_verified);
}

#[test]
fn an_authenticator_that_has_an_excluded_passkey_refuses() {
    let site = Site::new();
    let mut browser = Browser::new(ORIGIN, &Device::PHONE);
    let credential = site.register(&mut browser, &[]).unwrap();
    let refused = site.try_register(&mut browser, &user_handle(), &[&credential], str::to_owned).unwrap_err();
    assert_eq!(refused, WebauthnError::AuthenticatorError(Ctap2Error::CredentialExcluded.into()));
    // Another authenticator has it not.
    let mut other = Browser::new(ORIGIN, &Device::PHONE);
    assert!(site.register(&mut other, &[&credential]).is_ok());
}

#[test]
fn an_authenticator_that_ignores_the_list_makes_one_more_passkey() {
    let site = Site::new();
    let mut browser = Browser::new(ORIGIN, &Device { excludes: false, ..Device::PHONE });
    let first = site.register(&mut browser, &[]).unwrap();
    let second = site.register(&mut browser, &[&first]).unwrap();
    assert_ne!(first.passkey.credential_id, second.passkey.credential_id);
    for credential in [first, second] {
        assert!(site.authenticate(&mut browser, &credential).is_ok());
    }
}

#[test]
fn an_algorithm_that_is_not_offered_is_refused() {
    let site = Site::new();
    let mut browser = Browser::new(ORIGIN, &Device { algorithm: Some(Algorithm::EdDSA), ..Device::PHONE });
    let refused = site.try_register(&mut browser, &user_handle(), &[], str::to_owned).unwrap_err();
    assert_eq!(refused, WebauthnError::AuthenticatorError(Ctap2Error::UnsupportedAlgorithm.into()));
    // A page that offers more than the server.
    let registered = site.try_register(&mut browser, &user_handle(), &[], |options| {
        let mut options: Value = serde_json::from_str(options).unwrap();
        options["pubKeyCredParams"] = json!([{ "type": "public-key", "alg": -8 }]);
        options.to_string()
    });
    assert_eq!(refusal(registered.unwrap()), Some(CredentialRefusal::Algorithm));
}

#[test]
fn pages_of_other_origins_are_refused() {
    let site = Site::new();
    let mut browser = Browser::new(ORIGIN, &Device::PHONE);
    let credential = site.register(&mut browser, &[]).unwrap();
    // The browser lets every page below example.com use the passkey.
    for origin in ["https://blog.example.com", "https://example.com", "https://login.example.com:8443"] {
        browser.visit(origin);
        let assertion = site.authenticate(&mut browser, &credential);
        assert_eq!(refusal(assertion), Some(CredentialRefusal::Origin), "{origin}");
        let registered = site.register(&mut browser, &[]);
        assert_eq!(refusal(registered), Some(CredentialRefusal::Origin), "{origin}");
    }
    browser.visit("https://example.net");
    assert!(site.try_authenticate(&mut browser, None, &credential, str::to_owned).is_err());
}

#[test]
fn localhost_works_over_http() {
    let origin = "http://localhost:8080";
    let site = Site { relying_party: relying_party("localhost", origin, &[]), ..Site::new() };
    let mut browser = Browser::new(origin, &Device::PHONE);
    let credential = site.register(&mut browser, &[]).unwrap();
    assert!(site.authenticate(&mut browser, &credential).is_ok());
}
