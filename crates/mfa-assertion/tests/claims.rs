//! Claims that are refused although the signature is right.

use mfa_assertion::{Expected, Refusal, Verifier};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{AUDIENCE, EXPECTED, ISSUER, Issuer, NONCE, NOW, claims, claims_with, verifier};

#[rstest]
#[case::another_issuer("iss", Some(json!("https://mfa.example.org")), Refusal::Issuer)]
#[case::issuer_with_a_slash("iss", Some(json!("https://mfa.example.com/")), Refusal::Issuer)]
#[case::empty_issuer("iss", Some(json!("")), Refusal::Issuer)]
#[case::no_issuer("iss", None, Refusal::Issuer)]
#[case::another_audience("aud", Some(json!("umbrella")), Refusal::Audience)]
#[case::several_audiences("aud", Some(json!(["acme", "umbrella"])), Refusal::Audience)]
#[case::the_audience_twice("aud", Some(json!(["acme", "acme"])), Refusal::Audience)]
#[case::no_element("aud", Some(json!([])), Refusal::Audience)]
#[case::empty_audience("aud", Some(json!("")), Refusal::Audience)]
#[case::no_audience("aud", None, Refusal::Audience)]
#[case::another_user("sub", Some(json!("mallory")), Refusal::Subject)]
#[case::user_in_capitals("sub", Some(json!("ALICE")), Refusal::Subject)]
#[case::empty_user("sub", Some(json!("")), Refusal::Subject)]
#[case::no_user("sub", None, Refusal::Subject)]
#[case::another_session("nonce", Some(json!("f5x_8sBvWq4")), Refusal::Nonce)]
#[case::empty_session("nonce", Some(json!("")), Refusal::Nonce)]
#[case::no_session("nonce", None, Refusal::Nonce)]
fn an_assertion_for_somebody_else_is_refused(
    #[case] claim: &str,
    #[case] value: Option<Value>,
    #[case] refusal: Refusal,
) {
    assert_eq!(Issuer::new("ES256").verify_claims(&claims_with(claim, value)), Err(refusal));
}

#[rstest]
#[case::number_as_user("sub", Some(json!(1)))]
#[case::null_as_user("sub", Some(json!(null)))]
#[case::array_as_issuer("iss", Some(json!([ISSUER])))]
#[case::number_as_audience("aud", Some(json!(1)))]
#[case::null_as_audience("aud", Some(json!(null)))]
#[case::null_as_nonce("nonce", Some(json!(null)))]
#[case::no_time_of_issue("iat", None)]
#[case::time_of_issue_as_text("iat", Some(json!("1800000000")))]
#[case::time_of_issue_with_fraction("iat", Some(json!(1_799_999_999.0)))]
#[case::time_of_issue_before_1970("iat", Some(json!(-1)))]
#[case::no_expiry("exp", None)]
#[case::null_as_expiry("exp", Some(json!(null)))]
#[case::expiry_with_fraction("exp", Some(json!(1.8e10)))]
#[case::null_as_begin("nbf", Some(json!(null)))]
#[case::begin_as_text("nbf", Some(json!("0")))]
#[case::no_time_of_verification("auth_time", None)]
#[case::time_of_verification_before_1970("auth_time", Some(json!(-1)))]
#[case::no_id("jti", None)]
#[case::empty_id("jti", Some(json!("")))]
#[case::no_methods("amr", None)]
#[case::method_as_text("amr", Some(json!("hwk")))]
#[case::number_as_method("amr", Some(json!(["hwk", 1])))]
#[case::no_assurance("acr", None)]
#[case::unknown_assurance("acr", Some(json!("highest")))]
#[case::no_tenant("tenant", None)]
#[case::null_as_factor("factor", Some(json!(null)))]
fn a_claim_of_a_wrong_type_or_one_that_is_missing_is_refused(
    #[case] claim: &str,
    #[case] value: Option<Value>,
) {
    assert_eq!(Issuer::new("ES256").verify_claims(&claims_with(claim, value)), Err(Refusal::Claims));
}

#[rstest]
#[case::a_known_one(r#""sub":"alice""#)]
#[case::another_value(r#""sub":"mallory""#)]
#[case::escaped(r#""\u0073ub":"alice""#)]
#[case::times(r#""exp":1900000000"#)]
fn a_claim_that_is_there_twice_is_refused(#[case] second: &str) {
    let issuer = Issuer::new("ES256");
    let once = claims().to_string();
    let twice = format!("{},{second}}}", once.strip_suffix('}').unwrap());
    assert_eq!(issuer.verify(&issuer.signed(issuer.header().to_string(), twice)), Err(Refusal::Claims));
}

