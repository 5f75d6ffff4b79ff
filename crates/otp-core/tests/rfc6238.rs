//! The test vectors of RFC 6238, appendix B, with seeds as long as the tag (erratum 2866).

use std::collections::BTreeMap;

use otp_core::{Code, Digits, Period, Secret, Totp, Window};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    source: String,
    secrets_ascii: BTreeMap<String, String>,
    digits: u8,
    period: u64,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    time: u64,
    step: u64,
    algorithm: String,
    code: String,
}

#[test]
fn every_row_gives_its_code_and_matches_its_step() {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors/rfc6238.json")).unwrap();
    assert_eq!(vectors.rows.len(), 18, "{}", vectors.source);
    for row in vectors.rows {
        let secret = Secret::from_bytes(vectors.secrets_ascii[&row.algorithm].as_bytes()).unwrap();
        let totp = Totp::new(
            row.algorithm.parse().unwrap(),
            Digits::new(vectors.digits).unwrap(),
            Period::new(vectors.period).unwrap(),
        );
        assert_eq!(totp.step(row.time), Ok(row.step));
        assert_eq!(totp.generate(&secret, row.time).unwrap().as_str(), row.code);

        let code = Code::parse(&row.code).unwrap();
        let found = totp.verify(&secret, &code, row.time, Window::CURRENT_ONLY, None);
        assert_eq!(found, Ok(Some(row.step)));
    }
}
