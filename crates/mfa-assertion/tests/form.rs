//! Texts that are not the compact serialisation, or not the only one for their bytes.

use data_encoding::BASE64URL_NOPAD;
use mfa_assertion::Refusal;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Issuer, claims, claims_with, encoded, parts};

#[rstest]
#[case::nothing("")]
#[case::one_part("a")]
#[case::two_parts("a.b")]
#[case::four_parts("a.b.c.d")]
#[case::an_encrypted_token("a.b.c.d.e")]
fn a_text_without_three_parts_is_refused(#[case] text: &str) {
    assert_eq!(Issuer::new("ES256").verify(text), Err(Refusal::NotCompact));
}

#[test]
fn the_json_serialisations_are_refused() {
    let issuer = Issuer::new("ES256");
    let jws = issuer.assertion(&claims());
    let [protected, payload, signature] = parts(&jws);
    let flattened = json!({ "payload": payload, "protected": protected, "signature": signature });
    let general = json!({
        "payload": payload,
        "signatures": [{ "protected": protected, "signature": signature }],
    });
    for json in [&flattened, &general] {
        assert_eq!(issuer.verify(&json.to_string()), Err(Refusal::NotCompact));
    }
    // With two dots it has three parts, which are not base64url.
    for mut json in [flattened, general] {
        json["header"] = json!({ "x": "a.b.c" });
        assert_eq!(issuer.verify(&json.to_string()), Err(Refusal::Encoding));
    }
}

#[test]
fn a_detached_payload_is_refused() {
    let issuer = Issuer::new("ES256");
    let jws = issuer.assertion(&claims());
    let [header, _, signature] = parts(&jws);
    assert_eq!(issuer.verify(&format!("{header}..{signature}")), Err(Refusal::Signature));
    assert_eq!(issuer.verify(&issuer.signed(issuer.header().to_string(), "")), Err(Refusal::Claims));
}

#[rstest]
#[case::a_line_feed("\n", Refusal::Encoding)]
#[case::a_blank(" ", Refusal::Encoding)]
#[case::padding("==", Refusal::Encoding)]
#[case::a_zero_byte("\0", Refusal::Encoding)]
#[case::a_letter("A", Refusal::Signature)]
#[case::three_letters("AAA", Refusal::Encoding)]
#[case::four_letters("AAAA", Refusal::Signature)]
#[case::a_dot(".", Refusal::NotCompact)]
#[case::a_part(".eyJ9", Refusal::NotCompact)]
#[case::beyond_ascii("é", Refusal::Encoding)]
fn trailing_bytes_are_refused(#[case] end: &str, #[case] refusal: Refusal) {
    let issuer = Issuer::new("ES256");
    let jws = issuer.assertion(&claims());
    assert!(issuer.verify(&jws).is_ok());
    assert_eq!(issuer.verify(&format!("{jws}{end}")), Err(refusal));
}

#[test]
fn white_space_and_padding_are_refused_in_every_part() {
    let issuer = Issuer::new("ES256");
    let jws = issuer.assertion(&claims());
    for wrong in [format!(" {jws}"), format!("\n{jws}"), format!("Bearer {jws}")] {
        assert_eq!(issuer.verify(&wrong), Err(Refusal::Encoding));
    }
    let [header, payload, signature] = parts(&jws);
    for more in [" ", "\n", "=", "+", "/"] {
        let in_header = format!("{header}{more}.{payload}.{signature}");
        assert_eq!(issuer.verify(&in_header), Err(Refusal::Encoding), "{more:?}");
        let in_claims = issuer.signed_parts(header, &format!("{payload}{more}"));
        assert_eq!(issuer.verify(&in_claims), Err(Refusal::Encoding), "{more:?}");
    }
}

#[test]
fn a_part_that_is_not_the_only_text_for_its_bytes_is_refused() {
    let issuer = Issuer::new("ES256");
    let jws = issuer.assertion(&claims());
    let [header, payload, signature] = parts(&jws);
    // 64 bytes leave four bits of the last character unused.
    let other = with_unused_bit(signature);
    assert_eq!(issuer.verify(&format!("{header}.{payload}.{other}")), Err(Refusal::Encoding));

    let unused = |json: &Value| encoded(padded(json, 1).as_bytes());
    let header = unused(&issuer.header());
    let payload = unused(&claims());
    assert!(issuer.verify(&issuer.signed_parts(&header, &payload)).is_ok());
    let other = issuer.signed_parts(&with_unused_bit(&header), &payload);
    assert_eq!(issuer.verify(&other), Err(Refusal::Encoding));
    let other = issuer.signed_parts(&header, &with_unused_bit(&payload));
    assert_eq!(issuer.verify(&other), Err(Refusal::Encoding));
}

#[test]
fn an_assertion_has_at_most_8_kib() {
    let issuer = Issuer::new("ES256");
    let filled = |length: usize| issuer.assertion(&claims_with("x", Some(json!("x".repeat(length)))));
    let room = (8192 - filled(0).len()) / 4 * 3;
    let mut lengths = Vec::new();
    for length in room - 6..=room + 6 {
        let jws = filled(length);
        let expected = if jws.len() <= 8192 { Ok(()) } else { Err(Refusal::TooLong) };
        assert_eq!(issuer.verify(&jws).map(|_| ()), expected, "{}", jws.len());
        lengths.push(jws.len());
    }
    assert!(lengths.iter().any(|length| *length > 8192 && *length <= 8195), "{lengths:?}");
    assert!(lengths.iter().any(|length| *length <= 8192 && *length > 8189), "{lengths:?}");
}

/// With blanks at the end, so that its length leaves this remainder by three.
fn padded(json: &Value, remainder: usize) -> String {
    let mut text = json.to_string();
    while text.len() % 3 != remainder {
        text.push(' ');
    }
    text
}

/// A text that a lenient decoder takes for the same bytes: the last bit belongs to no byte.
fn with_unused_bit(part: &str) -> String {
    let (begin, last) = part.split_at(part.len() - 1);
    let other = match last {
        "A" => 'B',
        "Q" => 'R',
        "g" => 'h',
        "w" => 'x',
        other => panic!("{other} has no unused bits"),
    };
    let changed = format!("{begin}{other}");
    assert!(BASE64URL_NOPAD.decode(changed.as_bytes()).is_err());
    changed
}