#[test]
fn an_unknown_claim_that_is_there_twice_is_refused() {
    let issuer = Issuer::new("ES256");
    let verify = |more: &str| {
        let claims = claims().to_string();
        let claims = format!("{},{more}}}", claims.strip_suffix('}').unwrap());
        issuer.verify(&issuer.signed(issuer.header().to_string(), claims)).map(|_| ())
    };
    assert_eq!(verify(r#""x":1,"y":1"#), Ok(()));
    assert_eq!(verify(r#""x":1,"x":1"#), Err(Refusal::Claims));
}

#[rstest]
#[case::nothing("")]
#[case::null("null")]
#[case::an_array("[]")]
#[case::a_text("\"alice\"")]
#[case::an_empty_object("{}")]
#[case::two_objects("{}{}")]
#[case::not_json("alice")]
fn claims_that_are_no_object_with_the_required_ones_are_refused(#[case] text: &str) {
    let issuer = Issuer::new("ES256");
    assert_eq!(issuer.verify(&issuer.signed(issuer.header().to_string(), text)), Err(Refusal::Claims));
}

#[test]
fn anything_after_the_claims_is_refused() {
    let issuer = Issuer::new("ES256");
    let verify = |end: &str| {
        let claims = format!("{}{end}", claims());
        issuer.verify(&issuer.signed(issuer.header().to_string(), claims)).map(|_| ())
    };
    assert_eq!(verify(""), Ok(()));
    for end in ["{}", "\0", "}", ",", "x"] {
        assert_eq!(verify(end), Err(Refusal::Claims), "{end:?}");
    }
}

#[test]
fn claims_that_are_not_utf8_are_refused() {
    let issuer = Issuer::new("ES256");
    let mut bytes = claims_with("x", Some(json!("?"))).to_string().into_bytes();
    let place = bytes.iter().position(|byte| *byte == b'?').unwrap();
    bytes[place] = 0xff;
    assert_eq!(issuer.verify(&issuer.signed(issuer.header().to_string(), bytes)), Err(Refusal::Claims));
}

#[test]
fn a_host_that_binds_to_no_session_refuses_an_assertion_that_is_bound_to_one() {
    let issuer = Issuer::new("ES256");
    let expected = Expected { nonce: None, ..EXPECTED };
    for nonce in [NONCE, ""] {
        let jws = issuer.assertion(&claims_with("nonce", Some(json!(nonce))));
        let refused = verifier().verify(&issuer.keys(), &jws, expected, NOW);
        assert_eq!(refused, Err(Refusal::NonceUnexpected), "{nonce}");
    }
}

#[test]
fn a_host_that_has_nothing_to_compare_with_accepts_nothing() {
    let issuer = Issuer::new("ES256");
    let (no_subject, no_nonce) =
        (Expected { subject: "", ..EXPECTED }, Expected { nonce: Some(""), ..EXPECTED });
    for (claim, verifier, expected, refusal) in [
        ("iss", Verifier::new("", AUDIENCE), EXPECTED, Refusal::Issuer),
        ("aud", Verifier::new(ISSUER, ""), EXPECTED, Refusal::Audience),
        ("sub", verifier(), no_subject, Refusal::Subject),
        ("nonce", verifier(), no_nonce, Refusal::Nonce),
    ] {
        // Not even the empty text, which the host would be taken to expect.
        let jws = issuer.assertion(&claims_with(claim, Some(json!(""))));
        assert_eq!(verifier.verify(&issuer.keys(), &jws, expected, NOW), Err(refusal));
    }
}

#[test]
fn another_tenant_with_the_same_audience_is_refused_where_a_tenant_is_expected() {
    let issuer = Issuer::new("ES256");
    let verify = |verifier: &Verifier, tenant: &str| {
        let jws = issuer.assertion(&claims_with("tenant", Some(json!(tenant))));
        verifier.verify(&issuer.keys(), &jws, EXPECTED, NOW).map(|_| ())
    };
    assert_eq!(verify(&verifier(), "umbrella"), Ok(()));
    let of_acme = verifier().tenant("acme");
    assert_eq!(verify(&of_acme, "acme"), Ok(()));
    assert_eq!(verify(&of_acme, "umbrella"), Err(Refusal::Tenant));
    assert_eq!(verify(&verifier().tenant(""), ""), Err(Refusal::Tenant));
}
