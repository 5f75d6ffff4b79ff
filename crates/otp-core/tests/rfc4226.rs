//! The test values of RFC 4226, appendix D.

#![expect(clippy::unwrap_used, reason = "tests")]

use otp_core::{Algorithm, Code, Digits, Hotp, LookAhead, Secret};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    source: String,
    secret_ascii: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    counter: u64,
    /// Table 1: the tag, from which the truncated value is taken.
    hmac: String,
    /// Table 2: the 31 bits before they are cut to digits.
    truncated: u32,
    code: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/rfc4226.json")).unwrap()
}

#[test]
fn every_row_gives_its_code_and_matches_its_counter() {
    let vectors = vectors();
    assert_eq!(vectors.rows.len(), 10, "{}", vectors.source);
    let secret = Secret::from_bytes(vectors.secret_ascii.as_bytes()).unwrap();
    let hotp = Hotp::default();
    for row in vectors.rows {
        assert_eq!(hotp.generate(&secret, row.counter).as_str(), row.code);
        let code = Code::parse(&row.code).unwrap();
        let found = hotp.verify(&secret, &code, row.counter, LookAhead::NONE);
        assert_eq!(found, Some(row.counter));
    }
}

#[test]
fn every_row_gives_its_truncated_value_in_7_and_8_digits_too() {
    let vectors = vectors();
    let secret = Secret::from_bytes(vectors.secret_ascii.as_bytes()).unwrap();
    for row in vectors.rows {
        // The two tables agree with each other: the low nibble of the tag says where the value starts.
        let start = usize::from_str_radix(&row.hmac[39..], 16).unwrap() * 2;
        let word = u32::from_str_radix(&row.hmac[start..start + 8], 16).unwrap();
        assert_eq!(word & 0x7fff_ffff, row.truncated);

        for digits in [Digits::SIX, Digits::SEVEN, Digits::EIGHT] {
            let width = usize::from(digits.value());
            let expected = format!("{:010}", row.truncated);
            let code = Hotp::new(Algorithm::Sha1, digits).generate(&secret, row.counter);
            assert_eq!(code.as_str(), &expected[10 - width..]);
        }
    }
}
