//! Which keys of a key set are used.

use mfa_assertion::{InvalidKeySet, KeySet, Refusal};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{EXPECTED, Issuer, NOW, claims, encoded, key_set, verifier};

/// What the usual host says about a right assertion by the key, which the key set has in this form.
fn verify(issuer: &Issuer, keys: &KeySet) -> Result<(), Refusal> {
    verifier().verify(keys, &issuer.assertion(&claims()), EXPECTED, NOW).map(|_| ())
}

#[rstest]
#[case::for_encryption("use", Some(json!("enc")))]
#[case::for_no_use("use", None)]
#[case::for_a_use_that_is_null("use", Some(json!(null)))]
#[case::for_signing_only("key_ops", Some(json!(["sign"])))]
#[case::for_no_operation("key_ops", Some(json!([])))]
#[case::private("d", Some(json!("AA")))]
#[case::without_id("kid", None)]
#[case::with_a_number_as_id("kid", Some(json!(1)))]
#[case::without_type("kty", None)]
#[case::of_another_type("kty", Some(json!("OKP")))]
#[case::a_secret("kty", Some(json!("oct")))]
#[case::of_another_curve("crv", Some(json!("P-384")))]
#[case::of_the_curve_of_bitcoin("crv", Some(json!("secp256k1")))]
#[case::without_curve("crv", None)]
#[case::for_another_curve_by_algorithm("alg", Some(json!("ES384")))]
#[case::for_a_mac("alg", Some(json!("HS256")))]
#[case::for_another_type_by_algorithm("alg", Some(json!("EdDSA")))]
#[case::without_y("y", None)]
#[case::with_a_short_coordinate("x", Some(json!(encoded(&[1; 31]))))]
#[case::with_a_long_coordinate("x", Some(json!(encoded(&[1; 33]))))]
#[case::with_padding("y", Some(json!(format!("{}=", encoded(&[1; 32])))))]
#[case::with_another_alphabet("y", Some(json!("+".repeat(43))))]
fn a_key_that_is_not_for_these_signatures_is_ignored(#[case] name: &str, #[case] value: Option<Value>) {
    let issuer = Issuer::new("ES256");
    let mut jwk = issuer.jwk();
    match value {
        Some(value) => jwk[name] = value,
        None => assert!(jwk.as_object_mut().unwrap().remove(name).is_some()),
    }
    let keys = key_set(&[jwk]);
    assert!(keys.is_empty());
    assert_eq!(verify(&issuer, &keys), Err(Refusal::UnknownKey));
}

#[test]
fn a_key_for_verifying_is_used_and_unknown_members_are_ignored() {
    let issuer = Issuer::new("ES256");
    let mut jwk = issuer.jwk();
    jwk["key_ops"] = json!(["verify"]);
    jwk["x5t"] = json!("?");
    let keys = key_set(&[jwk]);
    assert!(!keys.is_empty());
    assert_eq!(verify(&issuer, &keys), Ok(()));
}

#[test]
fn a_point_that_is_not_on_the_curve_verifies_nothing() {
    let issuer = Issuer::new("ES256");
    let mut jwk = issuer.jwk();
    jwk["y"] = jwk["x"].clone();
    assert_eq!(verify(&issuer, &key_set(&[jwk])), Err(Refusal::Signature));
}

#[test]
fn of_two_keys_with_one_id_neither_is_used() {
    let (first, second) = (Issuer::new("ES256"), Issuer::new("EdDSA"));
    let third = Issuer::with_kid("ES256", "key-3");
    let keys = key_set(&[first.jwk(), third.jwk(), second.jwk()]);
    assert_eq!(verify(&first, &keys), Err(Refusal::UnknownKey));
    assert_eq!(verify(&second, &keys), Err(Refusal::UnknownKey));
    assert_eq!(verify(&third, &keys), Ok(()));
    assert!(key_set(&[first.jwk(), first.jwk()]).is_empty());
}

#[test]
fn a_key_that_is_ignored_does_not_take_the_id_of_another() {
    let issuer = Issuer::new("ES256");
    let mut for_encryption = Issuer::new("ES256").jwk();
    for_encryption["use"] = json!("enc");
    assert_eq!(verify(&issuer, &key_set(&[for_encryption, issuer.jwk()])), Ok(()));
}

#[test]
fn keys_of_other_sorts_do_not_disturb_the_usable_ones() {
    let (first, second) = (Issuer::with_kid("ES256", "first"), Issuer::with_kid("Ed25519", "second"));
    let rsa = json!({ "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": "AQAB", "e": "AQAB" });
    let keys = key_set(&[json!(null), json!({}), first.jwk(), rsa, json!([1]), json!("key"), second.jwk()]);
    assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!(verify(&first, &keys), Ok(()));
    assert_eq!(verify(&second, &keys), Ok(()));
}

#[test]
fn a_key_with_a_member_that_is_there_twice_is_ignored() {
    let issuer = Issuer::new("ES256");
    let jwk = issuer.jwk().to_string();
    let twice = format!(r#"{{"keys":[{},"use":"sig"}}]}}"#, jwk.strip_suffix('}').unwrap());
    assert!(KeySet::from_json(&twice).unwrap().is_empty());
}

#[test]
fn an_empty_key_set_verifies_nothing() {
    let keys = KeySet::from_json(r#"{"keys":[]}"#).unwrap();
    assert!(keys.is_empty());
    assert_eq!(verify(&Issuer::new("ES256"), &keys), Err(Refusal::UnknownKey));
}

#[rstest]
#[case::nothing("")]
#[case::not_json("<html>")]
#[case::an_array("[]")]
#[case::without_keys("{}")]
#[case::keys_as_object(r#"{"keys":{}}"#)]
#[case::keys_as_null(r#"{"keys":null}"#)]
#[case::keys_twice(r#"{"keys":[],"keys":[]}"#)]
#[case::followed_by_more(r#"{"keys":[]}{}"#)]
#[case::cut(r#"{"keys":[{"kty":"EC""#)]
fn a_text_that_is_no_key_set_is_an_error(#[case] text: &str) {
    assert_eq!(KeySet::from_json(text).map(|_| ()), Err(InvalidKeySet::Malformed));
}

#[test]
fn a_key_set_has_at_most_64_kib() {
    let text = |length: usize| format!(r#"{{"keys":[]{}}}"#, " ".repeat(length - 11));
    assert!(KeySet::from_json(&text(64 * 1024)).is_ok());
    assert_eq!(KeySet::from_json(&text(64 * 1024 + 1)).map(|_| ()), Err(InvalidKeySet::TooLong));
}
