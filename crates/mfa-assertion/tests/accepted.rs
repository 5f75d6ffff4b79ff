//! What is accepted. Without these, tests of refusals would prove nothing.

use mfa_assertion::{Acr, Expected, Refusal};
use rstest::rstest;
use serde_json::json;

use crate::support::{EXPECTED, Issuer, NONCE, NOW, SUBJECT, claims, claims_with, key_set, verifier};

#[rstest]
fn an_assertion_says_who_was_verified_when_and_how(#[values("ES256", "EdDSA", "Ed25519")] alg: &'static str) {
    let assertion = Issuer::new(alg).verify_claims(&claims()).unwrap();
    assert_eq!(assertion.subject, SUBJECT);
    assert_eq!(assertion.tenant, "acme");
    assert_eq!(assertion.id, "q83vEjRWeJCrze8SNFZ4kA");
    assert_eq!(assertion.issued_at, NOW - 5);
    assert_eq!(assertion.expires_at, NOW + 60);
    assert_eq!(assertion.auth_time, NOW - 1);
    assert_eq!(assertion.methods, ["hwk", "user"]);
    assert_eq!(assertion.acr, Acr::High);
    assert_eq!(assertion.factor.as_deref(), Some("fct_2p2egftjojmab5ltxnmqwvdoaa"));
    assert_eq!(assertion.nonce.as_deref(), Some(NONCE));
}

#[test]
fn an_assertion_of_a_backup_code_has_no_factor() {
    let assertion = Issuer::new("ES256").verify_claims(&claims_with("factor", None)).unwrap();
    assert_eq!(assertion.factor, None);
}

#[test]
fn an_assertion_without_nonce_is_accepted_where_none_is_expected() {
    let issuer = Issuer::new("ES256");
    let jws = issuer.assertion(&claims_with("nonce", None));
    let expected = Expected { nonce: None, ..EXPECTED };
    let assertion = verifier().verify(&issuer.keys(), &jws, expected, NOW).unwrap();
    assert_eq!(assertion.nonce, None);
}

#[test]
fn an_array_of_one_audience_is_accepted() {
    assert!(Issuer::new("ES256").verify_claims(&claims_with("aud", Some(json!(["acme"])))).is_ok());
}

#[test]
fn unknown_claims_and_header_parameters_are_ignored() {
    let issuer = Issuer::new("ES256");
    let mut header = issuer.header();
    header["cty"] = json!({ "alg": "none", "crit": ["exp"] });
    header["jwk"] = Issuer::new("ES256").jwk();
    let claims = claims_with("device", Some(json!([{ "sub": "mallory" }, null])));
    assert!(issuer.verify(&issuer.signed(header.to_string(), claims.to_string())).is_ok());
}

#[test]
fn texts_with_escape_sequences_are_read() {
    let issuer = Issuer::new("ES256");
    let text = claims().to_string().replace("alice", "\\u0061lice").replace("\"jti\"", "\"\\u006ati\"");
    assert_eq!(issuer.verify(&issuer.signed(issuer.header().to_string(), text)).unwrap().subject, "alice");
}

#[test]
fn the_key_is_chosen_by_its_id() {
    let (old, new) = (Issuer::with_kid("ES256", "old"), Issuer::with_kid("EdDSA", "new"));
    let keys = key_set(&[old.jwk(), new.jwk()]);
    for issuer in [&old, &new] {
        let jws = issuer.assertion(&claims());
        assert!(verifier().verify(&keys, &jws, EXPECTED, NOW).is_ok(), "{}", issuer.kid);
    }
}

#[test]
fn a_kept_assertion_is_accepted_after_it_has_expired() {
    let issuer = Issuer::new("ES256");
    let (keys, jws) = (issuer.keys(), issuer.assertion(&claims()));
    let later = NOW + 3600;
    assert_eq!(verifier().verify(&keys, &jws, EXPECTED, later), Err(Refusal::Expired));
    assert_eq!(verifier().verify_kept(&keys, &jws, EXPECTED, later).unwrap().auth_time, NOW - 1);
}

#[test]
fn a_kept_assertion_needs_the_nonce_of_its_session() {
    let issuer = Issuer::new("ES256");
    let verify = |jws: &str, nonce: Option<&str>| {
        verifier().verify_kept(&issuer.keys(), jws, Expected { subject: SUBJECT, nonce }, NOW).map(|_| ())
    };
    let bound = issuer.assertion(&claims());
    let unbound = issuer.assertion(&claims_with("nonce", None));
    assert_eq!(verify(&bound, Some(NONCE)), Ok(()));
    assert_eq!(verify(&bound, Some("of another session")), Err(Refusal::Nonce));
    assert_eq!(verify(&bound, None), Err(Refusal::NonceRequired));
    assert_eq!(verify(&unbound, Some(NONCE)), Err(Refusal::Nonce));
    assert_eq!(verify(&unbound, None), Err(Refusal::NonceRequired));
}

#[test]
fn the_issuer_compares_the_nonce_of_its_own_assertion_only_if_one_is_expected() {
    let issuer = Issuer::new("ES256");
    let later = NOW + 3600;
    let verify = |jws: &str, subject: &str, nonce: Option<&str>| {
        verifier().verify_own(&issuer.keys(), jws, Expected { subject, nonce }, later).map(|_| ())
    };
    let bound = issuer.assertion(&claims());
    let unbound = issuer.assertion(&claims_with("nonce", None));
    for nonce in [None, Some(NONCE)] {
        assert_eq!(verify(&bound, SUBJECT, nonce), Ok(()));
        assert_eq!(verify(&bound, "bob", nonce), Err(Refusal::Subject));
    }
    assert_eq!(verify(&unbound, SUBJECT, None), Ok(()));
    assert_eq!(verify(&unbound, SUBJECT, Some(NONCE)), Err(Refusal::Nonce));
    assert_eq!(verify(&bound, SUBJECT, Some("of another session")), Err(Refusal::Nonce));
    let foreign = Issuer::new("ES256").assertion(&claims());
    assert_eq!(verify(&foreign, SUBJECT, None), Err(Refusal::Signature));
}
