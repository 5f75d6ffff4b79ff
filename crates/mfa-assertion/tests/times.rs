//! The times of an assertion, to the second.

use std::time::Duration;

use mfa_assertion::{Refusal, Verifier};
use rstest::rstest;
use serde_json::json;

use crate::support::{EXPECTED, Issuer, NOW, claims, verifier};

/// What a verifier says about an assertion with one time changed.
fn verify(verifier: &Verifier, claim: &str, time: u64) -> Result<(), Refusal> {
    let issuer = Issuer::new("ES256");
    let mut claims = claims();
    claims[claim] = json!(time);
    verifier.verify(&issuer.keys(), &issuer.assertion(&claims), EXPECTED, NOW).map(|_| ())
}

#[rstest]
#[case::long_expired("exp", NOW - 3600, Err(Refusal::Expired))]
#[case::just_expired("exp", NOW - 5, Err(Refusal::Expired))]
#[case::within_the_leeway("exp", NOW - 4, Ok(()))]
#[case::expires_now("exp", NOW, Ok(()))]
#[case::never_expires("exp", u64::MAX, Ok(()))]
#[case::far_from_valid("nbf", NOW + 3600, Err(Refusal::NotYetValid))]
#[case::not_yet_valid("nbf", NOW + 6, Err(Refusal::NotYetValid))]
#[case::valid_within_the_leeway("nbf", NOW + 5, Ok(()))]
#[case::valid_for_long("nbf", 0, Ok(()))]
#[case::issued_in_an_hour("iat", NOW + 3600, Err(Refusal::DatedAhead))]
#[case::issued_ahead("iat", NOW + 6, Err(Refusal::DatedAhead))]
#[case::issued_within_the_leeway("iat", NOW + 5, Ok(()))]
#[case::issued_long_ago("iat", 0, Ok(()))]
#[case::verified_in_an_hour("auth_time", NOW + 3600, Err(Refusal::DatedAhead))]
#[case::verified_ahead("auth_time", NOW + 61, Err(Refusal::DatedAhead))]
#[case::verified_by_a_clock_ahead("auth_time", NOW + 60, Ok(()))]
#[case::verified_long_ago("auth_time", 0, Ok(()))]
fn by_default_clocks_may_differ_by_five_seconds(
    #[case] claim: &str,
    #[case] time: u64,
    #[case] expected: Result<(), Refusal>,
) {
    assert_eq!(verify(&verifier(), claim, time), expected);
}

#[test]
fn without_leeway_an_assertion_ends_with_the_second_of_its_expiry() {
    let verifier = verifier().leeway(Duration::ZERO);
    assert_eq!(verify(&verifier, "exp", NOW), Err(Refusal::Expired));
    assert_eq!(verify(&verifier, "exp", NOW + 1), Ok(()));
    assert_eq!(verify(&verifier, "nbf", NOW + 1), Err(Refusal::NotYetValid));
    assert_eq!(verify(&verifier, "nbf", NOW), Ok(()));
    assert_eq!(verify(&verifier, "iat", NOW + 1), Err(Refusal::DatedAhead));
    assert_eq!(verify(&verifier, "iat", NOW), Ok(()));
}

#[test]
fn the_leeway_is_at_most_a_minute() {
    let verifier = verifier().leeway(Duration::MAX);
    assert_eq!(verify(&verifier, "exp", NOW - 60), Err(Refusal::Expired));
    assert_eq!(verify(&verifier, "exp", NOW - 59), Ok(()));
    assert_eq!(verify(&verifier, "nbf", NOW + 61), Err(Refusal::NotYetValid));
    assert_eq!(verify(&verifier, "nbf", NOW + 60), Ok(()));
    assert_eq!(verify(&verifier, "iat", NOW + 61), Err(Refusal::DatedAhead));
    assert_eq!(verify(&verifier, "iat", NOW + 60), Ok(()));
}

#[test]
fn a_kept_assertion_is_refused_before_its_time_like_any_other() {
    let issuer = Issuer::new("ES256");
    for (claim, refusal) in [("nbf", Refusal::NotYetValid), ("iat", Refusal::DatedAhead)] {
        let mut claims = claims();
        claims[claim] = json!(NOW + 6);
        let refused = verifier().verify_kept(&issuer.keys(), &issuer.assertion(&claims), EXPECTED, NOW);
        assert_eq!(refused, Err(refusal));
    }
}
