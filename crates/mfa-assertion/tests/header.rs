//! Headers and signatures that are refused.

use mfa_assertion::Refusal;
use ring::hmac;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{EXPECTED, Issuer, NOW, claims, encoded, key_set, parts, verifier};

/// What the usual host says about a right signature under the usual header with one parameter changed, or without it.
fn verify_with(issuer: &Issuer, name: &str, value: Option<Value>) -> Result<(), Refusal> {
    let mut header = issuer.header();
    match value {
        Some(value) => header[name] = value,
        None => assert!(header.as_object_mut().unwrap().remove(name).is_some()),
    }
    issuer.verify(&issuer.signed(header.to_string(), claims().to_string())).map(|_| ())
}

#[test]
fn an_assertion_without_signature_is_refused() {
    let issuer = Issuer::new("ES256");
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = json!({ "alg": alg, "kid": issuer.kid, "typ": "mfa-assertion+jwt" });
        let unsigned = format!(
            "{}.{}.",
            encoded(header.to_string().as_bytes()),
            encoded(claims().to_string().as_bytes())
        );
        assert_eq!(issuer.verify(&unsigned), Err(Refusal::Algorithm), "{alg}");
        let signed = issuer.signed(header.to_string(), claims().to_string());
        assert_eq!(issuer.verify(&signed), Err(Refusal::Algorithm), "{alg}");
    }
}

#[test]
fn a_mac_with_the_public_key_as_its_secret_is_refused() {
    let issuer = Issuer::new("ES256");
    let secrets = [issuer.public_key().to_vec(), issuer.jwk().to_string().into_bytes()];
    for secret in secrets {
        let header = json!({ "alg": "HS256", "kid": issuer.kid, "typ": "mfa-assertion+jwt" });
        let message = format!(
            "{}.{}",
            encoded(header.to_string().as_bytes()),
            encoded(claims().to_string().as_bytes())
        );
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        let jws = format!("{message}.{}", encoded(tag.as_ref()));
        assert_eq!(issuer.verify(&jws), Err(Refusal::Algorithm));
    }
}

#[rstest]
fn an_algorithm_that_is_not_supported_is_refused(
    #[values("", "es256", "ES256K", "ES384", "RS256", "PS256", "EdDSA ", "ed25519", "Ed448")] alg: &str,
) {
    assert_eq!(verify_with(&Issuer::new("ES256"), "alg", Some(json!(alg))), Err(Refusal::Algorithm));
}

#[rstest]
#[case("ES256", "EdDSA")]
#[case("ES256", "Ed25519")]
#[case("EdDSA", "Ed25519")]
#[case("EdDSA", "ES256")]
#[case("Ed25519", "EdDSA")]
#[case("Ed25519", "ES256")]
fn another_algorithm_than_the_one_of_the_key_is_refused(#[case] of_key: &'static str, #[case] alg: &str) {
    assert_eq!(verify_with(&Issuer::new(of_key), "alg", Some(json!(alg))), Err(Refusal::KeyAlgorithm));
}

#[rstest]
#[case("ES256", "ES256", Ok(()))]
#[case("ES256", "EdDSA", Err(Refusal::KeyAlgorithm))]
#[case("Ed25519", "EdDSA", Ok(()))]
#[case("Ed25519", "Ed25519", Ok(()))]
#[case("Ed25519", "ES256", Err(Refusal::KeyAlgorithm))]
fn a_key_without_algorithm_is_judged_by_its_type(
    #[case] of_key: &'static str,
    #[case] alg: &str,
    #[case] expected: Result<(), Refusal>,
) {
    let issuer = Issuer::new(of_key);
    let mut jwk = issuer.jwk();
    assert!(jwk.as_object_mut().unwrap().remove("alg").is_some());
    let mut header = issuer.header();
    header["alg"] = json!(alg);
    let jws = issuer.signed(header.to_string(), claims().to_string());
    assert_eq!(verifier().verify(&key_set(&[jwk]), &jws, EXPECTED, NOW).map(|_| ()), expected);
}

#[rstest]
#[case::of_a_known_parameter(json!(["exp"]))]
#[case::of_an_unknown_one(json!(["b64"]))]
#[case::of_nothing(json!([]))]
#[case::null(json!(null))]
fn a_critical_extension_is_refused(#[case] crit: Value) {
    assert_eq!(verify_with(&Issuer::new("ES256"), "crit", Some(crit)), Err(Refusal::Critical));
}

#[rstest]
#[case::any_token(Some(json!("JWT")))]
#[case::an_access_token(Some(json!("at+jwt")))]
#[case::in_capitals(Some(json!("MFA-ASSERTION+JWT")))]
#[case::with_a_prefix(Some(json!("application/mfa-assertion+jwt")))]
#[case::empty(Some(json!("")))]
#[case::none(None)]
fn another_type_is_refused(#[case] typ: Option<Value>) {
    assert_eq!(verify_with(&Issuer::new("ES256"), "typ", typ), Err(Refusal::Type));
}

