//! The options for browsers, to the letter.

use std::time::Duration;

use mfa_domain::passkey::{CredentialId, ResidentKey, UserHandle, UserVerification};
use mfa_domain::ports::{AuthenticationRequest, CredentialHint, RegistrationRequest, Webauthn};
use mfa_webauthn::{AttestationPolicy, RelyingParty, Settings, TrustedAuthenticators};
use serde_json::Value;

use crate::support::{CHALLENGE, begin_authentication, begin_registration, party, settings, tenant};

const ROOT: &str = include_str!("data/root.pem");

#[test]
fn a_registration_with_everything() {
    let trusted = TrustedAuthenticators::from_pem(Vec::new(), ROOT).unwrap();
    let settings = Settings { attestation: AttestationPolicy::Trusted(trusted), ..settings() };
    let party = RelyingParty::new(settings).unwrap();
    let (first, second) = (CredentialId::new([255, 239]).unwrap(), CredentialId::new([1; 3]).unwrap());
    let transports = ["hybrid".to_owned(), "internal".to_owned()];
    let request = RegistrationRequest {
        user_handle: &UserHandle::new([0xfb, 0xff]).unwrap(),
        user_name: "alice@example.com",
        display_name: "Alice \"A\"",
        exclude: vec![
            CredentialHint { id: &first, transports: &transports },
            CredentialHint { id: &second, transports: &[] },
        ],
        user_verification: UserVerification::Required,
        resident_key: ResidentKey::Required,
        timeout: Duration::from_mins(2),
    };
    let ceremony = party.begin_registration(&tenant(), &request).unwrap();
    let expected = concat!(
        r#"{"rp":{"id":"example.com","name":"Example"},"#,
        r#""user":{"id":"-_8","name":"alice@example.com","displayName":"Alice \"A\""},"#,
        r#""challenge":"CHALLENGE","pubKeyCredParams":[{"type":"public-key","alg":-7},"#,
        r#"{"type":"public-key","alg":-35},{"type":"public-key","alg":-257}],"timeout":120000,"#,
        r#""excludeCredentials":[{"type":"public-key","id":"_-8","transports":["hybrid","internal"]},"#,
        r#"{"type":"public-key","id":"AQEB"}],"#,
        r#""authenticatorSelection":{"residentKey":"required","requireResidentKey":true,"#,
        r#""userVerification":"required"},"attestation":"direct","extensions":{"credProps":true}}"#,
    );
    assert_eq!(ceremony.options.replace(&challenge(&ceremony.options), "CHALLENGE"), expected);
    assert!(!String::from_utf8(ceremony.state).unwrap().contains("_-8"), "the list is in the state");
}

#[test]
fn a_registration_with_little() {
    let handle = UserHandle::new([1]).unwrap();
    let request = RegistrationRequest {
        user_handle: &handle,
        user_name: "bob",
        display_name: "",
        exclude: Vec::new(),
        user_verification: UserVerification::Discouraged,
        resident_key: ResidentKey::Discouraged,
        timeout: Duration::MAX,
    };
    let ceremony = party().begin_registration(&tenant(), &request).unwrap();
    let expected = concat!(
        r#"{"rp":{"id":"example.com","name":"Example"},"user":{"id":"AQ","name":"bob","displayName":"bob"},"#,
        r#""challenge":"CHALLENGE","pubKeyCredParams":[{"type":"public-key","alg":-7},"#,
        r#"{"type":"public-key","alg":-35},{"type":"public-key","alg":-257}],"timeout":4294967295,"#,
        r#""authenticatorSelection":{"residentKey":"discouraged","requireResidentKey":false,"#,
        r#""userVerification":"discouraged"},"attestation":"none","extensions":{"credProps":true}}"#,
    );
    assert_eq!(ceremony.options.replace(&challenge(&ceremony.options), "CHALLENGE"), expected);
}

#[test]
fn every_registration_has_a_challenge_of_its_own() {
    let party = party();
    let challenge = || challenge(&begin_registration(&party, UserVerification::Preferred).options);
    let (first, second) = (challenge(), challenge());
    assert_ne!(first, second);
    // 16 bytes are 22 characters.
    assert!(first.len() >= 22, "{first}");
}

#[test]
fn an_authentication() {
    let id = CredentialId::new([255, 239]).unwrap();
    let transports = ["usb".to_owned()];
    let party = party();
    let start = r#"{"challenge":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc","timeout":300000,"rpId":"example.com","#;
    for (allow, expected) in [
        (None, r#""userVerification":"preferred"}"#),
        (
            Some(vec![CredentialHint { id: &id, transports: &transports }]),
            concat!(
                r#""allowCredentials":[{"type":"public-key","id":"_-8","transports":["usb"]}],"#,
                r#""userVerification":"preferred"}"#
            ),
        ),
    ] {
        let ceremony = begin_authentication(&party, allow, UserVerification::Preferred);
        assert_eq!(ceremony.options, format!("{start}{expected}"));
        let state = r#"{"v":1,"challenge":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc","user_verification":"preferred"}"#;
        assert_eq!(String::from_utf8(ceremony.state).unwrap(), state);
    }
}

#[test]
fn an_empty_list_is_not_sent_since_it_would_allow_every_credential() {
    let timeout = Duration::from_mins(1);
    let user_verification = UserVerification::Preferred;
    let request =
        AuthenticationRequest { challenge: CHALLENGE, allow: Some(Vec::new()), user_verification, timeout };
    assert!(party().begin_authentication(&tenant(), &request).is_err());
}

fn challenge(options: &str) -> String {
    let options: Value = serde_json::from_str(options).unwrap();
    options["challenge"].as_str().unwrap().to_owned()
}
