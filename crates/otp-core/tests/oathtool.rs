//! The same codes as `oathtool` of the OATH Toolkit, for secrets, times and parameters drawn at random.
//!
//! The program is a requirement of these tests, not an option: without it they fail.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use otp_core::{Algorithm, Code, Digits, Hotp, LookAhead, Period, Secret, Totp, Window};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn totp_agrees(
        key in key(),
        algorithm in algorithm(),
        digits in digits(),
        seconds in 1..=Period::MAX_SECONDS,
        t0 in 0..2_000_000_000_u64,
        elapsed in 0..20_000_000_000_u64,
    ) {
        let secret = Secret::from_bytes(&key).unwrap();
        let totp = Totp::new(algorithm, digits, Period::new(seconds).unwrap()).with_t0(t0);
        let now = t0 + elapsed;
        let theirs = oathtool(&[
            "--base32",
            &format!("--totp={algorithm}"),
            &format!("--digits={}", digits.value()),
            &format!("--time-step-size={seconds}s"),
            &format!("--start-time=@{t0}"),
            &format!("--now=@{now}"),
            &secret.to_base32(),
        ]);

        let ours = totp.generate(&secret, now).unwrap();
        prop_assert_eq!(ours.as_str(), &theirs);
        let code = Code::parse(&theirs).unwrap();
        let step = totp.verify(&secret, &code, now, Window::CURRENT_ONLY, None).unwrap();
        prop_assert_eq!(step, Some(totp.step(now).unwrap()));
    }

    #[test]
    fn hotp_agrees(key in key(), digits in digits(), counter in any::<u64>()) {
        let secret = Secret::from_bytes(&key).unwrap();
        let hotp = Hotp::new(Algorithm::Sha1, digits);
        let theirs = oathtool(&[
            "--base32",
            "--hotp",
            &format!("--digits={}", digits.value()),
            &format!("--counter={counter}"),
            &secret.to_base32(),
        ]);

        let ours = hotp.generate(&secret, counter);
        prop_assert_eq!(ours.as_str(), &theirs);
        let code = Code::parse(&theirs).unwrap();
        prop_assert_eq!(hotp.verify(&secret, &code, counter, LookAhead::NONE), Some(counter));
    }
}

fn oathtool(arguments: &[&str]) -> String {
    let output = Command::new("oathtool")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("these tests need `oathtool` (Debian package oathtool): {error}"));
    assert!(
        output.status.success(),
        "oathtool refused {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Keys below, at and above the block of either hash.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..=Secret::MAX_BYTES)
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(vec![Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512])
}

fn digits() -> impl Strategy<Value = Digits> {
    prop::sample::select(vec![Digits::SIX, Digits::SEVEN, Digits::EIGHT])
}
