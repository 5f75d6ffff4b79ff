//! What a camera sees: `zbarimg` reads the PNG back to the very URI.
//!
//! The program is a requirement of these tests, not an option: without it they fail.

#![cfg(feature = "qr")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use otp_core::{Algorithm, Digits, Hotp, OtpauthUri, Period, Secret, Totp, qr};

#[test]
fn names_with_everything_come_back() {
    for (issuer, account) in [
        ("Example", "alice@example.com"),
        ("Big Co", "alice smith"),
        ("A+B & Söhne?", "alice+x@y/é例"),
        ("例え 🔑", "50% #1 a=b"),
    ] {
        let secret = Secret::from_bytes(b"12345678901234567890").unwrap();
        let uri = OtpauthUri::totp(Some(issuer), account, secret, Totp::default()).unwrap();
        let seen = zbarimg(&qr::png(&uri.to_uri()).unwrap());
        assert_eq!(seen, *uri.to_uri());

        let parsed = OtpauthUri::parse(&seen).unwrap();
        assert_eq!(parsed.uri.issuer(), Some(issuer));
        assert_eq!(parsed.uri.account(), account);
    }
}

#[test]
fn the_longest_secrets_and_parameters_come_back() {
    let secret = Secret::from_bytes(&[0xa5; Secret::MAX_BYTES]).unwrap();
    let totp = Totp::new(Algorithm::Sha512, Digits::EIGHT, Period::new(300).unwrap());
    let uri = OtpauthUri::totp(Some(&"é".repeat(40)), &"例".repeat(40), secret, totp).unwrap();
    assert_eq!(zbarimg(&qr::png(&uri.to_uri()).unwrap()), *uri.to_uri());
}

#[test]
fn counters_come_back() {
    let secret = Secret::from_bytes(b"12345678901234567890").unwrap();
    let uri = OtpauthUri::hotp(None, "alice", secret, Hotp::default(), u64::MAX).unwrap();
    assert_eq!(zbarimg(&qr::png(&uri.to_uri()).unwrap()), *uri.to_uri());
}

fn zbarimg(png: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("code.png");
    std::fs::write(&path, png).unwrap();
    let output =
        Command::new("zbarimg").args(["--quiet", "--raw", "--nodbus"]).arg(&path).output().unwrap_or_else(
            |error| panic!("these tests need `zbarimg` (Debian package zbar-tools): {error}"),
        );
    assert!(output.status.success(), "zbarimg saw no code: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