#[rstest]
#[case::unknown(Some(json!("key-2")))]
#[case::in_capitals(Some(json!("KEY-1")))]
#[case::empty(Some(json!("")))]
#[case::none(None)]
fn an_unknown_key_is_refused(#[case] kid: Option<Value>) {
    assert_eq!(verify_with(&Issuer::new("ES256"), "kid", kid), Err(Refusal::UnknownKey));
}

#[test]
fn a_key_that_the_header_brings_along_is_not_used() {
    let (issuer, forger) = (Issuer::new("ES256"), Issuer::new("ES256"));
    let mut header = forger.header();
    header["jwk"] = forger.jwk();
    header["jku"] = json!("https://forger.example.com/jwks.json");
    let jws = forger.signed(header.to_string(), claims().to_string());
    assert_eq!(issuer.verify(&jws), Err(Refusal::Signature));
}

#[rstest]
#[case::number_as_algorithm("alg", Some(json!(1)))]
#[case::null_as_algorithm("alg", Some(json!(null)))]
#[case::no_algorithm("alg", None)]
#[case::number_as_key("kid", Some(json!(1)))]
#[case::null_as_key("kid", Some(json!(null)))]
#[case::array_as_type("typ", Some(json!(["mfa-assertion+jwt"])))]
fn a_parameter_of_a_wrong_type_is_refused(#[case] name: &str, #[case] value: Option<Value>) {
    assert_eq!(verify_with(&Issuer::new("ES256"), name, value), Err(Refusal::Header));
}

#[rstest]
#[case::known(r#""kid":"key-1""#)]
#[case::escaped(r#""\u006bid":"key-1""#)]
#[case::unknown(r#""x":1,"x":1"#)]
fn a_parameter_that_is_there_twice_is_refused(#[case] more: &str) {
    let issuer = Issuer::new("ES256");
    let header = issuer.header().to_string();
    let header = format!("{},{more}}}", header.strip_suffix('}').unwrap());
    assert_eq!(issuer.verify(&issuer.signed(header, claims().to_string())), Err(Refusal::Header));
}

#[rstest]
#[case::nothing("")]
#[case::null("null")]
#[case::positional(r#"["ES256","key-1","mfa-assertion+jwt"]"#)]
#[case::not_json("ES256")]
fn a_header_that_is_no_object_is_refused(#[case] header: &str) {
    let issuer = Issuer::new("ES256");
    assert_eq!(issuer.verify(&issuer.signed(header, claims().to_string())), Err(Refusal::Header));
}

#[rstest]
fn a_changed_payload_is_refused(#[values("ES256", "EdDSA", "Ed25519")] alg: &'static str) {
    let issuer = Issuer::new(alg);
    let mut other = claims();
    other["acr"] = json!("low");
    let jws = issuer.assertion(&other);
    let [header, _, signature] = parts(&jws);
    let changed = format!("{header}.{}.{signature}", encoded(claims().to_string().as_bytes()));
    assert_eq!(issuer.verify(&changed), Err(Refusal::Signature));
}

#[rstest]
fn a_changed_header_is_refused(#[values("ES256", "EdDSA", "Ed25519")] alg: &'static str) {
    let issuer = Issuer::new(alg);
    let jws = issuer.assertion(&claims());
    let [_, claims, signature] = parts(&jws);
    let mut header = issuer.header();
    header["x"] = json!(1);
    let changed = format!("{}.{claims}.{signature}", encoded(header.to_string().as_bytes()));
    assert_eq!(issuer.verify(&changed), Err(Refusal::Signature));
}

#[rstest]
fn a_made_up_signature_is_refused(#[values("ES256", "EdDSA", "Ed25519")] alg: &'static str) {
    let issuer = Issuer::new(alg);
    let jws = issuer.assertion(&claims());
    let [header, claims, _] = parts(&jws);
    let all_ones = [[0; 31].as_slice(), &[1], &[0; 31], &[1]].concat();
    for signature in [vec![0; 64], vec![0xff; 64], all_ones] {
        assert_eq!(signature.len(), 64);
        let forged = format!("{header}.{claims}.{}", encoded(&signature));
        assert_eq!(issuer.verify(&forged), Err(Refusal::Signature), "{signature:?}");
    }
    for length in [0, 1, 32, 63, 65, 128] {
        let forged = format!("{header}.{claims}.{}", encoded(&vec![0; length]));
        assert_eq!(issuer.verify(&forged), Err(Refusal::Signature), "{length}");
    }
}

#[rstest]
fn the_signature_of_another_assertion_or_of_another_key_is_refused(
    #[values("ES256", "EdDSA", "Ed25519")] alg: &'static str,
) {
    let (issuer, stranger) = (Issuer::new(alg), Issuer::new(alg));
    let mut other = claims();
    other["jti"] = json!("another");
    let (jws, elsewhere) = (issuer.assertion(&claims()), issuer.assertion(&other));
    let ([header, claims_part, _], [.., signature]) = (parts(&jws), parts(&elsewhere));
    assert_eq!(issuer.verify(&format!("{header}.{claims_part}.{signature}")), Err(Refusal::Signature));
    assert_eq!(issuer.verify(&stranger.assertion(&claims())), Err(Refusal::Signature));
}
