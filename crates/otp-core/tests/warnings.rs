//! Warnings have a stable code for programs and a sentence for people, which names the app.

use otp_core::{
    Algorithm, CompatibilityWarning, Digits, Hotp, OtpauthUri, Period, Secret, Strength, Token, Totp,
    UriError, compatibility,
};
use rstest::rstest;

const SIXTY: u64 = 60;

#[rstest]
#[case::default(Algorithm::Sha1, Digits::SIX, 30, &[])]
#[case::sha256(Algorithm::Sha256, Digits::SIX, 30, &["algorithm-ignored"])]
#[case::sha512(Algorithm::Sha512, Digits::SIX, 30, &["algorithm-ignored", "sha512-wrong"])]
#[case::digits(Algorithm::Sha1, Digits::EIGHT, 30, &["digits-ignored"])]
#[case::period(Algorithm::Sha1, Digits::SIX, SIXTY, &["period-ignored"])]
#[case::all(
    Algorithm::Sha512,
    Digits::SEVEN,
    SIXTY,
    &["algorithm-ignored", "sha512-wrong", "digits-ignored", "period-ignored"]
)]
fn what_apps_get_wrong_is_warned_of(
    #[case] algorithm: Algorithm,
    #[case] digits: Digits,
    #[case] seconds: u64,
    #[case] expected: &[&str],
) {
    let totp = Totp::new(algorithm, digits, Period::new(seconds).unwrap());
    let warnings = compatibility(&Token::Totp(totp));
    let codes: Vec<_> = warnings.iter().map(CompatibilityWarning::code).collect();
    assert_eq!(codes, expected);
    for warning in warnings {
        let sentence = warning.to_string();
        assert!(sentence.contains("Google Authenticator") || sentence.contains("Microsoft Authenticator"));
        assert!(sentence.ends_with('.'));
    }
}

#[test]
fn counters_have_no_period_to_warn_of() {
    let hotp = Hotp::new(Algorithm::Sha1, Digits::EIGHT);
    let warnings = compatibility(&Token::Hotp { hotp, counter: 0 });
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].code(), "digits-ignored");
}

#[test]
fn a_mismatch_says_what_was_taken() {
    let uri = "otpauth://totp/Contoso:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Microsoft";
    let parsed = OtpauthUri::parse(uri).unwrap();
    let sentence = parsed.warnings[0].to_string();
    assert!(sentence.contains("Contoso") && sentence.contains("Microsoft"));
}

#[test]
fn short_secrets_say_how_short() {
    let secret = Secret::from_bytes(&[7; 10]).unwrap();
    let warning = secret.check(Strength::Verify).unwrap().unwrap();
    assert!(warning.to_string().contains("80 bits"));
    let error = secret.check(Strength::Enrol).unwrap_err();
    assert_eq!(error.to_string(), "the secret has 80 bits, at least 128 are needed");
}

#[test]
fn a_t0_cannot_be_put_into_a_uri() {
    let secret = Secret::from_bytes(&[7; 20]).unwrap();
    let refused = OtpauthUri::totp(None, "alice", secret, Totp::default().with_t0(1));
    assert_eq!(refused.map(drop), Err(UriError::T0));
}

#[test]
fn messages_say_the_range() {
    assert_eq!(Digits::new(10).unwrap_err().to_string(), "a code has 6 to 8 digits, not 10");
    assert_eq!(Period::new(0).unwrap_err().to_string(), "a period lasts 1 to 300 seconds, not 0");
    let error = Secret::from_base32("GEZDGNB1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "character 8 of the secret is not in the alphabet (base32 has no 0, 1, 8 or 9)"
    );
}
