//! Cases 11 to 20.

use std::path::Path;

use otp_core::{Algorithm, Digits, Hotp, LookAhead, Period, Secret, Totp, Window, unix_seconds};
use serde::Deserialize;

use super::windows::VerifyTotp;
use super::{Subject, assert_error, code, seed};

pub(crate) const JSON: &str = include_str!("time.json");

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
enum Check {
    Vectors { file: String, rows: usize },
    Totp { hex: String, algorithm: String, digits: u8, at: u64, code: String, instead_of: Option<String> },
    UnixSeconds { signed: i64, gives: Option<u64>, error: Option<String> },
    Step { t0: u64, at: u64, gives: Option<u64>, error: Option<String> },
    VerifyTotp(VerifyTotp),
    Hotp { counter: u64, code: String },
    VerifyHotp { code: String, counter: u64, look_ahead: u8, matches: Option<u64> },
    Digits { count: u8, error: Option<String> },
    Period { seconds: u64, error: Option<String> },
    Window { past: u8, future: u8, error: Option<String> },
}

#[test]
fn time() {
    Subject::<Check>::read(JSON).run(|check| match check {
        Check::Vectors { file, rows } => assert_eq!(rows_of(file), *rows),
        Check::Totp { hex, algorithm, digits, at, code, instead_of } => {
            let secret = Secret::from_hex(hex).unwrap();
            let algorithm: Algorithm = algorithm.parse().unwrap();
            let totp = Totp::new(algorithm, Digits::new(*digits).unwrap(), Period::default());
            let shown = totp.generate(&secret, *at).unwrap();
            assert_eq!(shown.as_str(), code);
            assert_ne!(Some(shown.as_str()), instead_of.as_deref());
        }
        Check::UnixSeconds { signed, gives, error } => {
            assert_eq!(assert_error(unix_seconds(*signed), error.as_deref()), *gives);
        }
        Check::Step { t0, at, gives, error } => {
            let totp = Totp::default().with_t0(*t0);
            assert_eq!(assert_error(totp.step(*at), error.as_deref()), *gives);
            assert_error(totp.generate(&seed(), *at), error.as_deref());
        }
        Check::VerifyTotp(verify) => verify.check(),
        Check::Hotp { counter, code } => {
            assert_eq!(Hotp::default().generate(&seed(), *counter).as_str(), code);
        }
        Check::VerifyHotp { code: typed, counter, look_ahead, matches } => {
            let look_ahead = LookAhead::new(*look_ahead).unwrap();
            let found = Hotp::default().verify(&seed(), &code(typed), *counter, look_ahead);
            assert_eq!(found, *matches);
        }
        Check::Digits { count, error } => {
            let digits = assert_error(Digits::new(*count), error.as_deref());
            assert!(digits.is_none_or(|digits| digits.value() == *count));
        }
        Check::Period { seconds, error } => {
            let period = assert_error(Period::new(*seconds), error.as_deref());
            assert!(period.is_none_or(|period| period.seconds() == *seconds));
        }
        Check::Window { past, future, error } => {
            let window = assert_error(Window::new(*past, *future), error.as_deref());
            let sides = window.map(|window| (window.past(), window.future()));
            assert!(sides.is_none_or(|sides| sides == (*past, *future)));
        }
    });
}

fn rows_of(file: &str) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let json = std::fs::read_to_string(path).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&json).unwrap();
    vectors["rows"].as_array().unwrap().len()
}
