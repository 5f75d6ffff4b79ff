//! Cases 34 to 46.

use otp_core::uri::build;
use otp_core::{Digits, Hotp, OtpauthUri, Period, Token, Totp, UriWarning};
use serde::Deserialize;

use super::{Subject, assert_error, seed};

pub(crate) const JSON: &str = include_str!("uris.json");

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Check {
    Parse {
        uri: String,
        issuer: Option<String>,
        account: Option<String>,
        token: Option<String>,
        #[serde(default)]
        warnings: Vec<String>,
        error: Option<String>,
    },
    Build {
        token: String,
        issuer: Option<String>,
        account: String,
        uri: Option<String>,
        error: Option<String>,
        message: Option<String>,
    },
    RoundTrip {
        issuer: String,
        account: String,
    },
    Reemit {
        uri: String,
        gives: String,
    },
}

#[test]
fn uris() {
    Subject::<Check>::read(JSON).run(|check| match check {
        Check::Parse { uri, issuer, account, token: expected, warnings, error } => {
            let Some(parsed) = assert_error(OtpauthUri::parse(uri), error.as_deref()) else {
                return;
            };
            assert_eq!(parsed.uri.issuer(), issuer.as_deref());
            assert_eq!(parsed.uri.account(), account.as_deref().unwrap());
            assert_eq!(*parsed.uri.token(), token(expected.as_deref().unwrap()));
            let codes: Vec<_> = parsed.warnings.iter().map(UriWarning::code).collect();
            assert_eq!(codes, *warnings);
            assert_eq!(uri.contains("GEZDGNBV") || uri.contains("gezdgnbv"), {
                parsed.uri.secret().matches(&seed())
            });
        }
        Check::Build { token: wanted, issuer, account, uri, error, message } => {
            let built = build(&token(wanted), issuer.as_deref(), account, &seed());
            if let Err(error) = &built {
                assert!(error.to_string().contains(message.as_deref().unwrap()));
            }
            let built = assert_error(built, error.as_deref());
            assert_eq!(built.as_deref(), uri.as_ref());
        }
        Check::RoundTrip { issuer, account } => {
            let built = build(&Token::Totp(Totp::default()), Some(issuer), account, &seed()).unwrap();
            assert!(!built.contains('+') && !built.contains(' ') && built.is_ascii());
            let parsed = OtpauthUri::parse(&built).unwrap();
            assert_eq!(parsed.uri.issuer(), Some(issuer.as_str()));
            assert_eq!(parsed.uri.account(), account);
            assert!(parsed.uri.secret().matches(&seed()));
            assert_eq!(parsed.warnings, []);
        }
        Check::Reemit { uri, gives } => {
            assert_eq!(*OtpauthUri::parse(uri).unwrap().uri.to_uri(), *gives);
        }
    });
}

/// `totp ALGORITHM DIGITS PERIOD` or `hotp ALGORITHM DIGITS COUNTER`.
fn token(text: &str) -> Token {
    let [kind, algorithm, digits, number] = text.split(' ').collect::<Vec<_>>()[..] else {
        panic!("a token has four words: {text}");
    };
    let algorithm = algorithm.parse().unwrap();
    let digits = Digits::new(digits.parse().unwrap()).unwrap();
    let number = number.parse().unwrap();
    match kind {
        "totp" => Token::Totp(Totp::new(algorithm, digits, Period::new(number).unwrap())),
        "hotp" => Token::Hotp { hotp: Hotp::new(algorithm, digits), counter: number },
        _ => panic!("unknown kind: {kind}"),
    }
}
