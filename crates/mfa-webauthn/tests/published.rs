//! What the tests of published vectors share: ceremonies under a given challenge, and passkeys made of COSE keys.

use std::time::Duration;

use ciborium::Value;
use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::{
    Aaguid, AssertionResponse, Attestation, CredentialId, Passkey, PublicKey, RegistrationResponse,
    ResidentKey, UserVerification,
};
use mfa_domain::ports::{
    Assertion, AuthenticationRequest, Ceremony, CeremonyError, NewCredential, RegistrationRequest, Webauthn,
};
use mfa_webauthn::{RelyingParty, Settings};
use serde_json::json;

use crate::support::{stored, tenant, user_handle};

/// A relying party with one origin.
pub(crate) fn relying_party(rp_id: &str, origin: &str, top_origins: &[&str]) -> RelyingParty {
    RelyingParty::new(Settings {
        rp_id: rp_id.to_owned(),
        rp_name: "Example".to_owned(),
        origins: vec![origin.to_owned()],
        top_origins: top_origins.iter().map(|&origin| origin.to_owned()).collect(),
        ..Settings::default()
    })
    .unwrap()
}

/// A registration whose challenge is the given one.
pub(crate) fn register(
    relying_party: &RelyingParty,
    challenge: &[u8],
    response: &RegistrationResponse,
) -> Result<NewCredential, CeremonyError> {
    let request = RegistrationRequest {
        user_handle: &user_handle(),
        user_name: "alice",
        display_name: "",
        exclude: Vec::new(),
        user_verification: UserVerification::Preferred,
        resident_key: ResidentKey::Preferred,
        timeout: Duration::from_mins(5),
    };
    let ceremony = relying_party.begin_registration(&tenant(), &request).unwrap();
    relying_party.finish_registration(&tenant(), &with_challenge(&ceremony, challenge), response)
}

/// An authentication whose challenge is the given one.
pub(crate) fn authenticate(
    relying_party: &RelyingParty,
    challenge: &[u8],
    response: &AssertionResponse,
    credential: &NewCredential,
) -> Result<Assertion, CeremonyError> {
    let request = AuthenticationRequest {
        challenge: [0; 32],
        allow: None,
        user_verification: UserVerification::Preferred,
        timeout: Duration::from_mins(5),
    };
    let ceremony = relying_party.begin_authentication(&tenant(), &request).unwrap();
    let state = with_challenge(&ceremony, challenge);
    relying_party.finish_authentication(&tenant(), &state, response, Some(stored(credential)))
}

/// The state of a ceremony, which is JSON, with another challenge. Those of published vectors are of any length.
fn with_challenge(ceremony: &Ceremony, challenge: &[u8]) -> Vec<u8> {
    let options: serde_json::Value = serde_json::from_str(&ceremony.options).unwrap();
    let own = options["challenge"].as_str().unwrap();
    let state = String::from_utf8(ceremony.state.clone()).unwrap();
    assert!(state.contains(own), "the challenge {own} is not in the state {state}");
    state.replace(own, &BASE64URL_NOPAD.encode(challenge)).into_bytes()
}

/// A credential as an import makes it: what a COSE key does not tell is unknown.
pub(crate) fn imported(rp_id: &str, credential_id: &CredentialId, cose_key: &[u8]) -> NewCredential {
    let passkey = Passkey {
        credential_id: credential_id.clone(),
        user_handle: user_handle(),
        rp_id: rp_id.to_owned(),
        sign_count: 0,
        aaguid: Aaguid::default(),
        transports: Vec::new(),
        discoverable: None,
        user_verified: false,
        backup_eligible: None,
        backed_up: false,
        attestation: Attestation::default(),
    };
    NewCredential { passkey, public_key: json_web_key(cose_key) }
}

/// The JSON Web Key of a COSE key (RFC 9053, 7; RFC 7518, 6; RFC 8037, 2).
fn json_web_key(cose_key: &[u8]) -> PublicKey {
    let Value::Map(parameters) = ciborium::from_reader(cose_key).unwrap() else {
        panic!("a COSE key is a map")
    };
    let parameter = |label: i64| {
        let found = parameters.iter().find(|(key, _)| *key == Value::from(label));
        &found.unwrap_or_else(|| panic!("parameter {label}")).1
    };
    let number = |label| i64::try_from(parameter(label).as_integer().unwrap()).unwrap();
    let bytes = |label| BASE64URL_NOPAD.encode(parameter(label).as_bytes().unwrap());
    let alg = match number(3) {
        -7 => "ES256",
        -8 => "EdDSA",
        -35 => "ES384",
        -36 => "ES512",
        -257 => "RS256",
        -53 => "Ed448",
        other => panic!("algorithm {other}"),
    };
    let key = match number(1) {
        1 => {
            let crv = if number(-1) == 6 { "Ed25519" } else { "Ed448" };
            json!({ "kty": "OKP", "crv": crv, "x": bytes(-2), "alg": alg })
        }
        2 => {
            let crv = ["P-256", "P-384", "P-521"][usize::try_from(number(-1)).unwrap() - 1];
            json!({ "kty": "EC", "crv": crv, "x": bytes(-2), "y": bytes(-3), "alg": alg })
        }
        3 => json!({ "kty": "RSA", "n": bytes(-1), "e": bytes(-2), "alg": alg }),
        other => panic!("key type {other}"),
    };
    PublicKey::new(key.to_string())
}
