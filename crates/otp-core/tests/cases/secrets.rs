//! Cases 1 to 10.

use otp_core::{Algorithm, Digits, Period, Secret, SecretWarning, Strength, Totp};
use serde::Deserialize;

use super::{Subject, assert_error};

pub(crate) const JSON: &str = include_str!("secrets.json");

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Check {
    ReadBase32(Read),
    ReadHex(Read),
    ImportBase32(Read),
    Strength { hex: String, enrol: String, verify: String },
    Totp { hex: String, algorithm: String, digits: u8, at: u64, code: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    text: String,
    hex: Option<String>,
    base32: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    error: Option<String>,
}

#[test]
fn secrets() {
    Subject::<Check>::read(JSON).run(|check| match check {
        Check::ReadBase32(read) => read.check(Secret::from_base32(&read.text)),
        Check::ReadHex(read) => read.check(Secret::from_hex(&read.text)),
        Check::ImportBase32(read) => {
            let (secret, warnings) = Secret::import_base32(&read.text)
                .map_or_else(|error| (Err(error), Vec::new()), |(secret, warnings)| (Ok(secret), warnings));
            read.check(secret);
            assert_eq!(warnings.iter().map(SecretWarning::code).collect::<Vec<_>>(), read.warnings);
        }
        Check::Strength { hex, enrol, verify } => {
            let secret = Secret::from_hex(hex).unwrap();
            assert_eq!(strength(&secret, Strength::Enrol), *enrol);
            assert_eq!(strength(&secret, Strength::Verify), *verify);
        }
        Check::Totp { hex, algorithm, digits, at, code } => {
            let secret = Secret::from_hex(hex).unwrap();
            let algorithm: Algorithm = algorithm.parse().unwrap();
            let totp = Totp::new(algorithm, Digits::new(*digits).unwrap(), Period::default());
            assert_eq!(totp.generate(&secret, *at).unwrap().as_str(), code);
        }
    });
}

impl Read {
    fn check(&self, result: Result<Secret, otp_core::SecretError>) {
        if let Some(secret) = assert_error(result, self.error.as_deref()) {
            let expected = Secret::from_hex(self.hex.as_deref().unwrap()).unwrap();
            assert_eq!(secret.expose(), expected.expose());
            assert!(secret.matches(&expected));
            assert_eq!(*secret.to_base32(), self.base32.as_deref().unwrap());
        }
    }
}

/// `ok`, the code of the warning, or the name of the error.
fn strength(secret: &Secret, policy: Strength) -> String {
    match secret.check(policy) {
        Ok(None) => "ok".to_owned(),
        Ok(Some(warning)) => warning.code().to_owned(),
        Err(error) => format!("{error:?}"),
    }
}
