//! Public keys of passkeys from other systems: by which of them assertions can be checked.

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::passkey::PublicKey;
use mfa_domain::ports::{CredentialRefusal, Webauthn};
use serde_json::{Value, json};

use crate::support::{Algorithm, Authenticator, party, registered};

/// The public key of a new passkey, as JSON.
fn key(algorithm: Algorithm) -> Value {
    let authenticator = Authenticator::new(algorithm);
    if let Some(key) = authenticator.ed25519() {
        return json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(key), "alg": "EdDSA" });
    }
    serde_json::from_str(registered(&party(), &authenticator).public_key.as_str()).unwrap()
}

/// Such a key with another member.
fn with(algorithm: Algorithm, member: &str, value: impl Into<Value>) -> Value {
    let mut key = key(algorithm);
    key[member] = value.into();
    key
}

fn refusal(key: &Value) -> Option<CredentialRefusal> {
    refusal_of(&key.to_string())
}

fn refusal_of(text: &str) -> Option<CredentialRefusal> {
    party().check_key(&PublicKey::new(text)).err()
}

#[test]
fn the_keys_of_all_supported_algorithms_are_good() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::Ed25519] {
        assert_eq!(refusal(&key(algorithm)), None, "{algorithm:?}");
    }
    assert_eq!(refusal(&with(Algorithm::Ed25519, "alg", "Ed25519")), None, "RFC 9864");
    assert_eq!(refusal(&with(Algorithm::Es256, "kid", "7")), None, "a member that is not known");
}

#[test]
fn a_key_of_another_algorithm_is_refused_as_such() {
    for key in [
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "alg": "ES512" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "alg": "ES256K" }),
        json!({ "kty": "OKP", "crv": "Ed448", "x": "AA", "alg": "EdDSA" }),
        with(Algorithm::Rs256, "alg", "PS256"),
        with(Algorithm::Es256, "crv", "P-384"),
    ] {
        assert_eq!(refusal(&key), Some(CredentialRefusal::Algorithm), "{key}");
    }
}

#[test]
fn what_no_signature_can_be_right_by_is_no_key() {
    let bytes = |length: usize| BASE64URL_NOPAD.encode(&vec![0xab; length]);
    let leading_zero = {
        let n = key(Algorithm::Rs256)["n"].as_str().unwrap().to_owned();
        let n = BASE64URL_NOPAD.decode(n.as_bytes()).unwrap();
        BASE64URL_NOPAD.encode(&[&[0][..], &n].concat())
    };
    let mut without_y = key(Algorithm::Es256);
    without_y.as_object_mut().unwrap().remove("y");
    let mut without_alg = key(Algorithm::Es256);
    without_alg.as_object_mut().unwrap().remove("alg");
    for key in [
        json!(""),
        json!([]),
        json!({}),
        without_y,
        without_alg,
        with(Algorithm::Es256, "x", "+/"),
        with(Algorithm::Es256, "x", bytes(31)),
        with(Algorithm::Es256, "x", bytes(33)),
        // Not on the curve.
        with(Algorithm::Es256, "x", bytes(32)),
        with(Algorithm::Es384, "y", bytes(48)),
        with(Algorithm::Ed25519, "x", bytes(31)),
        with(Algorithm::Rs256, "n", bytes(128)),
        with(Algorithm::Rs256, "n", bytes(1025)),
        with(Algorithm::Rs256, "n", leading_zero),
        // Even.
        with(Algorithm::Rs256, "n", BASE64URL_NOPAD.encode(&[0xaa; 256])),
        with(Algorithm::Rs256, "e", "AQ"),
        with(Algorithm::Rs256, "e", "AAEAAQ"),
        with(Algorithm::Rs256, "e", ""),
        with(Algorithm::Rs256, "e", bytes(9)),
    ] {
        assert_eq!(refusal(&key), Some(CredentialRefusal::PublicKey), "{key}");
    }
    for text in ["", "key", "-----BEGIN PUBLIC KEY-----"] {
        assert_eq!(refusal_of(text), Some(CredentialRefusal::PublicKey), "{text}");
    }
}
