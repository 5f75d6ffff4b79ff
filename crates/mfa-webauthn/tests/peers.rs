//! Options, registrations and assertions that cross with other server libraries: `webauthn` for Python and
//! `@simplewebauthn/server` for Node.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::{AssertionResponse, RegistrationResponse, ResidentKey, UserVerification};
use mfa_domain::ports::{
    Assertion, AuthenticationRequest, CredentialHint, CredentialRefusal, NewCredential, RegistrationRequest,
    Webauthn,
};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::published::{authenticate, imported, register, relying_party};
use crate::second_authenticator::client::{Browser, Device};
use crate::support::{ORIGIN, refusal, stored, tenant, user_handle};

#[derive(Clone, Copy)]
enum Peer {
    Python,
    Node,
}

impl Peer {
    /// What it makes of each pair of ceremonies: what it read from them, or `refused`.
    fn verify(self, ceremonies: &[Value]) -> Vec<Value> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let mut command = match self {
            Self::Python => Command::new(tools().join("bin/python")),
            Self::Node => Command::new(tools().join("bin/node")),
        };
        match self {
            Self::Python => command.arg(scripts.join("verify.py")),
            Self::Node => command
                .arg(scripts.join("verify.mjs"))
                .arg(tools().join("node_modules/@simplewebauthn/server")),
        };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{error}: run `cargo xtask tools`"));
        child.stdin.take().unwrap().write_all(Value::from(ceremonies).to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The folder of the programs of the tests.
fn tools() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").exists()).unwrap();
    root.join("target/test-tools")
}

/// A registration and an assertion by our options, with what we made of them.
struct Ceremonies {
    /// As a peer wants them.
    json: Value,
    credential: NewCredential,
    assertion: Assertion,
    /// Ours, of the assertion.
    state: Vec<u8>,
}

/// Registers and authenticates. With `named` the options have the id of the passkey, otherwise any is accepted.
fn ceremonies(device: &Device, user_verification: UserVerification, named: bool) -> Ceremonies {
    let relying_party = relying_party("example.com", ORIGIN, &[]);
    let mut browser = Browser::new(ORIGIN, device);
    let user_handle = user_handle();
    let request = RegistrationRequest {
        user_handle: &user_handle,
        user_name: "jörg@example.com",
        display_name: "Jörg Größe",
        exclude: Vec::new(),
        user_verification,
        resident_key: ResidentKey::Preferred,
        timeout: Duration::from_mins(5),
    };
    let registration = relying_party.begin_registration(&tenant(), &request).unwrap();
    let created = browser.create(&registration.options).unwrap();
    let response = RegistrationResponse::from_json(&created).unwrap();
    let registered = relying_party.finish_registration(&tenant(), &registration.state, &response).unwrap();

    let passkey = &registered.passkey;
    let hint = CredentialHint { id: &passkey.credential_id, transports: &passkey.transports };
    let request = AuthenticationRequest {
        challenge: [9; 32],
        allow: named.then(|| vec![hint]),
        user_verification,
        timeout: Duration::from_mins(5),
    };
    let authentication = relying_party.begin_authentication(&tenant(), &request).unwrap();
    let asserted = browser.assert(&authentication.options).unwrap();
    let response = AssertionResponse::from_json(&asserted).unwrap();
    let known = Some(stored(&registered));
    let assertion = relying_party.finish_authentication(&tenant(), &authentication.state, &response, known);
    let json = json!({
        "origin": ORIGIN,
        "registration": { "options": registration.options, "credential": created },
        "authentication": { "options": authentication.options, "credential": asserted },
    });
    Ceremonies { json, credential: registered, assertion: assertion.unwrap(), state: authentication.state }
}

#[rstest]
fn others_verify_what_an_authenticator_makes_of_our_options(#[values(Peer::Python, Peer::Node)] peer: Peer) {
    let (mut all, mut expected) = (Vec::new(), Vec::new());
    for (verifies, user_verification, named) in [
        (true, UserVerification::Required, true),
        (true, UserVerification::Preferred, false),
        (false, UserVerification::Preferred, true),
        (false, UserVerification::Discouraged, false),
    ] {
        let device = Device { verifies, counts: true, ..Device::PHONE };
        let Ceremonies { json, credential, assertion, .. } = ceremonies(&device, user_verification, named);
        let passkey = credential.passkey;
        all.push(json);
        expected.push(json!({
            "user": { "id": user_handle().to_string(), "name": "jörg@example.com", "display_name": "Jörg Größe" },
            "credential_id": passkey.credential_id.to_string(),
            "aaguid": passkey.aaguid.to_string(),
            "format": passkey.attestation.format,
            "allowed": named,
            "user_verified": [passkey.user_verified, assertion.user_verified],
            "backed_up": [passkey.backed_up, assertion.backed_up],
            "sign_count": [passkey.sign_count, assertion.sign_count],
        }));
    }
    assert_eq!(peer.verify(&all), expected);
}

/// Shows that the test above can fail.
#[rstest]
fn others_refuse_what_we_refuse(#[values(Peer::Python, Peer::Node)] peer: Peer) {
    let Ceremonies { json, credential: registered, state, .. } =
        ceremonies(&Device::PHONE, UserVerification::Preferred, true);
    let credential = json["authentication"]["credential"].as_str().unwrap();
    let changed = |field: &str, change: fn(Vec<u8>) -> Vec<u8>| {
        let mut credential: Value = serde_json::from_str(credential).unwrap();
        let bytes =
            BASE64URL_NOPAD.decode(credential["response"][field].as_str().unwrap().as_bytes()).unwrap();
        credential["response"][field] = BASE64URL_NOPAD.encode(&change(bytes)).into();
        credential.to_string()
    };
    // The last bit of the signature; a blank in the client data; no user at the authenticator.
    let flip_last = |mut bytes: Vec<u8>| {
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let absent = |mut bytes: Vec<u8>| {
        bytes[32] &= !1;
        bytes
    };
    let longer = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen('{', "{ ", 1).into_bytes();
    let mut all = Vec::new();
    for (credential, expected) in [
        (changed("signature", flip_last), CredentialRefusal::Signature),
        (changed("clientDataJSON", longer), CredentialRefusal::Signature),
        (changed("authenticatorData", absent), CredentialRefusal::UserPresence),
    ] {
        let relying_party = relying_party("example.com", ORIGIN, &[]);
        let response = AssertionResponse::from_json(&credential).unwrap();
        let known = Some(stored(&registered));
        let ours = relying_party.finish_authentication(&tenant(), &state, &response, known);
        assert_eq!(refusal(ours), Some(expected));
        let mut json = json.clone();
        json["authentication"]["credential"] = credential.into();
        all.push(json);
    }
    for theirs in peer.verify(&all) {
        assert!(theirs["refused"].is_string(), "{theirs}");
    }
}

/// Registrations and assertions from the public test suites of both libraries; `source` of each says which.
#[derive(Deserialize)]
struct Vectors {
    registrations: Vec<Vector>,
    assertions: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    source: String,
    name: String,
    rp_id: String,
    origin: String,
    /// In base64url, as the key.
    challenge: String,
    /// In COSE. Not given where the registration has it.
    #[serde(default)]
    public_key: String,
    sign_count: u32,
    user_verified: bool,
    #[serde(default)]
    format: String,
    credential: Value,
}

impl Vectors {
    fn read() -> Self {
        serde_json::from_str(include_str!("peers/vectors.json")).unwrap()
    }
}

impl Vector {
    fn bytes(text: &str) -> Vec<u8> {
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
    }
}

#[test]
fn registrations_of_their_test_suites_are_accepted() {
    for vector in Vectors::read().registrations {
        let relying_party = relying_party(&vector.rp_id, &vector.origin, &[]);
        let response = RegistrationResponse::from_json(&vector.credential.to_string()).unwrap();
        let registered = register(&relying_party, &Vector::bytes(&vector.challenge), &response);
        let registered =
            registered.unwrap_or_else(|error| panic!("{}, {}: {error}", vector.source, vector.name));
        let passkey = registered.passkey;
        assert_eq!(passkey.credential_id.to_string(), vector.credential["id"]);
        assert_eq!(passkey.attestation.format, vector.format);
        assert_eq!((passkey.sign_count, passkey.user_verified), (vector.sign_count, vector.user_verified));
    }
}

#[test]
fn assertions_of_their_test_suites_are_accepted_and_those_of_other_keys_refused() {
    let vectors = Vectors::read().assertions;
    for (place, vector) in vectors.iter().enumerate() {
        let Vector { source, name, .. } = vector;
        let relying_party = relying_party(&vector.rp_id, &vector.origin, &[]);
        let response = AssertionResponse::from_json(&vector.credential.to_string()).unwrap();
        let with = |key: &str| {
            let credential = imported(&vector.rp_id, &response.credential_id, &Vector::bytes(key));
            authenticate(&relying_party, &Vector::bytes(&vector.challenge), &response, &credential)
        };
        let assertion = with(&vector.public_key);
        let assertion = assertion.unwrap_or_else(|error| panic!("{source}, {name}: {error}"));
        assert_eq!(
            (assertion.sign_count, assertion.user_verified),
            (vector.sign_count, vector.user_verified)
        );
        let other = &vectors[(place + 1) % vectors.len()];
        assert_eq!(refusal(with(&other.public_key)), Some(CredentialRefusal::Signature), "{source}, {name}");
    }
}
